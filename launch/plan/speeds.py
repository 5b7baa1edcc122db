"""Speeds of one process: measured by the doctor, from flags, or published. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import schema
from launch.plan.config import GpuName, PlanConfig
from launch.plan.forecast import FORWARD, Speeds
from launch.plan.network_size import Network
from trainer.recipe.config import Precision, Recipe
from trainer.recipe.decode import InvalidConfigError, differences, encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """The published rates of a GPU model."""

    resnet50: Mapping[Precision, tuple[float, int]]
    """By precision, images/s of one GPU that trains ResNet-50 at 224 pixels, and its batch size."""
    link_gb_s: float
    """Line rate to the other GPUs of its node, GB/s each way."""
    memory_gb: int
    source: str


# MLPerf Training, ResNet-50 by MXNet, images/s in logs of one node. Round 3.0, May 2023: Dell XE9680 with eight A100
# (28,640) or H100 (56,089). Round 4.0, April 2024: NVIDIA's nodes of eight H100 (57,260) or H200 (63,540), Dell R760xa
# with four L40S (8,737)
_H100 = 56_089 / 28_640
_H200, _L40S = _H100 * 63_540 / 57_260, _H100 * 8_737 / 4 / (57_260 / 8)
# Lambda, "RTX 4090 vs RTX 3090 Deep Learning Benchmark", 2022: ResNet-50 in FP16, PyTorch
_RTX4090 = 379 / 236

_DLE = "NVIDIA DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5, container 21.03"


def _estimated(rate: float, batch: int, link_gb_s: float, memory_gb: int, words: str) -> Gpu:
    """A GPU of which no rate in PyTorch is published: that of another, by the ratio of the two in one other program."""
    return Gpu(
        resnet50={"bf16": (rate, batch), "fp16": (rate, batch)},
        link_gb_s=link_gb_s,
        memory_gb=memory_gb,
        source=f"estimated: {words}",
    )


GPUS: Mapping[GpuName, Gpu] = {
    "a100": Gpu(
        resnet50={"bf16": (2470, 256), "fp16": (2470, 256), "tf32": (938, 256)},
        link_gb_s=300,  # NVLink 3
        memory_gb=80,
        source=f"{_DLE}, DGX A100 80GB, AMP or TF32",
    ),
    "v100": Gpu(
        resnet50={"fp16": (1200, 256), "fp32": (367, 112)},
        link_gb_s=150,  # NVLink 2
        memory_gb=16,
        source=f"{_DLE}, DGX-1 16GB, AMP or FP32",
    ),
    "p100": Gpu(
        resnet50={"fp32": (218, 64)},
        link_gb_s=80,  # NVLink 1
        memory_gb=16,
        source="tensorflow.org/performance/benchmarks, May 2017, DGX-1, real data",
    ),
    "rtx3090": Gpu(
        resnet50={"bf16": (1218, 512), "fp16": (1218, 512)},
        link_gb_s=32,  # PCIe 4.0 x16
        memory_gb=24,
        source="timm, results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv, without loader",
    ),
    "h100": _estimated(2470 * _H100, 256, 450, 80, f"an A100's 2,470 times {_H100:.2f}, as in MLPerf Training 3.0"),
    "h200": _estimated(2470 * _H200, 256, 450, 141, f"an A100's 2,470 times {_H200:.2f}, as in MLPerf Training 4.0"),
    "l40s": _estimated(2470 * _L40S, 256, 32, 48, f"an A100's 2,470 times {_L40S:.2f}, as in MLPerf Training 4.0"),
    "rtx4090": _estimated(
        1218 * _RTX4090, 512, 32, 24, f"an RTX 3090's 1,218 times {_RTX4090:.2f}, as Lambda measured"
    ),
}

# timm's benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv: images/s, and the network's multiply-adds at that size.
# Depthwise and grouped convolutions and small stages are slower than their FLOPs suggest: GhostNet by a factor of 17.
_RTX3090: Mapping[str, tuple[float, float]] = {
    "resnet18": (3482, 1.814e9),
    "resnet34": (2037, 3.664e9),
    "resnet50": (1218, 4.089e9),
    "resnet101": (748, 7.801e9),
    "resnext50_32x4d": (1001, 4.230e9),
    "inception_v3": (782, 5.713e9),
    "ghostnet_050": (3671, 0.042e9),
    "ghostnet_100": (2130, 0.141e9),
    "ghostnet_130": (1542, 0.226e9),
    "vit_small_patch16_224": (1058, 4.599e9),
    "deit_small_patch16_224": (1051, 4.599e9),
    "deit3_small_patch16_224": (988, 4.599e9),
    "swin_tiny_patch4_window7_224": (649, 4.491e9),
    "convnext_tiny": (819, 4.456e9),
}
_FAMILIES = {
    **{"resnext": "resnext50_32x4d", "inception": "inception_v3", "ghostnet": "ghostnet_100"},
    **{"vit": "vit_small_patch16_224", "deit3": "deit3_small_patch16_224", "deit": "deit_small_patch16_224"},
    **{"swin": "swin_tiny_patch4_window7_224", "convnext": "convnext_tiny"},
}
_LOADER = 602.0  # images/s of a core: trainer/RESULTS.md, `threads` at 1.66 CPU ms
STALL = 205e6 / 0.024  # bytes/s: trainer/RESULTS.md, a checkpoint of ResNet-50 with momenta
WRITE = 205e6 / 0.433
_DECISIVE = ("model.name", "input.train_size", "micro_batch", "precision")  # on which a rate depends
_SMALL = 128  # pixels: below, launching kernels takes longer than the FLOPs


@dataclass(frozen=True, slots=True)
class Measured:
    """What `provenet doctor --json` wrote to a file."""

    file: Path
    figures: dict[str, Any]
    recipe: dict[str, Any]
    """The recipe that was measured, encoded."""

    def problems(self, recipe: Recipe) -> list[str]:
        """Why these figures do not apply to this recipe."""
        processes = self.figures["place"]["world_size"]
        several = f"--measured: {self.file} is of {processes} processes; measure one, and the plan adds the others"
        return [
            f"--measured: {self.file} is of {path} {theirs}, and this recipe has {ours}; measure this one"
            for path, theirs, ours in differences(self.recipe, encode(recipe))
            if path in _DECISIVE
        ] + [several] * (processes != 1)

    def speeds(self, config: PlanConfig, recipe: Recipe) -> tuple[Speeds, list[str]]:
        """The rates of one process, and their sources as lines of text."""
        saving, place = self.figures["saving"], self.figures["place"]
        speeds = Speeds(
            images_per_s=1 / self.figures["step"]["seconds"],
            core_images_per_s=1 / self.figures["load"]["cpu_s"],
            link_gb_s=link_gb_s(config),
            stall_bytes_per_s=saving["bytes"] / saving["hold_s"] if saving else STALL,
            write_bytes_per_s=saving["bytes"] / saving["write_s"] if saving else WRITE,
        )
        others = [path for path, *_ in differences(self.recipe, encode(recipe))]
        return speeds, [
            f"measured ({self.file}): one process with {'a GPU' if place['gpu'] else 'no GPU'} and {place['threads']} "
            "CPU threads, which the table takes for one GPU",
            f"one GPU: {speeds.images_per_s:,.1f} images/s, without waiting for a loader",
            f"one CPU core: {speeds.core_images_per_s:,.0f} images/s, by {place['backend']}",
            f"checkpoint: copied at {speeds.stall_bytes_per_s / 1e9:.2f} GB/s, written at "
            f"{speeds.write_bytes_per_s / 1e9:.2f} GB/s{'' if saving else ' (RESULTS.md: none was measured)'}",
            *([f"measured with other values of {', '.join(others)}"] if others else []),
        ]


def read(file: Path) -> Measured:
    """Read a doctor's file.

    Raises:
        InvalidConfigError: It cannot be read, or holds something else.
    """
    try:
        content = schema.parse(file.read_text(encoding="utf-8"))
        measured = Measured(file, content["figures"], {**content["recipe"]})
        measured.speeds(PlanConfig(), Recipe())
        measured.problems(Recipe())
    except OSError as error:
        raise InvalidConfigError([f"--measured: {file}: {error.strerror}"]) from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        expected = "it is not what this version's provenet doctor --json writes"
        raise InvalidConfigError([f"--measured: {file}: {expected} ({type(error).__name__}: {error})"]) from None
    return measured


def published_problems(config: PlanConfig, recipe: Recipe) -> list[str]:
    """Why no published rate can be used."""
    known = GPUS[config.gpu].resnet50
    if config.images_per_s or recipe.precision in known:
        return []
    advice = f"use --precision {' or '.join(known)}, or give --images-per-s"
    return [f"--gpu {config.gpu}: no published rate in {recipe.precision}; {advice}"]


def link_gb_s(config: PlanConfig) -> float:
    return config.nvlink_gb_s or GPUS[config.gpu].link_gb_s


def published(config: PlanConfig, recipe: Recipe, network: Network) -> tuple[Speeds, list[str]]:
    """The rates of one process, and their sources as lines of text: flags, or else publications."""
    images_per_s, source = config.images_per_s, "--images-per-s"
    if images_per_s is None:
        images_per_s, source = rate(config.gpu, recipe, network)
    core_images_per_s, core_source = config.loader_images_per_s, "--loader-images-per-s"
    if core_images_per_s is None:
        core_images_per_s, core_source = _LOADER, "`threads` on original-size JPEGs (RESULTS.md); other CPUs differ"
    speeds = Speeds(
        images_per_s=images_per_s,
        core_images_per_s=core_images_per_s,
        link_gb_s=link_gb_s(config),
        stall_bytes_per_s=STALL,
        write_bytes_per_s=WRITE,
    )
    return speeds, [
        f"one GPU: {images_per_s:,.0f} images/s: {source}",
        f"one CPU core: {core_images_per_s:,.0f} images/s: {core_source}",
        "checkpoint: ResNet-50's 205 MB hold training for 24 ms and are written in 0.43 s (RESULTS.md)",
    ]


def rate(gpu: GpuName, recipe: Recipe, network: Network) -> tuple[float, str]:
    """Images/s that one GPU trains, and the source in words."""
    base, batch = GPUS[gpu].resnet50[recipe.precision]
    like = sibling(recipe.model.name)
    measured, flops = _RTX3090[like]
    ratio, share = measured / _RTX3090["resnet50"][0], network.multiply_adds / flops
    words = [f"ResNet-50's {base:,.0f} on {gpu} ({GPUS[gpu].source})"]
    if like != "resnet50":
        words.append(f"times {ratio:.2f}, {like}'s on timm's RTX 3090")
    if abs(share - 1) > 0.01:
        larger = "larger networks are faster, ResNet-101 by 17 and ViT-B by 42 %"
        words.append(f"divided by {share:.2f}, its FLOPs over {like}'s; {larger}")
    if recipe.micro_batch < batch:
        words.append(f"at {batch} images a pass, and {recipe.micro_batch} are slower")
    if recipe.input.train_size < _SMALL:
        words.append("on images this small a guess: --measured or --images-per-s")
    if recipe.gradient_checkpointing:
        words.append("by 1.33 for a second forward pass (gradient_checkpointing)")
    if recipe.init.freeze:
        words.append("faster with init.freeze")
    return base * ratio / share / (1 + FORWARD * recipe.gradient_checkpointing), "; ".join(words)


def sibling(name: str) -> str:
    """The network with a published rate whose FLOPs take the most similar time."""
    bare = name.rpartition("/")[2]
    families = (known for family, known in _FAMILIES.items() if bare.startswith(family))
    return bare if bare in _RTX3090 else next(families, "resnet50")
