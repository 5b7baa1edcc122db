"""Settings of what happens to an image in training and in an evaluation, with their ranges."""

from dataclasses import dataclass, field
from typing import Literal

Policy = Literal[
    "none",
    "randaugment",
    "randaugment_timm",
    "trivialaugment",
    "three_augment",
    "autoaugment_imagenet",
    "autoaugment_cifar10",
    "autoaugment_svhn",
]
Interpolation = Literal["bilinear", "bicubic"]
TIMM_HIGHEST = 10  # magnitude of timm's RandAugment


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Augmentation of a training image after its crop and flip: first the policy, then jitter, then erasing."""

    policy: str = "none"
    """Random operations: none; as torchvision draws them, autoaugment_imagenet, autoaugment_cifar10, autoaugment_svhn
    (1805.09501), randaugment (1909.13719) or trivialaugment (2103.10158); randaugment_timm, its rand-mM-nN-mstdS-inc1;
    three_augment: grey, solarize or blur (2204.07118, section 3); or one of your own (--import)."""
    randaugment_ops: int = field(default=2, metadata={"min": 1, "max": 8})
    """Operations on each image with randaugment (1909.13719: N); timm's does each with a probability of 1/2."""
    randaugment_magnitude: int = field(default=9, metadata={"min": 0, "max": 30})
    """Strength of these operations (1909.13719: M); the highest of timm's is 10."""
    randaugment_std: float = field(default=0.0, metadata={"min": 0, "max": 100})
    """Standard deviation of the strength of timm's randaugment."""
    color_jitter: tuple[float, float, float, float] = field(default=(0.0, 0.0, 0.0, 0.0), metadata={"min": 0, "max": 1})
    """Greatest change of brightness, contrast, saturation and hue; the hue's is at most 0.5."""
    erasing: float = field(default=0.0, metadata={"min": 0, "max": 1})
    """Probability that a rectangle is replaced (1708.04896)."""
    erasing_fill: Literal["mean", "noise"] = "mean"
    """mean: one colour, as torchvision's RandomErasing; noise: a normal number a channel after normalisation, as timm's
    with mode pixel."""
    repeats: int = field(default=1, metadata={"min": 1, "max": 16})
    """Times an image is used in a row, each time with another crop; epochs keep their length (1901.09335)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """How images become the network's input."""

    train_size: int = field(default=224, metadata={"min": 8, "max": 2048})
    """Side of the square training image, pixels."""
    start_size: int | None = field(default=None, metadata={"min": 8, "max": 2048})
    """Side in the first epochs, pixels, which grows to `train_size` in steps of 32. None: `train_size`."""
    growth_epochs: tuple[float, float] = field(default=(0.0, 0.0), metadata={"min": 0, "max": 1_000_000})
    """Epochs at which the growth from `start_size` begins and ends."""
    crop: Literal["resized", "padded", "simple"] = "resized"
    """A random area, resized; or, as for CIFAR, a random square of the image with `crop_padding` around it; or the same
    of the image whose shorter side is resized to `train_size` (2204.07118, section 3)."""
    crop_padding: int = field(default=4, metadata={"min": 0, "max": 512})
    """Pixels on each side before a crop: black for padded (1512.03385, section 4.2), reflected for simple."""
    crop_area: tuple[float, float] = field(default=(0.08, 1.0), metadata={"above": 0, "max": 1})
    """Least and greatest share of the image that a random crop takes (1409.4842, section 6)."""
    interpolation: Literal["bilinear", "bicubic", "random"] = "bilinear"
    """Filter that resizes training crops, with antialias; random: for each image one or the other, as timm does."""
    flip: float = field(default=0.5, metadata={"min": 0, "max": 1})
    """Probability of a horizontal flip in training."""
    eval_resize: int = field(default=256, metadata={"min": 8, "max": 2048})
    """Shorter side after the resize in evaluation, pixels."""
    eval_crop: int = field(default=224, metadata={"min": 8, "max": 2048})
    """Side of the central crop that is evaluated, pixels."""
    eval_interpolation: Interpolation = "bilinear"
    """Filter that resizes images in evaluation, with antialias."""
    mean: tuple[float, float, float] = field(default=(0.485, 0.456, 0.406), metadata={"min": 0, "max": 1})
    """Mean of each channel (R, G, B), subtracted from pixels scaled to [0, 1]; ImageNet's by default."""
    std: tuple[float, float, float] = field(default=(0.229, 0.224, 0.225), metadata={"above": 0, "max": 1})
    """Standard deviation of each channel, which divides the difference; ImageNet's by default."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of training images."""
    drop_last: bool = True
    """Leave out the images after an epoch's last complete `global_batch`; otherwise they make a smaller step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalViews:
    """The squares that an evaluation cuts from each image, all of one size."""

    side: int
    """Of each square, pixels."""
    resize: int | None
    """Shorter side of the resized image that they are cut from, pixels. None: the image is resized to one square."""
    five: bool = False
    """Cut the four corners and then the centre, instead of the centre only."""
    interpolation: Interpolation = "bilinear"
    """How the image is resized, with antialias."""

    @property
    def count(self) -> int:
        return 5 if self.five else 1

    @classmethod
    def of(cls, config: InputConfig) -> "EvalViews":
        """The views of an evaluation during training."""
        return cls(side=config.eval_crop, resize=config.eval_resize, interpolation=config.eval_interpolation)
