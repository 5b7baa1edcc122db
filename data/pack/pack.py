"""Packs the images of a split into tar shards: OUT/<split>/<split>-000000.tar and so on, in WebDataset's layout.

Which image goes where follows from the options and the names alone, so neither the workers nor their number nor an
interruption changes a byte. A shard gets its name once it was read back and found right; OUT/pack.json tells what is
done.
"""

import dataclasses
import math
import shutil
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
from data.output_folder import ADVICE, RefusedError, alone, refuse_strangers
from data.pack.shard import BLOCK, Job, Plan, image, pack
from data.plan.draws import order
from data.types import Progress, unwatched
from data.verify import verify
from data.workers import each

LOCK = ".pack.lock"
SAMPLE = 32  # images whose sizes tell the whole split's, within an eighth or so
OVERHEAD = 4 * BLOCK  # of an image in an archive: two headers, the class, and the rest of a block


class TooManyBrokenSourcesError(RuntimeError):
    """More images cannot be decoded than was said to be bearable; the message names some, and the mend."""


@dataclass(frozen=True, slots=True)
class Written:
    """A split in shards, complete."""

    images: int
    """Images in its shards."""
    resized: int
    """How many of them are not the source's bytes."""
    bytes: int
    """Sizes of the shards added up."""
    shards: int
    """Files."""
    new: int
    """Files that this call wrote: 0 where all were there before."""
    broken: tuple[tuple[str, str], ...]
    """Names of the images that are left out, and why."""


def write(
    listing: Listing, out: Path, split: str, options: PackOptions, workers: int, progress: Progress = unwatched
) -> Written:
    """Write the shards of a split, or those that are missing; a complete split is left as it is.

    More than one worker are processes that are spawned: a script that asks for them calls this under
    `if __name__ == "__main__":`.

    Args:
        listing: The images.
        out: Folder of the packed data set: absent (its parents too), empty, or begun with the same options.
        split: train or val.
        options: How they are packed.
        workers: Processes that write a shard each; 1 writes in this one.
        progress: Is given the number of images done, and of all, now and then.

    Raises:
        RefusedError: A value is out of range, the folder holds something else, or the disk is too full. Nothing was
            written.
        TooManyBrokenSourcesError: More than the options bear. The shards that were written stay.
        OSError: A file cannot be written. Once it can, the same call goes on from there.
        BrokenExecutor: A worker was killed. The same call goes on from there.
    """
    if not listing.entries:
        raise RefusedError(f"{listing.root} holds no image; there is nothing to pack")
    record = Record(out, split, options, source_digest(listing))
    complete, known = record.read()
    job = Job(dataclasses.replace(listing, entries=[], folders={}), out / split, options)
    if complete and all(_in_place(job.folder, shard) for shard in known.values()):
        return _summary(known.values(), new=0)
    plans = _plans(listing, split, options, known)
    _refuse_other_sets(out, split, listing, {plan.name for plan in plans})
    _check_space(job, listing.entries, out, sum(shard.bytes for shard in known.values()))
    job.folder.mkdir(parents=True, exist_ok=True)
    with alone(out / LOCK):
        replace(out / CLASSES, _class_lines(listing))
        record.begin(known.values())
        packed = list(_packed(job, plans, workers, record, progress))
        record.complete(shard for shard, _ in packed)
    return _summary((shard for shard, _ in packed), new=sum(new for _, new in packed))


def write_manifest(out: Path, split: str, images: int, workers: int, progress: Progress = unwatched) -> Manifest:
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
        known = manifest.load(manifest_file(out, split), out / split)
    found = verify.scan(listing, known=known, journal=journal, workers=workers, progress=progress)
    found.save(manifest_file(out, split))
    journal.unlink(missing_ok=True)
    if len(found) != images:
        raise OSError(0, f"{images - len(found)} images that were written no longer decode", str(out / split))
    return found


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
    parts = np.array_split(order(options.seed, 0, len(entries)), -(-len(entries) // options.shard_images))
    names = [f"{split}-{number:06d}.tar" for number in range(len(parts))]
    return [
        Plan(name, [(samples[row], entries[row]) for row in part.tolist()], known.get(name))
        for name, part in zip(names, parts, strict=True)
    ]


def _samples(entries: Sequence[Entry]) -> list[str]:
    """A name in the archives for each image, without its extension: its own wherever the layout allows.

    There a dot ends the name, so others become underscores; and `a.png` beside `a.jpg` needs another name.
    """
    taken: dict[str, None] = {}
    for entry in entries:
        folder, slash, file = entry.name.rpartition("/")
        sample = folder + slash + file.rpartition(".")[0].replace(".", "_")
        while sample in taken:
            sample += "_"
        taken[sample] = None
    return list(taken)


def _refuse_other_sets(out: Path, split: str, listing: Listing, names: set[str]) -> None:
    if any("\n" in name for name in listing.classes):
        raise RefusedError(f"{listing.root}: a class has a line break in its name, which {CLASSES} cannot hold")
    if out.exists() and not out.is_dir():
        raise RefusedError(f"{out} is a file; name a folder")
    if (out / CLASSES).exists() and (out / CLASSES).read_bytes() != _class_lines(listing):
        raise RefusedError(f"{out / CLASSES} names other classes than {listing.root}; {ADVICE}")
    # an index may lie there without its shard: it is written first
    ours = names | {name.replace(".tar", ".idx") for name in names} if (out / RECORD).exists() else set[str]()
    refuse_strangers(out / split, ours)


def _check_space(job: Job, entries: list[Entry], out: Path, there: int) -> None:
    """Compare what the shards will take, judged by some of the images, with what the disk has."""
    some = entries[:: -(-len(entries) // SAMPLE)]
    mean = sum(_stored_bytes(job, entry) for entry in some) / len(some)
    needed = int(mean * len(entries)) - there
    free = shutil.disk_usage(next(folder for folder in (out, *out.absolute().parents) if folder.exists())).free
    if needed > free:
        raise RefusedError(
            f"{out}: the shards need about {needed / 1e9:,.3f} GB, and the disk has {free / 1e9:,.3f} GB free; "
            f"make room, name another folder, or have the images scaled down with --resize"
        )


def _stored_bytes(job: Job, entry: Entry) -> int:
    try:
        return len(image(job.source, entry, job.options).content) + OVERHEAD
    except Exception:  # whatever Pillow's parsers stumble over is left out when its turn comes
        return 0


def _in_place(folder: Path, shard: Packed) -> bool:
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
        f"mend or delete them, or allow for them with --max-broken {share} or more"
    )
