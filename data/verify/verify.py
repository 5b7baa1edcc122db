"""Looks at every image of a split once, and lists those that can be trained on."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from data.catalog.listing import Listing
from data.catalog.manifest import Manifest
from data.types import Progress
from data.verify.findings import Findings
from data.verify.inspection import Inspector
from data.verify.scan_journal import opened
from data.workers import each

NAMED = 5


class Survey(NamedTuple):
    """A scan's result."""

    manifest: Manifest
    """The usable images, and the broken ones."""
    read: int
    """Images that were read: the others were known, and their files had not changed."""


def scan(
    listing: Listing, *, known: Manifest | None, journal: Path | None, workers: int, progress: Progress
) -> Manifest:
    """Read and decode every image, and list what was found, in the listing's order.

    More than one worker are processes that are spawned: a script that asks for them calls this under
    `if __name__ == "__main__":`.

    Args:
        listing: Where the images lie.
        known: An earlier scan: images whose file has the size and time it had then are not read again.
        journal: A file that takes what is found as it is found. After an interruption, the same call goes on from
            there; once the manifest is saved, the caller removes it. None: nothing is kept.
        workers: Processes that read; 1 reads in this one.
        progress: Is given the number of images done, and of all, now and then. What it raises stops the scan.

    Raises:
        OSError: The journal cannot be written, or an archive is gone.
        BrokenExecutor: A worker was killed. The same call goes on from there, if there is a journal.
    """
    return survey(listing, known=known, journal=journal, workers=workers, progress=progress).manifest


def survey(
    listing: Listing, *, known: Manifest | None, journal: Path | None, workers: int, progress: Progress
) -> Survey:
    """As `scan`, and say how many images had to be read for it."""
    findings, done, read = Findings(listing), 0, 0
    inspector = Inspector(listing.root, listing.archives, listing.raw)
    with ExitStack() as stack:
        kept = stack.enter_context(opened(journal)) if journal else None
        findings.remember(known, kept.records() if kept else ())
        progress(0, len(listing.entries))
        for start, found in stack.enter_context(closing(each(inspector, findings.chunks(), workers))):
            new = findings.put(start, found)
            if kept and new:
                kept.add(new)
            done, read = done + len(found), read + sum(1 for one in found if one is not None)
            progress(done, len(listing.entries))
    return Survey(findings.manifest(), read)


def problem(manifest: Manifest, max_broken: float) -> str | None:
    """Why too many images are broken to train without them, for the user; None where they are few enough.

    Args:
        manifest: A scan's result.
        max_broken: Greatest bearable share of broken images: 0 to 1.
    """
    broken, total = len(manifest.broken), len(manifest) + len(manifest.broken)
    if broken <= max_broken * total:
        return None
    named = "\n".join(f"  {manifest.root / image.name}: {image.reason}" for image in manifest.broken[:NAMED])
    more = f"\n  and {broken - NAMED:,} more" if broken > NAMED else ""
    return (
        f"{manifest.root}: {broken:,} of {total:,} images cannot be decoded ({broken / total:.2%}; "
        f"{max_broken:.2%} would be borne)\n{named}{more}\n"
        f"  repair or remove them and verify again, or raise --max-broken"
    )
