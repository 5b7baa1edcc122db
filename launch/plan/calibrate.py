"""What one process of this machine does: training step, loader and checkpoint, timed as the benches time them."""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

from data import dataset, tree
from data.bench import bench
from data.bench.config import BenchConfig
from data.bench.talk import FailedError
from data.config import AugmentConfig
from data.workers import cores
from launch.plan import published
from launch.plan.config import PlanConfig
from launch.plan.model import Speeds
from launch.plan.network import Network, ask, checkpoint_bytes
from models import registry
from models.console import busy
from trainer.bench.config import LoopTask
from trainer.bench.images import ready
from trainer.bench.process import Contestant
from trainer.config import Recipe
from trainer.cpu import has_gpu
from trainer.learn.optim_config import SgdConfig

ROUNDS = 3
LOADER_BATCH = 32
LOADER_SECONDS = 2.0
_DRAWN = 256  # images for the loader

_PRECISIONS: dict[str, Literal["fp32", "bf16"]] = {"fp32": "fp32", "bf16": "bf16"}  # what the training bench can time


def problems(recipe: Recipe, data: Path | None) -> list[str]:
    """Why this recipe cannot be timed, or not on these images."""
    found: list[str] = []
    if recipe.precision not in _PRECISIONS:
        mend = f"time it in {' or '.join(_PRECISIONS)}, or give --images-per-s"
        found.append(f"--calibrate: does not time {recipe.precision}; {mend}")
    if recipe.micro_batch < 2:
        found.append("--calibrate: micro_batch 1 leaves BatchNorm no variance; use --micro-batch 2 or more")
    if not Path("/proc/self/stat").exists():
        found.append("--calibrate: this system has no /proc, where CPU times are read; run it on Linux")
    if data and not (data / "train").is_dir():
        found.append(f"--data: {data} has no folder train; expected DATA/train/<class>/*.JPEG")
    elif data and tree.read(data, "train").count(LOADER_BATCH) < LOADER_BATCH:
        found.append(f"--data: {data / 'train'} holds fewer than {LOADER_BATCH} images, too few to time a loader on")
    return found


def speeds(config: PlanConfig, recipe: Recipe, network: Network) -> tuple[Speeds, list[str]]:
    """What one process of this machine does, and how that was found; one after the other, for all take all cores.

    Raises:
        FailedError: A process that was timed ended early.
    """
    with TemporaryDirectory(prefix="plan-") as name:
        folder = Path(name)
        task = _task(recipe, folder / "training")
        with busy("timing a checkpoint (1 of 3)"):
            stall_bytes_per_s, write_bytes_per_s = save_rates(task, network)
        with busy("timing the training loop (2 of 3)"):
            images_per_s = training_rate(task)
        with busy("timing the loader (3 of 3)"):
            core_images_per_s = loader_rate(recipe.input.train_size, config.data, folder)
        found = Speeds(
            images_per_s=images_per_s,
            core_images_per_s=core_images_per_s,
            link_gb_s=published.link_gb_s(config),
            stall_bytes_per_s=stall_bytes_per_s,
            write_bytes_per_s=write_bytes_per_s,
        )
    return found, _sources(found, task, config, unmeasured(recipe))


def training_rate(task: LoopTask) -> float:
    """Images/s of our training loop on a resident batch, as `trainer bench --engine` times it: the median turn.

    Raises:
        FailedError: It ended.
    """
    with closing(Contestant(task.by("ours"))) as loop:
        loop.turn()  # compilers and allocators settle
        return median(loop.turn() for _ in range(ROUNDS))


def loader_rate(image_size: int, data: Path | None, folder: Path) -> float:
    """Images/s of one core, from the CPU time of plain threads, as `data bench` takes it: the median turn.

    Raises:
        FailedError: The images cannot be drawn or listed, or the loader ended.
    """
    root = data or ready(None, folder, _DRAWN).root
    config = BenchConfig(
        batch=LOADER_BATCH, image_size=image_size, rounds=ROUNDS, seconds=LOADER_SECONDS, contenders=("threads",)
    )
    with _as_failed():
        place = bench.place(root, config.split, folder / "listing", _quiet)
        if len(dataset.load(place.manifests, place.root, config.split)) < LOADER_BATCH:  # it would wait without end
            raise ValueError(f"{root} has fewer than {LOADER_BATCH} images that can be read")
        (row,) = bench.measure(bench.entries(place, config), config, _quiet)
    if row.figures is None:
        raise FailedError(row.problem)
    return 1000 / row.figures.cpu_ms


def save_rates(task: LoopTask, network: Network) -> tuple[float, float]:
    """Checkpoint bytes a second that training waits for, and of the write, as `trainer bench --stall` times them.

    Raises:
        FailedError: It ended.
    """
    said = ask("saves", task.by("ours").encode(), task.threads)
    size = checkpoint_bytes(network, Recipe(optimizer=SgdConfig()), 1)
    return 1000 * size / float(said["stall_ms"]), 1000 * size / float(said["write_ms"])


def unmeasured(recipe: Recipe) -> list[str]:
    """Fields of a recipe that change its speed, and that the timed loop does not know."""
    given = {
        "model options": bool(registry.options(recipe.model)),
        f"optimizer {recipe.optimizer.name}": recipe.optimizer.name != "sgd",
        "mixing": bool(recipe.mixing.mixup or recipe.mixing.cutmix),
        "ema": recipe.ema.decay is not None,
        "compile": recipe.compile != "off",
        "sync_bn": recipe.sync_bn,
        "crop padded": recipe.input.crop == "padded",
        "augment": recipe.input.augment != AugmentConfig(),
    }
    return [name for name, departs in given.items() if departs]


def _sources(found: Speeds, task: LoopTask, config: PlanConfig, left_out: list[str]) -> list[str]:
    where = f"a process of this machine, {'its GPU and' if has_gpu() else 'no GPU,'} {task.threads} CPU threads"
    images = config.data or "drawn images of ImageNet's sizes"
    copied, written = found.stall_bytes_per_s / 1e9, found.write_bytes_per_s / 1e9
    return [
        f"measured: a GPU of the table stands for {where}; load average {os.getloadavg()[0]:.1f} after",
        f"one GPU: {found.images_per_s:,.1f} images/s, our training loop on a resident batch of {task.batch}",
        f"one CPU core: {found.core_images_per_s:,.0f} images/s, `threads` on {images}",
        f"checkpoint: copied at {copied:.2f} GB/s, written at {written:.2f} GB/s (TMPDIR says to which disk)",
        *([f"not timed, though it changes the speed: {', '.join(left_out)}"] if left_out else []),
    ]


def _task(recipe: Recipe, folder: Path) -> LoopTask:
    return LoopTask(
        loop="ours",
        network=recipe.model.name,
        num_classes=recipe.model.num_classes,
        image_size=recipe.input.train_size,
        batch=recipe.micro_batch,
        steps=20 if has_gpu() else 3,
        precision=_PRECISIONS[recipe.precision],
        channels_last=True,
        threads=cores(),
        folder=folder,
    )


@contextmanager
def _as_failed() -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # of a data set that cannot be read or listed
        raise FailedError(f"--data: {error}") from error


def _quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""
    del done, total
