"""One process of an evaluation, from weights to files."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from data.catalog.manifest import DamagedManifestError, Manifest, load
from data.load.backends import UnusableBackendError
from data.types import Progress
from data.verify import changes, verify
from trainer import preflight
from trainer.engine.run_images import UnusableDataError, scanned
from trainer.evaluation import image_set, labels, outcome, predictions
from trainer.evaluation.image_set import EXPECTED, ImageSet
from trainer.evaluation.labels import UnknownLabelsError
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.predictions import DamagedPredictionsError, OtherImagesError, Predictions
from trainer.evaluation.protocol import parse
from trainer.evaluation.request import Request
from trainer.evaluation.trained_network import Subject, UnusableWeightsError, load_subject
from trainer.peers import on_main
from trainer.recipe.config import Precision
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.sources import Source
from trainer.terminal import counting, write
from trainer.world import World

_REFUSED = (
    DamagedPredictionsError,
    OtherImagesError,
    UnknownLabelsError,
    UnusableBackendError,
    UnusableDataError,
    UnusableWeightsError,
)


@contextmanager
def refusing() -> Iterator[None]:
    """Raise as `InvalidConfigError` what shows only once torch is loaded, such as weights that do not fit."""
    try:
        yield
    except _REFUSED as error:
        raise InvalidConfigError(str(error).splitlines()) from None


@refusing()
def evaluate(request: Request, sources: list[Source], world: World) -> list[Predictions]:
    """Evaluate the sources, and compare the answers of two; write and print the results (collective).

    Returns:
        The answers of each source.

    Raises:
        Exception: What `trainer.failures` knows.
    """
    # read first, as it takes no time
    stored = [predictions.load(one.file) if one.kind == "predictions" and one.file else None for one in sources]
    subjects = [load_subject(source) for source in sources if source.kind != "predictions"]
    runtime = Runtime(world, precision(request, subjects, world), request.threads) if subjects else None
    each = request if len(sources) == 1 else replace(request, output=None)  # the output is the comparison's
    measured = iter([_evaluated(each, subject, runtime) for subject in subjects] if runtime else [])
    answers = [next(measured) if known is None else known for known in stored]
    if len(sources) == 2:
        _compare(request.comparison_folder(*sources), *answers, writes=world.is_main)
    if runtime:
        runtime.close()
    return answers


def precision(request: Request, subjects: list[Subject], world: World) -> Precision:
    wanted: set[Precision] = {request.precision or subject.precision for subject in subjects}
    if len(wanted) > 1:
        both = " and ".join(sorted(wanted))
        raise UnusableWeightsError(f"--compare: the two were trained in {both}; name one of them by --precision")
    (one,) = wanted
    if one == "bf16" and (problems := preflight.precision_problems(one, world)):
        raise UnusableWeightsError("\n".join(problems))
    return one


def _evaluated(request: Request, subject: Subject, runtime: Runtime) -> Predictions:
    """Evaluate one network on all images (collective)."""
    assert request.data
    where = image_set.find(request.data, request)
    protocol = parse(request.protocol) if request.protocol else subject.protocol
    folder = request.folder(subject.source, where.name, protocol)
    images = _images(request, subject, where, folder if request.output else folder.parent, runtime)
    names = labels.named(request.classes, subject.num_classes) if request.classes else subject.classes
    guessed = subject.guessed and not request.classes
    truth = labels.of(images, where.name, subject.num_classes, names, guessed=guessed)
    if runtime.is_main and truth.assumption:
        _say([truth.assumption])
    truth = labels.with_file(truth, images, request.labels) if request.labels else truth
    task = Task(
        request=request,
        subject=subject,
        protocol=protocol,
        images=images,
        truth=truth,
        should_stop=lambda: runtime.any(False),  # a process that has failed is noticed at the next batch
    )
    answers = measure(task, runtime)
    if runtime.is_main:
        folder = folder if request.output else outcome.free(folder, answers)
        outcome.write(answers, truth, folder)
        _say([*outcome.lines(answers, truth), f"  written to {folder}"])
    return answers


def _images(request: Request, subject: Subject, where: ImageSet, folder: Path, runtime: Runtime) -> Manifest:
    """The list of the images; rank 0 makes it (collective)."""
    run = subject.source.run
    known = image_set.stored(where, run.path if run else None)
    if runtime.is_main:
        _say(cautions(where, run))

    def prepare() -> None:
        with counting(f"looking at the images of {where.folder}", "images") as show:
            list_images(where, known, folder, request.max_broken, show)

    on_main(runtime, prepare, UnusableDataError, OSError)
    return load(list_file(where, folder), where.folder)


def list_file(where: ImageSet, folder: Path) -> Path:
    """The file in which the list of a set's images is kept, for the evaluations that follow."""
    digest = hashlib.sha256(str(where.folder.absolute()).encode()).hexdigest()[:8]
    return folder / f".images-{where.name}-{digest}.npz"


def list_images(where: ImageSet, known: list[Path], folder: Path, max_broken: float, show: Progress) -> None:
    """Write `list_file`: the first up-to-date list of those in `known` and itself, else one made from the images.

    Raises:
        UnusableDataError: They cannot be listed, or a greater share than `max_broken` is broken.
        OSError: A file cannot be read or written.
    """
    file = list_file(where, folder)
    images = _known(where, [*known, file]) or _scanned(where, show)
    if problem := verify.problem(images, max_broken):
        raise UnusableDataError(problem)
    if not len(images):
        raise UnusableDataError(f"--data: {where.folder} holds no image; {EXPECTED}")
    folder.mkdir(parents=True, exist_ok=True)
    images.save(file)


def cautions(where: ImageSet, run: RunDirectory | None) -> list[str]:
    """What to say where a run kept a share of its images to evaluate on, and others count."""
    if run and (not where.is_val or where.data.layout.val_share):
        with suppress(DamagedManifestError, OSError):
            rule = load(run.manifest("val"), run.path).rule
            if "--val-share" in rule and rule != where.data.rule(where.name):
                return [f"images of {where.folder} that the run was trained on count, too; its own choice was: {rule}"]
    return []


def _known(where: ImageSet, files: list[Path]) -> Manifest | None:
    for file in files:
        try:
            images = load(file, where.folder) if file.exists() else None
        except (DamagedManifestError, OSError):  # then it is made again
            continue
        if images is None or not images.hashed:
            continue
        if images.rule == where.data.rule(where.name) and changes.changed(images) is None:
            return images
    return None


def _scanned(where: ImageSet, show: Progress) -> Manifest:
    try:
        listing = where.data.listing(where.name)
        _say([*listing.notes])
        return scanned(listing, None, show)
    except (ValueError, BrokenExecutor) as error:  # a damaged archive, or a reading process that was killed
        raise UnusableDataError(f"--data: {error}") from None


def _compare(folder: Path, first: Predictions, second: Predictions, *, writes: bool) -> None:
    comparison = predictions.compare(first, second)  # in every process, so that all refuse together
    if not writes:
        return
    predictions.write_comparison(comparison, first, second, folder)
    differences = predictions.differences(first, second)[: predictions.SHOWN]
    written = f"written to {folder}, with every image on which they differ:"
    shown = [f"  {', '.join(map(str, row))}" for row in differences]
    _say([*comparison.lines, *predictions.caveats(first, second), written, *shown])


def _say(lines: list[str]) -> None:
    write("".join(f"{line}\n" for line in lines))
