"""The list of the images of an evaluation."""

import hashlib
from concurrent.futures import BrokenExecutor
from pathlib import Path

from data.catalog.manifest import DamagedManifestError, Manifest, load
from data.types import Progress
from data.verify import changes, verify
from trainer.engine.run_images import UnusableDataError, scanned
from trainer.evaluation.image_set import EXPECTED, Place


def prepare(place: Place, known: list[Path], output: Path, max_broken: float, show: Progress) -> None:
    """Write the list of the images to an evaluation's folder.

    Args:
        place: Where they lie.
        known: Lists that were made before; the first that still holds is taken, else the images are read.
        output: The folder.
        max_broken: Greatest bearable share of broken images.
        show: Is given the number of images read, and of all.

    Raises:
        UnusableDataError: They cannot be listed, or too many are broken.
        OSError: A file cannot be read or written.
    """
    images = _known(place, [*known, list_file(place, output)]) or _scanned(place, show)
    if problem := verify.problem(images, max_broken):
        raise UnusableDataError(problem)
    if not len(images):
        raise UnusableDataError(f"{place.folder} holds no image; {EXPECTED}")
    output.mkdir(parents=True, exist_ok=True)
    images.save(list_file(place, output))


def prepared(place: Place, output: Path) -> Manifest:
    """What `prepare` wrote."""
    return load(list_file(place, output), place.folder)


def list_file(place: Place, output: Path) -> Path:
    """Where the list of a place's images is kept, for the evaluations that follow."""
    which = hashlib.sha256(str(place.folder.absolute()).encode()).hexdigest()[:8]
    return output / f".images-{place.name}-{which}.npz"


def _known(place: Place, files: list[Path]) -> Manifest | None:
    for file in files:
        try:
            images = load(file, place.folder) if file.exists() else None
        except (DamagedManifestError, OSError):  # then it is made anew
            continue
        if images is not None and changes.changed(images) is None:
            return images
    return None


def _scanned(place: Place, show: Progress) -> Manifest:
    try:
        return scanned(place.data.listing(place.split), None, show)
    except (ValueError, BrokenExecutor) as error:  # an archive that is not as it should be, or a reader that was killed
        raise UnusableDataError(str(error)) from None
