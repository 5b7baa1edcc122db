"""`provenet evaluate`: its flags and its refusals. Loads torch only to evaluate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from data.output_folder import dangling
from models.class_names import IMAGENET, REAL
from trainer import rendezvous
from trainer.commands.parsing import Imports
from trainer.cpus import sleep_at_barriers
from trainer.evaluation.protocol import UnknownProtocolError, parse
from trainer.evaluation.request import Request
from trainer.exits import FAILED, refuse, say
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.sources import Source, locate, with_code
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
    entry: str | None = None
    """Which weights of a run or file that holds several: raw, ema, or the name of an entry in the file, such as
    state_dict. None: those that fit the network best; of a file with both and of a run, the moving average."""
    recipe: str | None = None
    """Recipe that a file of weights was trained with, for a file outside a run directory."""
    imports: Imports = ()
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
        from trainer.commands.failures import explain
        from trainer.engine.memory import is_short
        from trainer.evaluation import session  # these load torch

        try:
            return work()
        except session.REFUSED as error:
            return refuse(str(error).splitlines(), world)
        except Exception as error:
            if isinstance(error, RuntimeError | MemoryError) and is_short(error):
                return say(f"failed: out of memory: lower --batch, which is {self.batch}", FAILED)
            if (code := explain(error, world)) is None:
                raise
            return code

    def checked(self, sources: list[Source], world: World) -> Callable[[], int]:
        """The work of this process, which returns the exit code and loads torch.

        Raises:
            InvalidConfigError: A flag or a file cannot be used.
        """
        if problems := [*rendezvous.problems(world), *self.usual_problems(sources), *self._problems(sources)]:
            raise InvalidConfigError(problems)

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
        return [with_code(locate(word, self.recipe, self.entry)) for word in words]

    def usual_problems(self, sources: list[Source]) -> list[str]:
        problems = [*range_problems(replace(self, weights="-"), flags=True), *self._unused(sources)]
        problems += self._protocol_problems()
        if self.classes not in (None, IMAGENET) and not Path(str(self.classes)).is_file():
            problems.append(f"--classes: {self.classes} is no file; name a text file, or {IMAGENET}")
        return problems

    def _problems(self, sources: list[Source]) -> list[str]:
        from trainer.evaluation import image_set  # loads numpy, which --help does without

        problems = list[str]()
        stored = [source for source in sources if source.kind == "predictions"]
        if stored and not self.compare:
            problems.append(f"WEIGHTS: {stored[0].text} holds answers, not weights; --compare takes two of them")
        if len(stored) == len(sources):
            return problems
        if self.data is None:
            return [*problems, "--data: missing; name the data set, or compare two files of predictions"]
        if self.labels not in (None, REAL) and not Path(str(self.labels)).is_file():
            problems.append(f"--labels: {self.labels} is no file; name a JSON file, or {REAL}")
        if self.output and self.output.exists() and not self.output.is_dir():
            problems.append(f"--output: {self.output} is a file; name a folder")
        problems += dangling(self.output or Path())
        return [*problems, *image_set.problems(self.data, self)]

    def _unused(self, sources: list[Source]) -> list[str]:
        """Flags that would change nothing."""
        problems = list[str]()
        if self.recipe and not any(source.kind == "weights" and source.run is None for source in sources):
            problems.append("--recipe: is for a file of weights, and none is named")
        if self.entry and not any(source.kind == "weights" for source in sources):
            problems.append("--entry: is for a run directory or a file of weights, and none is named")
        if self.compare and all(source.kind == "predictions" for source in sources):
            flags = {name: getattr(self, name) for name in ("protocol", "labels", "classes", "precision")}
            problems += [f"--{name}: does not apply to stored answers; leave it out" for name in flags if flags[name]]
        return problems

    def _protocol_problems(self) -> list[str]:
        try:
            kind = parse(self.protocol).kind if self.protocol else None
        except UnknownProtocolError as error:
            return [f"--protocol: {error}"]
        if kind == "multi-scale" and self.loader not in (None, "threads"):
            return [f"--loader {self.loader}: {kind} is read by threads; leave it out"]
        return []
