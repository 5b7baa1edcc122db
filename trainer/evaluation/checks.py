"""What can be wrong with an evaluation, before any weights are read. Loads no torch."""

import os
from collections.abc import Sequence
from pathlib import Path

from data.catalog import unlabelled
from data.catalog.listing import Listing
from data.output_folder import dangling
from models.class_names import IMAGENET, REAL
from trainer import rendezvous
from trainer.evaluation import image_set
from trainer.evaluation.protocol import UnknownProtocolError, parse
from trainer.evaluation.request import Request
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.sources import Source
from trainer.world import World

FORMATS = (".csv", ".json")


def check(request: Request, sources: Sequence[Source], world: World) -> None:
    """Check that these weights, or two of them, can be evaluated as requested.

    Raises:
        InvalidConfigError: A flag or a file cannot be used.
    """
    if problems := [*rendezvous.problems(world), *_usual_problems(request, sources), *_problems(request, sources)]:
        raise InvalidConfigError(problems)


def listed(request: Request, source: Source, images: Sequence[str], world: World) -> Listing:
    """The images whose classes are to be predicted, which are not read here; `output` is a file.

    Raises:
        InvalidConfigError: A flag or a file cannot be used.
    """
    problems = [*rendezvous.problems(world), *_usual_problems(request, [source]), *_file_problems(request.output)]
    if source.kind == "predictions":
        problems.append(f"WEIGHTS: {source.text} holds answers, not weights")
    if unlabelled.STANDARD_INPUT in images and world.world_size > 1:
        problems.append("IMAGES: -: several processes cannot share standard input; name a .txt file")
    if problems:
        raise InvalidConfigError(problems)
    try:
        return unlabelled.listing(images)
    except unlabelled.UnusableImagesError as error:
        raise InvalidConfigError([f"IMAGES: {error}"]) from None


def _usual_problems(request: Request, sources: Sequence[Source]) -> list[str]:
    problems = [*range_problems(request, flags=True), *_unused(request, sources)]
    problems += _protocol_problems(request)
    if request.classes not in (None, IMAGENET) and not Path(str(request.classes)).is_file():
        problems.append(f"--classes: {request.classes} is no file; name a text file, or {IMAGENET}")
    return problems


def _problems(request: Request, sources: Sequence[Source]) -> list[str]:
    problems = list[str]()
    stored = [source for source in sources if source.kind == "predictions"]
    if stored and len(sources) == 1:
        problems.append(f"WEIGHTS: {stored[0].text} holds answers, not weights; --compare takes two of them")
    if len(stored) == len(sources):
        return problems
    if request.data is None:
        return [*problems, "--data: missing; name the data set, or compare two files of predictions"]
    if request.labels not in (None, REAL) and not Path(str(request.labels)).is_file():
        problems.append(f"--labels: {request.labels} is no file; name a JSON file, or {REAL}")
    if request.output and request.output.exists() and not request.output.is_dir():
        problems.append(f"--output: {request.output} is a file; name a folder")
    problems += dangling(request.output or Path())
    return [*problems, *image_set.problems(request.data, request)]


def _unused(request: Request, sources: Sequence[Source]) -> list[str]:
    """Flags that would change nothing."""
    problems = list[str]()
    if request.recipe and not any(source.kind == "weights" and source.run is None for source in sources):
        problems.append("--recipe: is for a file of weights, and none is named")
    if request.entry and not any(source.kind == "weights" for source in sources):
        problems.append("--entry: is for a run directory or a file of weights, and none is named")
    if len(sources) > 1 and all(source.kind == "predictions" for source in sources):
        flags = {name: getattr(request, name) for name in ("protocol", "labels", "classes", "precision")}
        problems += [f"--{name}: does not apply to stored answers; leave it out" for name in flags if flags[name]]
    return problems


def _protocol_problems(request: Request) -> list[str]:
    try:
        kind = parse(request.protocol).kind if request.protocol else None
    except UnknownProtocolError as error:
        return [f"--protocol: {error}"]
    if kind == "multi-scale" and request.loader not in (None, "threads"):
        return [f"--loader {request.loader}: {kind} is read by threads; leave it out"]
    return []


def _file_problems(output: Path | None) -> list[str]:
    if output is None:
        return []
    if output.suffix not in FORMATS or output.is_dir():
        return [f"--output: {output}; name a file that ends in {' or '.join(FORMATS)}"]
    folder = output.parent
    is_usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return [] if is_usable else [f"--output: {folder} is no folder that can be written"]
