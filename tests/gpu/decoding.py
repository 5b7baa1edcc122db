"""The GPU's decoder beside the threads: the same pixels, and whole ones whatever the training stream is doing."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from PIL import Image
from torch import Tensor

from data.catalog import dataset
from data.catalog.listing import SPLITS
from data.catalog.manifest import Manifest
from data.load import backends
from data.load.loader import PlanLoader
from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan, Plan
from data.plan.plan import TrainPlan
from data.types import Backend, Batch, Shard
from data.workers import cores
from tests.data.making import scanned, varied_tree
from tests.gpu.stage import Check, Stage, guarded
from trainer.engine.prefetch import on_device

BATCH, ODD_BATCH = 64, 32
SLEEP = 40_000_000  # cycles, some 20 ms: the host is several batches ahead of the GPU


def pixels(stage: Stage) -> Iterator[Check]:
    """Differences between each loader of DALI and the threads, with and without NVIDIA's JPEG engine."""
    drawn = [dataset.find(stage.images).manifest(stage.listed, split) for split in ("train", "val")]
    odd = _odd_images(stage.folder / "odd")
    ways = [(backend, load) for backend in stage.backends for load in _loads(stage, backend)]
    for name, (train, val), batch in (("drawn", drawn, BATCH), ("odd", odd, ODD_BATCH)):
        for backend, load in ways:
            what = f"{name} images, {backend}" + ("" if load is None else f", hw_decoder_load {load:g}")
            with _hardware(load):
                for plan in (_train_plan(stage, train, batch), _eval_plan(stage, val, batch)):
                    yield from guarded(what, _compared(stage, backend, plan, what))


def race(stage: Stage) -> Iterator[Check]:
    """Batches pulled while kernels wait on the training stream, beside batches pulled one after the other."""
    manifest = dataset.find(stage.images).manifest(stage.repeated, "train")
    plan = _train_plan(stage, manifest, min(BATCH, stage.size.batch))
    for backend in ("threads", *stage.backends):
        yield from guarded(backend, _raced(stage, plan, backend))


def _raced(stage: Stage, plan: Plan, backend: str) -> Iterator[Check]:
    alone, racing = (_checksums(stage, plan, backend, racing=racing) for racing in (False, True))
    wrong = int((alone != racing).any(1).sum())
    what = f"batches of {backend} that others overwrote"
    yield Check(what=what, figure=f"{wrong} of {len(alone)}", goal="0", passed=not wrong)


def _checksums(stage: Stage, plan: Plan, backend: str, *, racing: bool) -> Tensor:
    """(pulls, batch) sums over each image, taken on the device when its stream comes to it."""
    device, sums = _device(stage), list[Tensor]()
    with closing(_open(plan, backend, device)) as loader:
        source = chain.from_iterable(map(loader.epoch, count()))
        for batch in on_device(islice(source, stage.size.pulls), device):
            if racing and device.type == "cuda":
                torch.cuda._sleep(SLEEP)  # no public function keeps a stream busy  # pyright: ignore[reportPrivateUsage]
            sums.append(batch.images.flatten(1).sum(1, dtype=torch.int64))
            del batch  # its memory is free for the next one, though the sum is only queued
            if not racing and device.type == "cuda":
                torch.cuda.synchronize()
    return torch.stack(sums).cpu()


def _compared(stage: Stage, backend: str, plan: Plan, what: str) -> Iterator[Check]:
    """One epoch of a loader beside the same of the threads."""
    most, mean, images, others, broken = 0, 0.0, 0, 0, 0
    with ExitStack() as stack:
        device = _device(stage)
        loaders = [stack.enter_context(closing(_open(plan, name, device))) for name in (backend, "threads")]
        for mine, theirs in zip(*(loader.epoch(0) for loader in loaders), strict=True):
            difference = _difference(mine, theirs, device)
            most, mean = max(most, int(difference.max())), mean + float(difference.float().mean()) * len(mine.images)
            images, broken = images + len(mine.images), broken + len(theirs.broken)
            others += int((mine.indices != theirs.indices).sum()) + abs(len(mine.broken) - len(theirs.broken))
    exact, mean = isinstance(plan, EvalPlan), mean / images
    yield Check(
        what=f"{'evaluation' if exact else 'training'}, {what}: levels apart",
        figure=f"at most {most}, mean {mean:.3f}; {broken} replaced, {others} of them otherwise",
        goal="at most 1" if exact else "mean below 0.5",
        passed=not others and (most <= 1 if exact else mean < 0.5),
    )


def _difference(mine: Batch, theirs: Batch, device: torch.device) -> Tensor:
    here, there = (batch.images.to(device).short() for batch in (mine, theirs))
    valid = mine.valid.to(device)
    return (here - there).abs()[valid] if bool(valid.any()) else torch.zeros(1, device=device)


def _loads(stage: Stage, backend: str) -> tuple[float | None, ...]:
    return (None, 0.0) if backend == "dali_gpu" or stage.rehearsal else (None,)


def _hardware(load: float | None) -> Any:
    """The share of images that NVIDIA's JPEG engine takes; None: DALI's own choice."""
    if load is None:
        return nullcontext()
    from nvidia.dali import fn  # comes without stubs of these

    decoders = cast(Any, fn).decoders
    return patch.object(decoders, "image_slice", partial(decoders.image_slice, hw_decoder_load=load))


def _odd_images(root: Path) -> list[Manifest]:
    """Of train and val: sizes, subsamplings and formats of all kinds, and one file of each that broke after listing."""
    varied_tree(root)
    for name in ("a", "b"):
        with Image.open(sorted((root / "train" / name).glob("*.JPEG"))[1]) as image:
            image.convert("RGB").save(root / "train" / name / "progressive.JPEG", "JPEG", progressive=True)
    (root / "val").symlink_to("train")
    found = [scanned(root, split) for split in SPLITS]
    victim = root / "train" / "a" / "00.JPEG"
    content = victim.read_bytes()
    victim.write_bytes(bytes(200) + content[200:])
    return found


def _device(stage: Stage) -> torch.device:
    return torch.device("cpu") if stage.rehearsal else torch.device("cuda", 0)


def _open(plan: Plan, backend: str, device: torch.device) -> PlanLoader:
    threads = max(1, cores() // 2)  # two loaders at a time
    return backends.open_loader(plan, cast(Backend, backend), device=device, threads=threads, max_broken=1.0)


def _train_plan(stage: Stage, manifest: Manifest, batch: int) -> TrainPlan:
    config = InputConfig(train_size=stage.size.side)
    return TrainPlan(manifest=manifest, config=config, seed=0, global_batch=batch, micro_batch=batch, shard=Shard())


def _eval_plan(stage: Stage, manifest: Manifest, batch: int) -> EvalPlan:
    side = stage.size.side
    return EvalPlan(manifest=manifest, views=EvalViews(side=side, resize=side * 8 // 7), batch=batch, shard=Shard())
