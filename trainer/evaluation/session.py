"""One process of an evaluation, from weights to files."""

import sys
from pathlib import Path

from data.load.backends import UnusableBackendError
from data.manifest import Manifest
from data.progress import counting
from trainer import preflight
from trainer.config import Precision
from trainer.evaluation import compare, images, labels, outcome, place, predictions
from trainer.evaluation.command import Evaluate, say
from trainer.evaluation.compare import OtherImagesError
from trainer.evaluation.labels import Labels, UnknownLabelsError
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.place import Place
from trainer.evaluation.predictions import DamagedPredictionsError, Predictions
from trainer.evaluation.source import Source
from trainer.evaluation.subject import Subject, UnusableWeightsError, load_subject
from trainer.exits import FAILED, refuse
from trainer.failures import told
from trainer.images import PeerFailedError, UnusableDataError, aside
from trainer.memory import is_short
from trainer.runtime import Runtime
from trainer.world import World

REFUSED = (
    DamagedPredictionsError,
    OtherImagesError,
    UnknownLabelsError,
    UnusableBackendError,
    UnusableDataError,
    UnusableWeightsError,
)


def evaluate(options: Evaluate, sources: list[Source], world: World) -> int:
    """Evaluate what was asked for, write and print it.

    Returns:
        Exit code.
    """
    try:
        stored = [_stored(source) for source in sources]  # first: to read them takes no time
        subjects = [load_subject(source) for source in sources if source.kind != "predictions"]
        runtime = Runtime(world, _precision(options, subjects, world), options.threads) if subjects else None
        found = iter([_evaluated(options, subject, runtime) for subject in subjects] if runtime else [])
        answers = [next(found) if known is None else known for known in stored]
        if options.compare:
            _compare(options, sources, answers, writes=world.is_main)
        if runtime:
            runtime.close()
    except REFUSED as error:
        return refuse(str(error).splitlines(), world)
    except Exception as error:
        if isinstance(error, RuntimeError | MemoryError) and is_short(error):
            sys.stderr.write(f"failed: out of memory: lower --batch, which is {options.batch}\n")
            return FAILED
        if (code := told(error, world)) is None:
            raise
        return code
    return 0


def _stored(source: Source) -> Predictions | None:
    return predictions.load(source.file) if source.kind == "predictions" and source.file else None


def _evaluated(options: Evaluate, subject: Subject, runtime: Runtime) -> Predictions:
    """One network on all images (collective)."""
    assert options.data
    where, protocol = place.find(options.data), options.views(subject.protocol)
    folder = options.folder(subject.source, where.name, protocol)
    listed = _images(options, subject, where, folder if options.output else folder.parent, runtime)
    task = Task(
        subject=subject,
        protocol=protocol,
        images=listed,
        truth=_labels(options, subject, where, listed),
        labels=options.labels,
        precision=options.precision or subject.precision,
        batch=options.batch,
        loader=options.loader,
        max_broken=options.max_broken,
        should_stop=lambda: runtime.any(False),  # to meet at each batch: one that is gone is noticed at once
    )
    found = measure(task, runtime)
    if runtime.is_main:
        folder = folder if options.output else outcome.free(folder, found)
        outcome.write(found, task.truth, folder)
        say([*outcome.lines(found, task.truth), f"  written to {folder}"])
    return found


def _images(options: Evaluate, subject: Subject, where: Place, folder: Path, runtime: Runtime) -> Manifest:
    """The list of the images; rank 0 makes it (collective)."""
    run = subject.source.run.path if subject.source.run else None
    known = place.stored(where, run)

    def prepare() -> Exception | None:
        try:
            with counting(f"looking at the images of {where.folder}", "images") as show:
                images.prepare(where, known, folder, options.max_broken, show)
        except (UnusableDataError, OSError) as error:
            return error
        return None

    failure = aside(runtime, prepare)
    if runtime.any(failure is not None):
        raise failure or PeerFailedError
    return images.prepared(where, folder)


def _labels(options: Evaluate, subject: Subject, where: Place, listed: Manifest) -> Labels:
    truth = labels.of(listed, where.name, subject.num_classes, subject.classes)
    return labels.with_file(truth, listed, options.labels) if options.labels else truth


def _compare(options: Evaluate, sources: list[Source], answers: list[Predictions], *, writes: bool) -> None:
    first, second = answers
    found = compare.compare(first, second)  # in every process, so that all refuse together
    if not writes:
        return
    folder = options.comparison_folder(sources)
    compare.write(found, first, second, folder)
    shown = compare.differences(first, second)[: compare.SHOWN]
    say(
        [*found.lines, *compare.warnings(first, second), f"written to {folder}, with every image on which they differ:"]
    )
    say([f"  {', '.join(map(str, row))}" for row in shown])


def _precision(options: Evaluate, subjects: list[Subject], world: World) -> Precision:
    found: set[Precision] = {options.precision or subject.precision for subject in subjects}
    if len(found) > 1:
        both = " and ".join(sorted(found))
        raise UnusableWeightsError(f"--compare: the two were trained in {both}; name one of them by --precision")
    (precision,) = found
    if precision == "bf16" and (problems := preflight.precision_problems(precision, world)):
        raise UnusableWeightsError("\n".join(problems))
    return precision
