"""The recipe `finetune` from a network that was trained on some drawn classes, onto others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
from torch import nn

from data.plan.config import InputConfig
from data.synth.drawing import jpeg
from models.config import ModelConfig
from tests.trainer.engines import built
from trainer import initial
from trainer.engine.loop import fit
from trainer.optim.config import AdamWConfig, CosineScheduleConfig
from trainer.recipe import recipes
from trainer.recipe.config import InitConfig, Recipe

TEXTURES = ("stripes", "dots", "marble")
SMALL = ModelConfig(name="timm/test_resnet", num_classes=len(TEXTURES))
SIZES = {"train_size": 48, "eval_resize": 48, "eval_crop": 48, "crop_area": (0.35, 1.0)}


def draw(root: Path, shape: str, train: int, val: int) -> Path:
    """Images of this shape, a class for each texture."""
    rng = np.random.default_rng(len(shape))
    for texture in TEXTURES:
        for split, count in (("train", train), ("val", val)):
            folder = root / split / texture
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(jpeg(rng, "small", shape, texture))
    return root


def trained(images: Path, output: Path, recipe: Recipe) -> tuple[float, nn.Module]:
    """The top-1 of a run, and its network."""
    with built(images, output, recipe, log_every=100) as run:
        assert fit(run)
        return run.state.scores["raw"]["top1"], run.state.model


def short(weights: Path | None, epochs: int) -> Recipe:
    """The recipe for so few images and steps, at a rate that does not follow the batch."""
    recipe, share = recipes.load("finetune"), epochs / recipes.load("finetune").epochs
    return replace(
        recipe,
        model=SMALL,
        init=replace(recipe.init, weights=str(weights)) if weights else InitConfig(),
        input=replace(recipe.input, **SIZES),
        optimizer=replace(recipe.optimizer, lr=3e-3, base_batch=None),
        schedule=replace(recipe.schedule, warmup_epochs=recipe.schedule.warmup_epochs * share),
        epochs=epochs,
        global_batch=8,
        micro_batch=8,
        precision="fp32",
        seed=1,  # other than that of the first run, whose classifier it would begin with
    )


def test_one_epoch_from_weights_of_other_classes_beats_two_from_nothing(tmp_path: Path) -> None:
    squares, hearts = draw(tmp_path / "squares", "square", 100, 1), draw(tmp_path / "hearts", "heart", 40, 20)
    first = Recipe(
        model=SMALL,
        input=InputConfig(**SIZES),
        optimizer=AdamWConfig(lr=8e-3),
        schedule=CosineScheduleConfig(warmup_epochs=1),
        epochs=6,
        global_batch=16,
        micro_batch=16,
        precision="fp32",
    )
    _, network = trained(squares, tmp_path / "first", first)
    weights = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    tuned, _ = trained(hearts, tmp_path / "tuned", initial.resolved(short(weights, 1))[0])
    scratch, _ = trained(hearts, tmp_path / "scratch", short(None, 2))
    assert tuned > scratch + 10
