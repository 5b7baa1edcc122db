"""Packs the images of a split into tar shards: OUT/<split>/<split>-000000.tar and so on, in WebDataset's layout.

Which image goes where depends on the options and the names only: neither the number of workers nor an interruption
changes a byte. A shard gets its name once it was read back and matched; OUT/pack.json lists the complete ones.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data.catalog import dataset, manifest, shards
from data.catalog.listing import Entry, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.catalog.pack_record import CLASSES, RECORD, Packed, PackOptions, Record, source_digest
from data.durable import replace
from data.output_folder import ADVICE, RefusedError, alone, refuse, refuse_strangers, room_problems
from data.pack.shard import BLOCK, Job, Plan, image, pack
from data.plan.draws import order
from data.types import Progress, unwatched
from data.verify import verify
from data.workers import each

LOCK = ".pack.lock"
SAMPLE = 32  # images from which the size of the split is estimated, to about an eighth
OVERHEAD = 4 * BLOCK  # of an image in an archive: two headers, the class, and padding


class TooManyBrokenSourcesError(RuntimeError):
    """More images cannot be decoded than the options accept; the message names some, and the remedy."""


@dataclass(frozen=True, slots=True)
class Written:
    """A split in shards, complete."""

    images: int
    resized: int
    """Images that are not the source's bytes."""
    bytes: int
    """Of all shards."""
    shards: int
    new: int
    """Shards that this call wrote."""
    broken: tuple[tuple[str, str], ...]
    """Names of the images that are left out, and why."""


def write(
    listing: Listing, out: Path, split: str, options: PackOptions, workers: int, progress: Progress = unwatched
) -> Written:
    """Write the shards of a split, or those that are missing; a complete split is not changed.

    Workers are spawned processes: a script that uses several calls this under `if __name__ == "__main__":`.

    Args:
        listing: The images.
        out: Folder of the packed data set: absent (its parents too), empty, or begun with the same options.
        split: train or val.
        options: How images are packed; their ranges are not checked.
        workers: Processes that write a shard each; 1 writes in this process.
        progress: Counts the images.

    Raises:
        RefusedError: The folder holds something else, or the disk is too full. Nothing was written.
        TooManyBrokenSourcesError: More than the options accept. The shards that were written stay.
        OSError: A file cannot be written. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
    """
    if not listing.entries:
        raise RefusedError(f"{listing.root} holds no image; there is nothing to pack")
    record = Record(out, split, options, source_digest(listing))
    complete, known = record.read()
    job = Job(dataclasses.replace(listing, entries=[], folders={}), out / split, options)
    if complete and all(_exists(job.folder, shard) for shard in known.values()):
        return _summary(known.values(), new=0)
    plans = _plans(listing, split, options, known)
    _refuse_other_sets(out, split, listing, {plan.name for plan in plans})
    needed = _expected_bytes(job, listing.entries) - sum(shard.bytes for shard in known.values())
    refuse([f"{problem}; --resize makes images smaller" for problem in room_problems(out, needed, len(plans))])
    job.folder.mkdir(parents=True, exist_ok=True)
    with alone(out / LOCK):
        replace(out / CLASSES, _class_lines(listing))
        record.begin(known.values())
        packed = list(_packed(job, plans, workers, record, progress))
        record.complete(shard for shard, _ in packed)
    return _summary((shard for shard, _ in packed), new=sum(new for _, new in packed))


def write_manifest(out: Path, split: str, images: int, workers: int, progress: Progress = unwatched) -> Manifest:
    """Write OUT/manifest-<split>.npz; decodes the images from the shards, but for those listed before and unchanged.

    Args:
        out: Folder of the shards.
        split: train or val.
        images: How many were packed.
        workers: Processes that decode.
        progress: Counts the images.

    Raises:
        ShardError: The shards are not as they should be.
        OSError: A file cannot be read or written, or an image no longer decodes. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
    """
    journal = dataset.journal_file(out, split)
    listing = shards.listing(out, split)
    known = None
    with suppress(FileNotFoundError, DamagedManifestError):
        known = manifest.load(manifest_file(out, split), out / split)
    listed = verify.scan(listing, known=known, journal=journal, workers=workers, progress=progress).manifest
    listed.save(manifest_file(out, split))
    journal.unlink(missing_ok=True)
    if len(listed) != images:
        raise OSError(0, f"{images - len(listed)} images that were written no longer decode", str(out / split))
    return listed


