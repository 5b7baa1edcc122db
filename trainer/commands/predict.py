"""`provenet predict`: its flags and its refusals. Loads torch only to predict."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from trainer import rendezvous
from trainer.commands.evaluate import explained, settings_problems, unused
from trainer.evaluation.request import Settings
from trainer.exits import refuse
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.sources import locate
from trainer.world import World

if TYPE_CHECKING:
    from data.catalog.listing import Listing

FORMATS = (".csv", ".json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict(Settings):
    """Print the most probable classes of images without labels, with their probabilities, as CSV.

    Images are resized and cropped as `evaluate` does it for the same weights. Each row has an image, in the order in
    which they are named, and for each answer the class, its number and its probability.

    Ends with 0 when all images were read, with 1 when some are broken: they are named, and the rows of the others are
    written all the same. It also starts by `accelerate launch -m trainer predict ...`, `torchrun` and `srun`.

    Example: provenet predict runs/r50 photos/ --output classes.csv

    Example: provenet predict timm/resnet50.a1_in1k paths.txt --topk 1 --output classes.json
    """

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """Run directory, file of weights, timm/NAME[.TAG] or torchvision/NAME[.WEIGHTS]."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """Images, folders of images at any depth, .tar files with images in them, .txt files with a path a line; - reads
    such lines from standard input."""
    topk: int = field(default=5, metadata={"min": 1, "max": 1000})
    """Answers to each image; at most as many as there are classes."""
    output: Path | None = None
    """File to write, .csv or .json; one that exists is replaced. None: CSV to standard output."""
    raw: bool = False
    """Of a run with a moving average of its weights: use the weights themselves."""
    recipe: str | None = None
    """Recipe that a file of weights was trained with, for a file outside a run directory."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self, world: World) -> int:
        """Predict; returns the exit code."""
        try:
            source = locate(self.weights, self.recipe, raw=self.raw)
        except InvalidConfigError as error:
            return refuse(error.problems, world)
        problems = [*rendezvous.problems(world), *range_problems(replace(self, weights="-"), flags=True)]
        problems += [*unused(self.recipe, self.raw, [source]), *settings_problems(self), *self._output_problems()]
        if source.kind == "predictions":
            problems.append(f"WEIGHTS: {source.text} holds answers, not weights")
        listing = problems if problems else self._listing(world)
        if isinstance(listing, list):
            return refuse(listing, world)

        def work() -> int:
            from trainer.evaluation.predict import predict  # loads torch

            return predict(self, source, listing, self.topk, self.output, world)

        return explained(work, self.batch, world)

    def _listing(self, world: World) -> "Listing | list[str]":
        """What the images are, or why they cannot be read."""
        from data.catalog import unlabelled

        if unlabelled.STANDARD_INPUT in self.images and world.world_size > 1:
            return ["IMAGES: -: several processes cannot share standard input; name a .txt file"]
        try:
            return unlabelled.listing(self.images)
        except unlabelled.UnusableImagesError as error:
            return [f"IMAGES: {problem}" for problem in str(error).splitlines()]
        except OSError as error:
            return [f"IMAGES: {error.filename}: {error.strerror}"]

    def _output_problems(self) -> list[str]:
        if self.output is None:
            return []
        if self.output.suffix not in FORMATS or self.output.is_dir():
            return [f"--output: {self.output}; name a file that ends in {' or '.join(FORMATS)}"]
        if not os.access(self.output.parent, os.W_OK | os.X_OK) or not self.output.parent.is_dir():
            return [f"--output: {self.output.parent} is no folder that can be written"]
        return []
