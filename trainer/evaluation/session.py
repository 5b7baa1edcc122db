"""One process of an evaluation, from weights to files."""

import sys
from dataclasses import dataclass
from pathlib import Path

from data.catalog.manifest import Manifest
from data.config import Backend
from data.load.backends import UnusableBackendError
from models.class_names import REAL
from trainer import preflight
from trainer.engine.run_images import UnusableDataError
from trainer.evaluation import compare, image_list, image_set, labels, outcome, predictions
from trainer.evaluation.compare import OtherImagesError
from trainer.evaluation.image_set import Place
from trainer.evaluation.labels import Labels, UnknownLabelsError
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.predictions import DamagedPredictionsError, Predictions
from trainer.evaluation.protocol import Protocol
from trainer.evaluation.trained_network import Subject, UnusableWeightsError, load_subject
from trainer.evaluation.weights_source import Source
from trainer.peers import on_main
from trainer.recipe.config import Precision
from trainer.runtime import Runtime
from trainer.terminal import counting
from trainer.world import World

REFUSED = (
    DamagedPredictionsError,
    OtherImagesError,
    UnknownLabelsError,
    UnusableBackendError,
    UnusableDataError,
    UnusableWeightsError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to evaluate, and how; see `trainer.commands.evaluate.Evaluate`."""

    sources: list[Source]
    compare: bool
    """Whether they are two, to compare with each other."""
    data: Path | None
    """None: all sources are stored answers."""
    protocol: Protocol | None
    """None: the weights' own."""
    labels: str | None
    output: Path | None
    precision: Precision | None
    batch: int
    loader: Backend | None
    max_broken: float
    threads: int | None

    def folder(self, source: Source, images: str, protocol: Protocol) -> Path:
        """Where the figures of some weights go; `images` is what their set is called."""
        if self.output and not self.compare:
            return self.output
        label = "" if self.labels is None else f"-{self.labels if self.labels == REAL else Path(self.labels).stem}"
        if source.run is None or source.file is None:
            name = outcome.folder_name(f"{images}{label}", protocol)
            return Path(outcome.FOLDER) / outcome.safe(source.text) / name
        of_result = source.file.absolute() == source.run.weights.absolute()
        which = "" if of_result else f"-{source.file.parent.name}-{source.which}"  # a checkpoint
        return source.run.path / outcome.FOLDER / outcome.folder_name(f"{images}{label}", protocol, which)

    def comparison_folder(self) -> Path:
        """Where the comparison goes."""
        first, second = (outcome.safe(source.text) for source in self.sources)
        return self.output or Path(outcome.FOLDER) / f"{first}--{second}"


def evaluate(request: Request, world: World) -> None:
    """Evaluate what was asked for, write and print it (collective).

    Raises:
        Exception: One of `REFUSED`, or what `trainer.commands.failures` knows.
    """
    sources = request.sources
    stored = [_stored(source) for source in sources]  # first: to read them takes no time
    subjects = [load_subject(source) for source in sources if source.kind != "predictions"]
    runtime = Runtime(world, _precision(request, subjects, world), request.threads) if subjects else None
    found = iter([_evaluated(request, subject, runtime) for subject in subjects] if runtime else [])
    answers = [next(found) if known is None else known for known in stored]
    if request.compare:
        _compare(request, answers, writes=world.is_main)
    if runtime:
        runtime.close()


def _stored(source: Source) -> Predictions | None:
    return predictions.load(source.file) if source.kind == "predictions" and source.file else None


def _evaluated(request: Request, subject: Subject, runtime: Runtime) -> Predictions:
    """One network on all images (collective)."""
    assert request.data
    where, protocol = image_set.find(request.data), request.protocol or subject.protocol
    folder = request.folder(subject.source, where.name, protocol)
    listed = _images(request, subject, where, folder if request.output else folder.parent, runtime)
    task = Task(
        subject=subject,
        protocol=protocol,
        images=listed,
        truth=_labels(request, subject, where, listed),
        labels=request.labels,
        precision=request.precision or subject.precision,
        batch=request.batch,
        loader=request.loader,
        max_broken=request.max_broken,
        should_stop=lambda: runtime.any(False),  # to meet at each batch: one that is gone is noticed at once
    )
    found = measure(task, runtime)
    if runtime.is_main:
        folder = folder if request.output else outcome.free(folder, found)
        outcome.write(found, task.truth, folder)
        _say([*outcome.lines(found, task.truth), f"  written to {folder}"])
    return found


def _images(request: Request, subject: Subject, where: Place, folder: Path, runtime: Runtime) -> Manifest:
    """The list of the images; rank 0 makes it (collective)."""
    run = subject.source.run.path if subject.source.run else None
    known = image_set.stored(where, run)

    def prepare() -> None:
        with counting(f"looking at the images of {where.folder}", "images") as show:
            image_list.prepare(where, known, folder, request.max_broken, show)

    on_main(runtime, prepare, UnusableDataError, OSError)
    return image_list.prepared(where, folder)


def _labels(request: Request, subject: Subject, where: Place, listed: Manifest) -> Labels:
    truth = labels.of(listed, where.name, subject.num_classes, subject.classes)
    return labels.with_file(truth, listed, request.labels) if request.labels else truth


def _compare(request: Request, answers: list[Predictions], *, writes: bool) -> None:
    first, second = answers
    found = compare.compare(first, second)  # in every process, so that all refuse together
    if not writes:
        return
    folder = request.comparison_folder()
    compare.write(found, first, second, folder)
    shown = compare.differences(first, second)[: compare.SHOWN]
    _say(
        [*found.lines, *compare.warnings(first, second), f"written to {folder}, with every image on which they differ:"]
    )
    _say([f"  {', '.join(map(str, row))}" for row in shown])


def _precision(request: Request, subjects: list[Subject], world: World) -> Precision:
    found: set[Precision] = {request.precision or subject.precision for subject in subjects}
    if len(found) > 1:
        both = " and ".join(sorted(found))
        raise UnusableWeightsError(f"--compare: the two were trained in {both}; name one of them by --precision")
    (precision,) = found
    if precision == "bf16" and (problems := preflight.precision_problems(precision, world)):
        raise UnusableWeightsError("\n".join(problems))
    return precision


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