def _packed(
    job: Job, plans: list[Plan], workers: int, record: Record, progress: Progress
) -> Iterator[tuple[Packed, bool]]:
    broken: list[tuple[str, str]] = []
    done, total = 0, sum(len(plan.entries) for plan in plans)
    progress(done, total)
    with closing(each(partial(pack, job), plans, workers)) as shards:
        for shard, new in shards:
            if new:
                record.append(shard)
            broken += shard.broken
            if len(broken) > job.options.max_broken * total:
                raise TooManyBrokenSourcesError(_too_many(job, broken, total))
            done += shard.images + len(shard.broken)
            progress(done, total)
            yield shard, new


def _plans(listing: Listing, split: str, options: PackOptions, known: dict[str, Packed]) -> list[Plan]:
    entries, samples = listing.entries, _samples(listing.entries)
    shares = np.array_split(order(options.seed, 0, len(entries)), -(-len(entries) // options.shard_images))
    plans: list[Plan] = []
    for number, rows in enumerate(shares):
        name = f"{split}-{number:06d}.tar"
        plans.append(Plan(name, [(samples[row], entries[row]) for row in rows.tolist()], known.get(name)))
    return plans


def _samples(entries: Sequence[Entry]) -> list[str]:
    """A name in the archives for each image, without its extension: its own where WebDataset's layout allows.

    There the first dot ends the name, so dots become underscores; and `a.png` beside `a.jpg` needs another name.
    """
    names: dict[str, None] = {}
    for entry in entries:
        folder, slash, file = entry.name.rpartition("/")
        sample = folder + slash + file.rpartition(".")[0].replace(".", "_")
        while sample in names:
            sample += "_"
        names[sample] = None
    return list(names)


def _refuse_other_sets(out: Path, split: str, listing: Listing, names: set[str]) -> None:
    if any("\n" in name for name in listing.classes):
        raise RefusedError(f"{listing.root}: a class has a line break in its name, which {CLASSES} cannot hold")
    if out.exists() and not out.is_dir():
        raise RefusedError(f"{out} is a file; name a folder")
    if (out / CLASSES).exists() and (out / CLASSES).read_bytes() != _class_lines(listing):
        raise RefusedError(f"{out / CLASSES} names other classes than {listing.root}; {ADVICE}")
    # an index may exist without its shard: it is written first
    ours = names | {name.replace(".tar", ".idx") for name in names} if (out / RECORD).exists() else set[str]()
    refuse_strangers(out / split, ours)


def _expected_bytes(job: Job, entries: list[Entry]) -> int:
    """Size of all shards, estimated from some of the images."""
    some, total = entries[:: -(-len(entries) // SAMPLE)], 0
    for entry in some:
        with suppress(Exception):  # an image that Pillow cannot decode will be left out
            total += len(image(job.source, entry, job.options).content) + OVERHEAD
    return total * len(entries) // len(some)


def _exists(folder: Path, shard: Packed) -> bool:
    file = folder / shard.name
    return file.exists() and file.stat().st_size == shard.bytes and file.with_suffix(".idx").exists()


def _class_lines(listing: Listing) -> bytes:
    return "".join(f"{name}\n" for name in listing.classes).encode(errors="surrogateescape")


def _summary(done: Iterable[Packed], new: int) -> Written:
    shards = sorted(done, key=lambda shard: shard.name)
    return Written(
        images=sum(shard.images for shard in shards),
        resized=sum(shard.resized for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        shards=len(shards),
        new=new,
        broken=tuple(image for shard in shards for image in shard.broken),
    )


def _too_many(job: Job, broken: list[tuple[str, str]], total: int) -> str:
    named = "".join(f"\n  {name}: {reason}" for name, reason in broken[:5])
    share = math.ceil(len(broken) / total * 10_000) / 10_000
    return (
        f"{len(broken):,} or more of {total:,} images of {job.source.root} cannot be decoded:{named}\n"
        f"repair or delete them, or accept them with --max-broken {share} or more"
    )
