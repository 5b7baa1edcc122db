"""Lists the images of a packed split, as every loader wants it. Decodes them all once more, from the shards."""

from contextlib import suppress
from pathlib import Path

from data.catalog import dataset, shards
from data.catalog.listing import manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.types import Progress, unwatched
from data.verify import verify


def write(out: Path, split: str, images: int, workers: int, progress: Progress = unwatched) -> Manifest:
    """Write OUT/manifest-<split>.npz; images that an earlier one lists, and that have not changed, are not read again.

    Args:
        out: Folder of the shards.
        split: train or val.
        images: How many were packed.
        workers: Processes that decode.
        progress: Is given the number of images done, and of all, now and then.

    Raises:
        ShardError: The shards are not as they should be.
        OSError: A file cannot be read or written, or an image no longer decodes. Once that is mended, the same call
            goes on from there.
        BrokenExecutor: A worker was killed. The same call goes on from there.
    """
    journal = dataset.journal_file(out, split)
    listing = shards.listing(out, split)
    known = None
    with suppress(FileNotFoundError, DamagedManifestError):
        known = dataset.load(out, out, split)
    found = verify.scan(listing, known=known, journal=journal, workers=workers, progress=progress)
    found.save(manifest_file(out, split))
    journal.unlink(missing_ok=True)
    if len(found) != images:
        raise OSError(0, f"{images - len(found)} images that were written no longer decode", str(out / split))
    return found
