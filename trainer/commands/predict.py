"""`provenet predict`: its flags and its refusals. Loads torch only to predict."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from trainer import rendezvous
from trainer.commands.evaluate import Evaluate
from trainer.recipe.decode import InvalidConfigError
from trainer.sources import Source
from trainer.world import World

FORMATS = (".csv", ".json")
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
        from data.catalog import unlabelled

        (source,) = sources
        problems = [*rendezvous.problems(world), *self.usual_problems(sources), *self._output_problems()]
        if source.kind == "predictions":
            problems.append(f"WEIGHTS: {source.text} holds answers, not weights")
        if unlabelled.STANDARD_INPUT in self.images and world.world_size > 1:
            problems.append("IMAGES: -: several processes cannot share standard input; name a .txt file")
        if problems:
            raise InvalidConfigError(problems)
        try:
            listing = unlabelled.listing(self.images)
        except unlabelled.UnusableImagesError as error:
            raise InvalidConfigError([f"IMAGES: {error}"]) from None

        def predict() -> int:
            from trainer.evaluation.predict import predict

            return predict(self, source, listing, self.topk, world)

        return predict

    def _output_problems(self) -> list[str]:
        if self.output is None:
            return []
        if self.output.suffix not in FORMATS or self.output.is_dir():
            return [f"--output: {self.output}; name a file that ends in {' or '.join(FORMATS)}"]
        folder = self.output.parent
        is_usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        return [] if is_usable else [f"--output: {folder} is no folder that can be written"]
