"""Decodes every image of a split once, and lists those that can be trained on."""

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from data.catalog.listing import Listing
from data.catalog.manifest import Manifest
from data.types import Progress, unwatched
from data.verify.findings import Findings
from data.verify.inspection import Inspector
from data.verify.scan_journal import opened
from data.workers import each

NAMED = 5


class Scan(NamedTuple):
    """The images of a split."""

    manifest: Manifest
    """Usable images, and broken ones."""
    read: int
    """Images that were read; the others had not changed since an earlier scan."""


def scan(
    listing: Listing,
    *,
    known: Manifest | None = None,
    journal: Path | None = None,
    workers: int,
    progress: Progress = unwatched,
    whole: bool = True,
) -> Scan:
    """Read and decode every image; the manifest has the listing's order.

    Workers are spawned processes: a script that uses several calls this under `if __name__ == "__main__":`.

    Args:
        listing: Where the images lie.
        known: An earlier scan: images whose file has the same size and time are not read again.
        journal: A file in which the scan saves its progress: after an interruption, the same call continues from there.
            The caller removes it once the manifest is saved.
        workers: Processes that read; 1 reads in this process.
        progress: Counts the images. What it raises stops the scan.
        whole: Decode images to their last byte; otherwise their headers are read, damage behind them is missed, and the
            manifest has no hashes.

    Raises:
        OSError: The journal cannot be written, or an archive is gone.
        BrokenExecutor: A worker was killed. With a journal, the same call continues from there.
    """
    findings, done, read = Findings(listing), 0, 0
    inspector = Inspector(replace(listing, entries=[], folders={}), whole)
    with ExitStack() as stack:
        saved = stack.enter_context(opened(journal)) if journal else None
        findings.remember(known, saved.records() if saved else ())
        progress(0, len(listing.entries))
        for start, results in stack.enter_context(closing(each(inspector, findings.chunks(whole=whole), workers))):
            new = findings.put(start, results)
            if saved and new:
                saved.add(new)
            done, read = done + len(results), read + sum(result is not None for result in results)
            progress(done, len(listing.entries))
    return Scan(findings.manifest(), read)


def problem(manifest: Manifest, max_broken: float) -> str | None:
    """Why too many images are broken to train without them, for the user; None where they are few enough.

    Args:
        manifest: A scan's result.
        max_broken: Greatest accepted share of broken images, 0 to 1.
    """
    broken, total = len(manifest.broken), len(manifest) + len(manifest.broken)
    if broken <= max_broken * total:
        return None
    named = "\n".join(f"  {manifest.root / image.name}: {image.reason}" for image in manifest.broken[:NAMED])
    more = f"\n  and {broken - NAMED:,} more" if broken > NAMED else ""
    return (
        f"{manifest.root}: {broken:,} of {total:,} images cannot be decoded ({broken / total:.2%}; "
        f"{max_broken:.2%} would be accepted)\n{named}{more}\n"
        "  repair or remove them and run `provenet verify`, which names those of train and val, or raise --max-broken"
    )
