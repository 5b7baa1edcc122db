"""`provenet evaluate`: its flags and its refusals. Loads torch only to evaluate."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from data.config import Backend
from models.class_names import REAL
from trainer import rendezvous
from trainer.cpus import sleep_at_barriers
from trainer.evaluation.protocol import UnknownProtocolError, parse
from trainer.evaluation.weights_source import Source, locate
from trainer.exits import FAILED, refuse
from trainer.recipe.config import Precision
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.world import World

if TYPE_CHECKING:
    from trainer.evaluation.session import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Measure the accuracy of trained weights: each image once, on any number of processes.

    WEIGHTS is a run directory, a file of weights (safetensors or a PyTorch file), or weights that timm or torchvision
    publish, with their own preprocessing. Writes evaluation.json, classes.csv and predictions.npz.

    It also starts by `accelerate launch -m trainer evaluate ...`, `torchrun` and `srun`.

    Example: provenet evaluate runs/r50 --data /imagenet --protocol ten-crop

    Example: provenet evaluate torchvision/resnet50.IMAGENET1K_V2 --data /imagenet --labels real

    Example: provenet evaluate --compare runs/r50 timm/resnet50.a1_in1k --data /imagenet
    """

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")] = ""
    """Run directory, file of weights, timm/NAME[.TAG] or torchvision/NAME[.WEIGHTS]."""
    compare: Annotated[tuple[str, ...], tyro.conf.arg(metavar="A B")] = ()
    """Two of these, or predictions.npz of earlier evaluations, to compare image by image by McNemar's test."""
    data: Path | None = None
    """Data set with a folder val, or a folder of class folders, as ImageNet-V2, -A, -R and -Sketch are."""
    protocol: str | None = None
    """center-224/256, center-288/0.95, center-299, resize-224, ten-crop, multi-scale, and then +bicubic, +flip.
    None: the weights' own."""
    labels: str | None = None
    """real for ReaL's labels, or a JSON file of labels. None: the class folders'."""
    raw: bool = False
    """Of a run that keeps a moving average: evaluate the weights themselves."""
    recipe: str | None = None
    """Recipe that a file of weights was trained with, where it lies in no run directory."""
    output: Path | None = None
    """Folder for the figures. None: RUN/evaluations/..., and evaluations/... here for other weights."""
    precision: Precision | None = None
    """Arithmetic: fp32, tf32, bf16 or fp16. None: that of a run's recipe, else fp32."""
    batch: int = field(default=64, metadata={"min": 1, "max": 65_536})
    """Images per process and pass, 1 to 65,536."""
    loader: Backend | None = None
    """What decodes: threads, dali or dali_gpu. None: what is fastest here."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of the images that may be broken, 0 to 1; they are left out and counted."""
    threads: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """CPU threads per process, 1 to 1,024. None: its share of the machine's cores."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self, world: World) -> int:
        """Evaluate, or compare."""
        try:
            sources = self._sources()
            problems = [*rendezvous.problems(world), *self._problems(sources)]
        except InvalidConfigError as error:
            return refuse(error.problems, world)
        if problems:
            return refuse(problems, world)
        sleep_at_barriers()
        return self._evaluate(sources, world)

    def _evaluate(self, sources: list[Source], world: World) -> int:
        from trainer.commands.failures import explain
        from trainer.engine.memory import is_short
        from trainer.evaluation import session  # this and the two below load torch

        try:
            session.evaluate(self._request(sources), world)
        except session.REFUSED as error:
            return refuse(str(error).splitlines(), world)
        except Exception as error:
            if isinstance(error, RuntimeError | MemoryError) and is_short(error):
                sys.stderr.write(f"failed: out of memory: lower --batch, which is {self.batch}\n")
                return FAILED
            if (code := explain(error, world)) is None:
                raise
            return code
        return 0

    def _request(self, sources: list[Source]) -> "Request":
        from trainer.evaluation.session import Request

        return Request(
            sources=sources,
            compare=bool(self.compare),
            data=self.data,
            protocol=parse(self.protocol) if self.protocol else None,
            labels=self.labels,
            output=self.output,
            precision=self.precision,
            batch=self.batch,
            loader=self.loader,
            max_broken=self.max_broken,
            threads=self.threads,
        )

    def _sources(self) -> list[Source]:
        if self.compare and self.weights:
            raise InvalidConfigError([f"--compare: takes two, and {self.weights} stands beside them; leave it out"])
        if self.compare and len(self.compare) != 2:
            raise InvalidConfigError([f"--compare: takes two, not {len(self.compare)}: {', '.join(self.compare)}"])
        words = self.compare or ((self.weights,) if self.weights else ())
        if not words:
            raise InvalidConfigError(["WEIGHTS: missing; name what to evaluate, or --compare two"])
        return [locate(word, self.recipe, raw=self.raw) for word in words]

    def _problems(self, sources: list[Source]) -> list[str]:
        from trainer.evaluation import image_set  # loads numpy, which --help does without

        found = [*range_problems(replace(self, weights="-"), flags=True), *self._unused(sources)]
        if self.protocol:
            found += _protocol_problems(self.protocol, self.loader)
        stored = [source for source in sources if source.kind == "predictions"]
        if stored and not self.compare:
            found.append(f"WEIGHTS: {stored[0].text} holds answers, not weights; --compare takes two of them")
        if len(stored) == len(sources):
            return found
        if self.data is None:
            return [*found, "--data: missing; name the data set, or compare two files of predictions"]
        if self.labels not in (None, REAL) and not Path(str(self.labels)).is_file():
            found.append(f"--labels: {self.labels} is no file; name a JSON file, or {REAL}")
        if self.output and self.output.exists() and not self.output.is_dir():
            found.append(f"--output: {self.output} is a file; name a folder")
        return [*found, *image_set.problems(self.data)]

    def _unused(self, sources: list[Source]) -> list[str]:
        """Flags that would change nothing."""
        found = list[str]()
        if self.recipe and not any(source.kind == "weights" and source.run is None for source in sources):
            found.append("--recipe: is for a file of weights, and none is named")
        if self.raw and not any(source.run and Path(source.text).is_dir() for source in sources):
            found.append("--raw: is for a run directory, and none is named")
        if self.compare and all(source.kind == "predictions" for source in sources):
            flags = {"protocol": self.protocol, "labels": self.labels, "precision": self.precision}
            found += [f"--{name}: the answers are given; leave it out" for name, value in flags.items() if value]
        return found


def _protocol_problems(name: str, loader: Backend | None) -> list[str]:
    try:
        kind = parse(name).kind
    except UnknownProtocolError as error:
        return [f"--protocol: {error}"]
    return [f"--loader {loader}: {kind} is read by threads; leave it out"] if _unread(kind, loader) else []


def _unread(kind: str, loader: Backend | None) -> bool:
    return kind == "multi-scale" and loader not in (None, "threads")
