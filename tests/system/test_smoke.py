import shutil
from pathlib import Path

import pytest

from data.synth import synth
from data.synth.config import Synth
from tests import commands
from trainer.commands.cli import main
from trainer.recipe import recipes, smoke
from trainer.rundir import RunDirectory

pytestmark = pytest.mark.slow

# a CPU without instructions for bf16 takes three times as long for it: these have the blocks and settings of others
SINGLE = {"ghost_resnet50", "cifar_resnext29_8x64d"}
# the settings of these recipes are tried on ResNet-18: tests/trainer/engine/test_loop_golden.py trains their networks
LIGHTER = {
    *("plain34", "resnet34", "resnet101", "resnet152", "resnet50_v1", "resnext101_32x4d", "resnext101_64x4d"),
    *(name for name in recipes.names() if name.startswith("resnet50_")),
}
# in place of networks of which half a minute goes by; the options of the recipes are for these too
_VIT = ("--model.name", "timm/test_vit", "--model.img-size", "64")
SMALLER = {
    "timm/convnext_tiny": ("--model.name", "timm/test_convnext"),
    **dict.fromkeys(
        ("timm/deit_small_patch16_224", "timm/deit3_small_patch16_224", "timm/vit_small_patch16_224"), _VIT
    ),
    "timm/swin_tiny_patch4_window7_224": (
        *("--model.img-size", "64", "--model.options"),
        *("embed_dim=16", "depths=(1,1)", "num_heads=(1,2)", "window_size=4"),
    ),
}
SMALL = (
    *("--model.num-classes", "2", "--threads", "1", "--keep-checkpoints", "1", "--keep-best", "0"),
    *("--max-broken", "0.5"),
)


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images to train on as eight steps need, and one to evaluate: its 10 or 144 crops of full size cost most.

    The other class's image is broken, as a class without any would be refused.
    """
    root = tmp_path_factory.mktemp("images") / "synth"
    synth.write(root, Synth(scale="small", classes=2, train_per_class=48, val_per_class=1), workers=1)
    max((root / "val").rglob("*.JPEG")).write_bytes(b"")
    return root


def sizes(name: str) -> tuple[str, ...]:
    """Images so small and few that a step takes less than a second, and a precision that the CPU is quick in."""
    side = 299 if name == "inception_v3" else 16 if name.startswith("cifar") else 64
    recipe = recipes.load(name)
    # mixing takes more images than repeats of one, and BatchNorm more than two where their last map is a pixel
    many = recipe.mixing.mixup or recipe.mixing.cutmix or recipe.input.start_size
    batches = ("--global-batch", "12", "--micro-batch", "6") if many else ("--global-batch", "2", "--micro-batch", "2")
    shown = ("--input.train-size", "--input.eval-crop", "--input.eval-resize")
    precision = ("--precision", "fp32") if name in SINGLE else ()
    growing = ("--input.start-size", "32") if recipe.input.start_size else ()
    growing += ("--model.name", "resnet18") if name in LIGHTER else SMALLER.get(recipe.model.name, ())
    return (*(word for flag in shown for word in (flag, str(side))), *precision, *growing, *batches)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_runs_through_all_its_phases(name: str, few_images: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    done = commands.call(
        main, "train", name, "--smoke", "--data", few_images, "--output", run.path, *SMALL, *sizes(name)
    )
    assert done.returncode == 0, done.stderr
    result, records = run.finished(), list(run.records())
    assert result is not None
    shutil.rmtree(run.checkpoints)
    assert result["epochs"] == min(recipes.load(name).epochs, smoke.EPOCHS)
    assert [record["epoch"] for record in records if record["kind"] == "eval"] == list(range(1, result["epochs"] + 1))
    assert records[0]["steps_per_epoch"] == smoke.STEPS
    assert (result["images"], result["val_broken"]) == (1, 1)
    assert ("raw_weights" in result) == (recipes.load(name).ema.decay is not None)
