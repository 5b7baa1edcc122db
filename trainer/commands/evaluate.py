"""`provenet evaluate`: its flags and its refusals. Loads torch only to evaluate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from trainer.cpus import sleep_at_barriers
from trainer.evaluation.request import Request
from trainer.exits import refuse
from trainer.recipe.decode import InvalidConfigError
from trainer.sources import Source, locate
from trainer.terminal import narrate
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate(Request):
    """Measure the accuracy of trained weights: each image once, on any number of processes.

    WEIGHTS is a run directory, a file of weights (safetensors or a PyTorch file), or weights that timm or torchvision
    publish, with their own preprocessing. Writes evaluation.json, classes.csv, confusion.csv and predictions.npz.

    It also starts by `accelerate launch "$(command -v provenet)" evaluate ...`, `torchrun` and `srun`.

    Example: provenet evaluate runs/r50 --data /imagenet --protocol ten-crop

    Example: provenet evaluate torchvision/resnet50.IMAGENET1K_V2 --data /imagenet --labels real

    Example: provenet evaluate --compare runs/r50 timm/resnet50.a1_in1k --data /imagenet
    """

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")] = ""
    """Run directory, file of weights, timm/NAME[.TAG], torchvision/NAME[.WEIGHTS], hf-hub:OWNER/NAME or
    local-dir:FOLDER."""
    compare: Annotated[tuple[str, ...], tyro.conf.arg(metavar="A B")] = ()
    """Two WEIGHTS, or predictions.npz of earlier evaluations, to compare image by image with McNemar's test."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self, world: World) -> int:
        """Evaluate, or compare; returns the exit code."""
        try:
            work = self.checked(self._sources(), world)
        except InvalidConfigError as error:
            return refuse(error.problems, world)
        sleep_at_barriers()
        if world.is_main:
            narrate("models")
        from trainer.commands.failures import explained  # loads torch

        return explained(work, world)

    def checked(self, sources: list[Source], world: World) -> Callable[[], int]:
        """The work of this process, which returns the exit code and loads torch.

        Raises:
            InvalidConfigError: A flag or a file cannot be used.
        """
        from trainer.evaluation import checks  # loads numpy, which --help does without

        checks.check(replace(self, weights="-"), sources, world)  # which are there, so this is not empty

        def evaluate() -> int:
            from trainer.evaluation import session

            session.evaluate(self, sources, world)
            return 0

        return evaluate

    def _sources(self) -> list[Source]:
        if self.compare and self.weights:
            raise InvalidConfigError([f"--compare: takes two, so leave {self.weights} out"])
        if self.compare and len(self.compare) != 2:
            raise InvalidConfigError([f"--compare: takes two, not {len(self.compare)}: {', '.join(self.compare)}"])
        words = self.compare or ((self.weights,) if self.weights else ())
        if not words:
            raise InvalidConfigError(["WEIGHTS: missing; name what to evaluate, or --compare two"])
        return [locate(word, self.recipe, self.entry) for word in words]
