"""What each recipe does, against what its source says; trainer/recipe/yaml/README.md names the places.

The numbers here are written down from the sources, none is computed by the code under test.
"""

import re
from dataclasses import dataclass, replace

import pytest

from models import registry
from models.config import arguments
from trainer.evidence.targets import TARGETS
from trainer.recipe import recipes
from trainer.recipe.checks import recipe_problems
from trainer.recipe.config import Recipe
from trainer.recipe.schedule import learning_rate

IMAGENET, CIFAR, DEMO, OWN = 1_281_167, 50_000, 4_000, 6_400  # training images
ON_OWN_IMAGES = ("finetune", "linear_probe")  # of which no figure is published

README = (recipes.FOLDER / "README.md").read_text()
CITATION = re.compile(r"\b\d{4}\.\d{5}\b|github\.com/[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A learning rate, by optimizer steps; the last point is the run's last step."""

    steps_per_epoch: int
    points: dict[int, float]


def imagenet_steps(epochs: int) -> Curve:
    """0.1, divided by 10 every 30 epochs; 1,281,167 // 256 = 5,004 steps each."""
    drops = {0: 0.1, 150_119: 0.1, 150_120: 0.01, 300_239: 0.01, 300_240: 0.001}
    ends = {90: {450_359: 0.001}, 100: {450_359: 0.001, 450_360: 0.0001, 500_399: 0.0001}}
    return Curve(steps_per_epoch=5004, points=drops | ends[epochs])


# 1512.03385, section 4.2: 0.1, 0.01 and 0.001 from 0, 32,000 and 48,000 of 64,000 steps, here at whole epochs of 390
CIFAR_STEPS = Curve(
    steps_per_epoch=390, points={0: 0.1, 31_979: 0.1, 31_980: 0.01, 47_969: 0.01, 47_970: 0.001, 63_959: 0.001}
)


def strikes_back(points: dict[int, float], peak: float) -> Curve:
    """2110.00476, Table 2: five epochs up, then 1e-6 + (peak - 1e-6) (1 + cos(pi (epoch - 5) / (epochs - 5))) / 2."""
    rise = {0: peak / 3126, 1562: peak / 2, 3125: peak}
    return Curve(steps_per_epoch=625, points=rise | points)


def nvidia(points: dict[int, float]) -> Curve:
    """0.256 * 2048 / 256 after 8 epochs of 625 steps, then a cosine to 0."""
    return Curve(steps_per_epoch=625, points={0: 2.048 / 5001, 2499: 2.048 * 2500 / 5001, 5000: 2.048} | points)


def ffcv(points: dict[int, float]) -> Curve:
    """train_imagenet.py, get_cyclic_lr: straight lines through (0, 1e-4), (2, 1) and (epochs, 0), times 1.7."""
    return Curve(steps_per_epoch=312, points={0: 0.00017, 312: 0.850085, 624: 1.7} | points)


CURVES: dict[str, Curve] = {
    # 0.05 (1 + cos(pi (epoch - 1) / 8)) / 2
    "demo": Curve(steps_per_epoch=62, points={0: 0.05 / 63, 62: 0.05, 310: 0.025, 557: 5.014e-7}),
    # 1e-3 * 64 / 256 after 2 of 20 epochs, then 1e-6 + (2.5e-4 - 1e-6) (1 + cos(pi (epoch - 2) / 18)) / 2
    "finetune": Curve(
        steps_per_epoch=100,
        points={0: 2.5e-4 / 201, 199: 2.5e-4 * 200 / 201, 200: 2.5e-4, 650: 2.1353479e-4, 1100: 1.255e-4, 1999: 1e-6},
    ),
    # 0.1 * 64 / 256 (1 + cos(pi epoch / 90)) / 2
    "linear_probe": Curve(
        steps_per_epoch=100, points={0: 0.025, 2250: 0.021338835, 4500: 0.0125, 6750: 0.0036611652, 8999: 0.0}
    ),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), imagenet_steps(90)),
    **dict.fromkeys(("resnet50_v1", "plain18", "plain34", "ghost_resnet50"), imagenet_steps(90)),
    **dict.fromkeys(("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d"), imagenet_steps(100)),
    # 0.165 * 1024 / 256, times 0.94 every two epochs of 1,251 steps: 25 times by epoch 50, 49 times at last
    "inception_v3": Curve(
        steps_per_epoch=1251,
        points={0: 0.66, 2501: 0.66, 2502: 0.6204, 5004: 0.583176, 62_550: 0.1405207, 125_099: 0.03182796},
    ),
    # 0.2 (1 + cos(pi (epoch - 5) / 395)) after five epochs of 1,251 steps
    "ghostnet_100": Curve(
        steps_per_epoch=1251,
        points={0: 0.4 / 6256, 6255: 0.4, 125_100: 0.3455758, 250_200: 0.2039764, 375_300: 0.05999159, 500_399: 0.0},
    ),
    "resnet50_a1": strikes_back(
        {93_750: 0.004302559, 187_500: 0.002533492, 281_250: 7.447899e-4, 374_999: 1e-6}, 0.005
    ),
    "resnet50_a2": strikes_back({46_875: 0.004337068, 93_750: 0.002567038, 140_625: 7.567700e-4, 187_499: 1e-6}, 0.005),
    "resnet50_a3": strikes_back({15_625: 0.007156667, 31_250: 0.004330776, 46_875: 0.001291712, 62_499: 1e-6}, 0.008),
    # timm's cosine, by epoch, over all 300: 1e-5 + (1e-3 - 1e-5) (1 + cos(pi epoch / 300)) / 2; up from 1e-6 in five
    "deit_s": Curve(
        steps_per_epoch=1251,
        points={0: 1e-6, 1250: 1e-6, 1251: 2.008e-4, 6255: 9.993216197e-4, 187_650: 5.05e-4, 375_299: 1.002714e-5},
    ),
    # the same to 4e-3, over all 800
    "deit3_s": Curve(
        steps_per_epoch=625,
        points={0: 1e-6, 624: 1e-6, 625: 8.008e-4, 3125: 3.999615353e-3, 250_000: 2.005e-3, 499_999: 1.001538e-5},
    ),
    # from 1e-6 at step 0 to 1e-3 at step 25,020; then 1e-5 + (1e-3 - 1e-5) (1 + cos(pi (epoch - 20) / 280)) / 2
    "swin_t": Curve(
        steps_per_epoch=1251,
        points={0: 1e-6, 12_510: 5.005e-4, 25_020: 1e-3, 112_590: 8.550178567e-4, 200_160: 5.05e-4, 375_299: 1e-5},
    ),
    # np.linspace(0, 4e-3, 6,240), then 1e-6 + (4e-3 - 1e-6) (1 + cos(pi (epoch - 20) / 280)) / 2
    "convnext_t": Curve(
        steps_per_epoch=312,
        points={0: 0.0, 3120: 4e-3 * 3120 / 6239, 6239: 4e-3, 6240: 4e-3, 49_920: 2.0005e-3, 93_599: 1e-6},
    ),
    # 1e-3 step / 10,000, then 5e-4 (1 + cos(pi (step - 10,000) / 102,590))
    "vit_s16_90": Curve(steps_per_epoch=1251, points={0: 0.0, 5000: 5e-4, 10_000: 1e-3, 61_295: 5e-4, 112_589: 0.0}),
    # 0.25 (1 + cos(pi (epoch - 5) / 595)) after five epochs of 1,251 steps
    "resnet50_v2": Curve(
        steps_per_epoch=1251,
        points={0: 0.5 / 6256, 6255: 0.5, 187_650: 0.4302420, 375_300: 0.2532999, 562_950: 0.07439387, 750_599: 0.0},
    ),
    "resnet50_nvidia": nvidia({13_750: 1.904199, 28_125: 1.180313, 41_875: 0.3724877, 56_249: 0.0}),
    "resnet50_nvidia_250": nvidia({38_750: 1.806527, 78_125: 1.077150, 116_875: 0.3237994, 156_249: 0.0}),
    "resnet50_fast16": ffcv({2808: 0.85, 4991: 1.7 / 14 / 312}),
    "resnet50_fast32": ffcv({5304: 0.85, 9983: 1.7 / 30 / 312}),
    "resnet50_fast88": ffcv({14_040: 0.85, 27_455: 1.7 / 86 / 312}),
    **dict.fromkeys(("cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "cifar_resnet56"), CIFAR_STEPS),
    **dict.fromkeys(("cifar_plain20", "cifar_plain56"), CIFAR_STEPS),
    # 0.01 for about 400 steps before that
    "cifar_resnet110": Curve(
        steps_per_epoch=390, points={**CIFAR_STEPS.points, 0: 0.01, 200: 0.01, 399: 0.01, 400: 0.1, 20_000: 0.1}
    ),
    # 1611.05431, Appendix A: epochs 150 and 225 of 300
    "cifar_resnext29_8x64d": Curve(
        steps_per_epoch=390, points={0: 0.1, 58_499: 0.1, 58_500: 0.01, 87_749: 0.01, 87_750: 0.001, 116_999: 0.001}
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What befalls a training image and its target; the defaults are ImageNet's usual crop and flip (1409.4842)."""

    size: int = 224
    grows_from: int | None = None
    grown_at: float = 0.0
    """Epoch."""
    crop: str = "resized"
    area: tuple[float, float] = (0.08, 1.0)
    padding: int | None = None
    flip: float = 0.5
    policy: str = "none"
    ops_and_magnitude: tuple[int, int] | tuple[int, int, float] | None = None
    filters: tuple[str, str] = ("bilinear", "bilinear")
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    erasing: float = 0.0
    fill: str = "mean"
    repeats: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    smoothing: float = 0.0


USUAL = Seen()
PADDED = Seen(size=32, crop="padded", padding=4)  # 1512.03385, section 4.2
RESNEXT = Seen(jitter=(0.4, 0.4, 0.4, 0.0))  # datasets/imagenet.lua
TIMM = Seen(policy="randaugment_timm", filters=("bicubic", "bicubic"), cutmix=1.0)
# 2110.00476, Table 2: rand-m7-mstd0.5-inc1 and rand-m6-mstd0.5-inc1
STRIKES_A1 = replace(TIMM, ops_and_magnitude=(2, 7, 0.5), repeats=3, mixup=0.2, smoothing=0.1)
STRIKES_A2 = replace(TIMM, ops_and_magnitude=(2, 7, 0.5), repeats=3, mixup=0.1)
STRIKES_A3 = replace(TIMM, size=160, ops_and_magnitude=(2, 6, 0.5), mixup=0.1)
# main.py of DeiT and ConvNeXt, config.py of Swin: rand-m9-mstd0.5-inc1, reprob 0.25, remode pixel, mixup 0.8
NINE = replace(TIMM, ops_and_magnitude=(2, 9, 0.5), erasing=0.25, fill="noise", mixup=0.8, smoothing=0.1)

SEEN: dict[str, Seen] = {
    "demo": Seen(size=48, area=(0.35, 1.0)),
    # 2111.06377, Table 9: RandAugment 9 / 0.5 of 10: 27 of 30, one operation on average; FINETUNE.md: erasing
    "finetune": Seen(policy="randaugment", ops_and_magnitude=(1, 27), erasing=0.25, smoothing=0.1),
    "linear_probe": USUAL,
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet50_v1"), USUAL),
    **dict.fromkeys(("plain18", "plain34", "ghost_resnet50"), USUAL),
    **dict.fromkeys(("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d"), RESNEXT),
    # inception_preprocessing.py: area_range, random_brightness by 32 / 255, random_saturation 0.5 to 1.5
    "inception_v3": Seen(size=299, area=(0.05, 1.0), jitter=(0.125, 0.0, 0.5, 0.0), smoothing=0.1),
    "ghostnet_100": Seen(jitter=(0.4, 0.4, 0.4, 0.0), smoothing=0.1),  # ShuffleNetV2+/train.py
    "resnet50_a1": STRIKES_A1,
    "resnet50_a2": STRIKES_A2,
    "resnet50_a3": STRIKES_A3,
    "deit_s": replace(NINE, repeats=3),  # samplers.py: num_repeats 3
    # augment.py: new_data_aug_generator; README_revenge.md: --color-jitter 0.3 --mixup .8 --cutmix 1.0
    "deit3_s": replace(
        TIMM, policy="three_augment", jitter=(0.3, 0.3, 0.3, 0.0), repeats=3, mixup=0.8, ops_and_magnitude=None
    ),
    "swin_t": NINE,
    "convnext_t": NINE,
    # decode_jpeg_and_inception_crop(224), randaug(2, 10) of 10, mixup 0.2
    "vit_s16_90": Seen(area=(0.05, 1.0), policy="randaugment", ops_and_magnitude=(2, 30), mixup=0.2),
    # pytorch/vision#5935: ta_wide, random-erase 0.1, ra-reps 4, mixup-alpha 0.2, cutmix-alpha 1.0, train-crop-size 176
    "resnet50_v2": Seen(
        size=176, policy="trivialaugment", erasing=0.1, repeats=4, mixup=0.2, cutmix=1.0, smoothing=0.1
    ),
    "resnet50_nvidia": Seen(smoothing=0.1),
    "resnet50_nvidia_250": Seen(smoothing=0.1, mixup=0.2),
    # get_resolution: round((160 + 32 (epoch - start_ramp) / (end_ramp - start_ramp)) / 32) is 6 from these epochs on
    "resnet50_fast16": Seen(size=192, grows_from=160, grown_at=12, smoothing=0.1),
    "resnet50_fast32": Seen(size=192, grows_from=160, grown_at=25, smoothing=0.1),
    "resnet50_fast88": Seen(size=192, grows_from=160, grown_at=71, smoothing=0.1),
    **dict.fromkeys(("cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "cifar_resnet56"), PADDED),
    **dict.fromkeys(("cifar_resnet110", "cifar_plain20", "cifar_plain56", "cifar_resnext29_8x64d"), PADDED),
}


def seen(recipe: Recipe) -> Seen:
    shown, augment = recipe.input, recipe.input.augment
    padded, drawn, std = shown.crop == "padded", augment.policy.startswith("randaugment"), augment.randaugment_std
    strength = (augment.randaugment_ops, augment.randaugment_magnitude)
    return Seen(
        size=shown.train_size,
        grows_from=shown.start_size,
        grown_at=shown.growth_epochs[1],
        crop=shown.crop,
        area=shown.crop_area,
        padding=shown.crop_padding if padded else None,
        flip=shown.flip,
        policy=augment.policy,
        ops_and_magnitude=((*strength, std) if std else strength) if drawn else None,
        filters=(shown.interpolation, shown.eval_interpolation),
        fill=augment.erasing_fill,
        jitter=augment.color_jitter,
        erasing=augment.erasing,
        repeats=augment.repeats,
        mixup=recipe.mixing.mixup,
        cutmix=recipe.mixing.cutmix,
        smoothing=recipe.loss.label_smoothing,
    )


# optimizer, its decay, and whether norms and biases are decayed
DECAYS: dict[str, tuple[str, float, bool]] = {
    "demo": ("sgd", 5e-4, True),
    "finetune": ("adamw", 0.05, False),
    "linear_probe": ("sgd", 0.0, True),
    "cifar_resnext29_8x64d": ("sgd", 5e-4, True),
    "inception_v3": ("rmsprop_tf", 4e-5, False),
    "ghostnet_100": ("sgd", 4e-5, False),
    "resnet50_a1": ("lamb", 0.01, False),
    **dict.fromkeys(("resnet50_a2", "resnet50_a3"), ("lamb", 0.02, False)),
    **dict.fromkeys(("deit_s", "swin_t", "convnext_t"), ("adamw", 0.05, False)),
    "deit3_s": ("lamb", 0.05, False),  # README_revenge.md: --weight-decay 0.05
    "vit_s16_90": ("adamw", 0.1, False),  # optax.py: wd 1e-4 is not multiplied by lr 1e-3
    "resnet50_v2": ("sgd", 2e-5, False),
    **dict.fromkeys(("resnet50_nvidia", "resnet50_nvidia_250"), ("sgd", 1 / 32768, False)),
    **dict.fromkeys(("resnet50_fast16", "resnet50_fast32", "resnet50_fast88"), ("sgd", 1e-4, False)),
}
USUAL_DECAY = ("sgd", 1e-4, True)  # 1512.03385, section 3.4; fb.resnet.torch, README: "all weights and biases"


def images(name: str) -> int:
    if name in ON_OWN_IMAGES:
        return OWN
    return DEMO if name == "demo" else CIFAR if name.startswith("cifar_") else IMAGENET


def test_every_recipe_is_in_both_tables_and_nothing_else_is() -> None:
    assert sorted(CURVES) == recipes.names()
    assert sorted(SEEN) == recipes.names()
    assert set(DECAYS) <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_sound_and_fits_its_network(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe_problems(recipe) == []
    sizes = {recipe.input.start_size or recipe.input.train_size, recipe.input.train_size}
    assert [problem for size in sizes for problem in registry.problems(recipe.model, size)] == []
    assert registry.problems(recipe.model, recipe.input.eval_crop, "input.eval_crop", training=False) == []


@pytest.mark.parametrize("name", [name for name in recipes.names() if name != "demo"])
def test_a_recipe_is_short_and_says_where_it_is_from(name: str) -> None:
    lines = (recipes.FOLDER / f"{name}.yaml").read_text().splitlines()
    head = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert len(lines) < 40
    assert max(map(len, lines)) <= 120
    assert len(head) >= 3
    assert CITATION.search(" ".join(head))
    assert any(line.startswith("# Source: ") for line in head)


@pytest.mark.parametrize("name", sorted({*recipes.names()} - {"demo", *ON_OWN_IMAGES}))
def test_a_recipe_has_an_aim_of_as_many_epochs(name: str) -> None:
    recipe, aim = recipes.load(name), TARGETS[name][0]
    assert aim.epochs == recipe.epochs
    assert aim.data == ("cifar10" if recipe.model.num_classes == 10 else "imagenet-1k")


@pytest.mark.parametrize("name", recipes.names())
def test_the_readme_lists_a_recipe_and_its_aim(name: str) -> None:
    recipe = recipes.load(name)
    (row,) = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
    assert f" | `{recipe.model.name}` | {recipe.epochs} | " in row
    for aim in TARGETS.get(name, ())[:1]:
        assert f" | {aim.top1:g}" in row
        assert f"`{aim.protocol}`" in row


@pytest.mark.parametrize("name", recipes.names())
def test_the_learning_rate_passes_through_the_source_s_points(name: str) -> None:
    recipe, curve = recipes.load(name), CURVES[name]
    steps = images(name) // recipe.global_batch
    assert steps == curve.steps_per_epoch
    assert max(curve.points) == recipe.epochs * steps - 1
    assert len(curve.points) >= 4
    found = {step: learning_rate(recipe, step, steps) for step in curve.points}
    assert found == pytest.approx(curve.points, rel=1e-6, abs=6e-9)


@pytest.mark.parametrize("name", recipes.names())
def test_images_are_augmented_as_the_source_says(name: str) -> None:
    assert seen(recipes.load(name)) == SEEN[name]


def test_what_the_recipes_for_own_images_train_is_their_source_s() -> None:
    tuned, probed = map(recipes.load, ON_OWN_IMAGES)
    assert (tuned.optimizer.layer_decay, tuned.optimizer.no_decay, tuned.init.freeze) == (0.75, "network", None)
    assert (probed.init.freeze, probed.init.head) == (("backbone",), "new")


@pytest.mark.parametrize("name", recipes.names())
def test_weights_are_decayed_as_the_source_says(name: str) -> None:
    optimizer = recipes.load(name).optimizer
    found = (optimizer.name, optimizer.weight_decay, optimizer.decay_norm_and_bias)
    assert found == DECAYS.get(name, USUAL_DECAY)


def test_what_is_added_to_an_image_is_scaled_at_first_as_in_the_source() -> None:
    """timm's own DeiT III, which only takes trained weights, begins at 1e-6."""
    given = {name: arguments(recipes.load(name).model.options or ()) for name in ("deit3_s", "convnext_t")}
    assert given["deit3_s"]["init_values"] == 1e-4  # facebookresearch/deit, models_v2.py: vit_models, init_scale
    assert given["convnext_t"]["ls_init_value"] == 1e-6  # ConvNeXt, main.py: --layer_scale_init_value
