"""The page of published weights: what they are, how well they do, how to load them. Loads no torch."""

import re
from dataclasses import replace
from pathlib import Path

from trainer.evidence import report
from trainer.evidence.page import plain
from trainer.evidence.run_record import read
from trainer.recipe.recipes import dump
from trainer.rundir import RunDirectory, write_text

_HEAD = """---
library_name: timm
pipeline_tag: image-classification
tags: [image-classification, timm]
# license: which one is yours to say, for example apache-2.0
---

# {name}

"""
_USE = """## Use

```python
import timm

model = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()  # or "local-dir:FOLDER"
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
names = model.pretrained_cfg.get("label_names")  # of the classes, in the order of the logits
```
"""


def write(folder: Path, page: str | None) -> None:
    """Put the page, if there is one, into the folder of the weights."""
    if page:
        write_text(folder / "README.md", page)


def text(name: str, run: RunDirectory | None, file: Path | None) -> str:
    """README.md of the weights of a network, which are in `file`, with the report of the run that trained them.

    Raises:
        InvalidConfigError: A file in the run directory is damaged.
    """
    head = _HEAD.format(name=plain(name))
    if run is None:
        return head + _USE
    account = read(run)
    if account.result and file and file.absolute() != run.weights.absolute():
        head += f"**These weights are {plain('/'.join(file.parts[-2:]))}**, the figures of the run's result.\n\n"
    init = account.recipe.init  # which may name a folder of this machine
    init = replace(init, weights=init.weights and re.sub("^(local-dir:)?/.*/", r"\1", init.weights))
    here = RunDirectory(Path(run.path.absolute().name))  # which a command in the verdict may name
    account = replace(account, run=here, recipe=replace(account.recipe, init=init))
    return f"{head}{report.summary(account)}\n\n{_USE}\n## Recipe\n\n```yaml\n{dump(account.recipe)}```\n"
