"""`provenet predict`: its flags and its refusals. Loads torch only to predict."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from trainer.commands.evaluate import Evaluate
from trainer.sources import Source
from trainer.world import World

Hidden = tyro.conf.Suppress[tyro.conf.Fixed[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict(Evaluate):
    """Print the most probable classes of images without labels, and their probabilities, as CSV.

    Images are resized and cropped as `evaluate` does it for the same weights. There is a row for each image, in the
    order in which they are named. Ends with 1 where images are broken: they are named, and the others' rows written.

    It also starts by `accelerate launch "$(command -v provenet)" predict ...`, `torchrun` and `srun`.

    Example: provenet predict runs/r50 photos/ --output classes.csv

    Example: provenet predict timm/resnet50.a1_in1k paths.txt --topk 1 --output classes.json
    """

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")] = tyro.MISSING
    """Run directory, file of weights, timm/NAME[.TAG], torchvision/NAME[.WEIGHTS], hf-hub:OWNER/NAME or
    local-dir:FOLDER."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """Images, folders of images at any depth, .tar files with images in them, .txt files with a path a line; - reads
    such lines from standard input."""
    topk: int = field(default=5, metadata={"min": 1, "max": 1000})
    """Answers to each image; at most as many as there are classes."""
    output: Path | None = None
    """File to write, .csv or .json; one that exists is replaced. None: CSV to standard output."""
    max_broken: float = field(default=1.0, metadata={"min": 0, "max": 1})
    """Largest share of the images that may be broken; they are left out and counted."""
    data: Hidden = None
    labels: Hidden = None
    train_labels: Hidden = None
    val_labels: Hidden = None
    val_split: Hidden = None
    val_share: Hidden = None
    compare: tyro.conf.Suppress[tyro.conf.Fixed[tuple[str, ...]]] = ()

    def checked(self, sources: list[Source], world: World) -> Callable[[], int]:
        """See `Evaluate`; the images are listed here, but not read."""
        from trainer.evaluation import checks

        (source,) = sources
        listing = checks.listed(replace(self, weights="-"), source, self.images, world)

        def predict() -> int:
            from trainer.evaluation.predict import predict

            return predict(self, source, listing, self.topk, world)

        return predict
