import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.checkpoint import store
from trainer.evaluation.protocol import parse
from trainer.evaluation.request import own_protocol, usual_input
from trainer.optim.config import EmaConfig
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory
from trainer.sources import locate

RECIPE = Recipe(model=ModelConfig(name="resnet20", num_classes=4), input=InputConfig(eval_crop=32, eval_resize=40))


def run(folder: Path, *, ema: bool = False, finished: bool = True, steps: tuple[int, ...] = (5, 9)) -> RunDirectory:
    """A run directory with weights of a kind."""
    made = RunDirectory(folder)
    made.make()
    made.begin(replace(RECIPE, ema=EmaConfig(decay=0.9 if ema else None)))
    for step in steps:
        kinds = ("model", "ema") if ema else ("model",)
        weights = {kind: {"fc.bias": torch.zeros(4)} for kind in kinds}
        store.write(made.checkpoints, step, {**weights, "about": {}})
    if finished:
        made.weights.write_bytes(b"weights")
    return made


def test_a_finished_run_is_the_weights_of_its_result(tmp_path: Path) -> None:
    for ema, which in ((False, "raw"), (True, "ema")):
        made = run(tmp_path / which, ema=ema)
        found = locate(str(made.path), None)
        assert (found.kind, found.file, found.which, found.run) == ("weights", made.weights, which, made)
        assert found.recipe is not None
        assert found.recipe.model == RECIPE.model


def test_of_a_run_under_way_or_of_its_raw_weights_the_newest_checkpoint_is_taken(tmp_path: Path) -> None:
    newest = run(tmp_path / "going", ema=True, finished=False).checkpoints / "step-0000000009"
    assert locate(str(tmp_path / "going"), None).file == newest / "ema.safetensors"
    assert locate(str(tmp_path / "going"), None, "raw").file == newest / "model.safetensors"
    made = run(tmp_path / "done", ema=True)
    found = locate(str(made.path), None, "raw")
    assert (found.file, found.which) == (made.checkpoints / newest.name / "model.safetensors", "raw")


def test_a_run_has_no_other_weights_than_raw_and_its_average(tmp_path: Path) -> None:
    averaged, plain = run(tmp_path / "averaged", ema=True), run(tmp_path / "plain")
    assert locate(str(averaged.path), None, "ema").file == averaged.weights
    assert locate(str(plain.path), None, "raw").file == plain.weights
    with pytest.raises(InvalidConfigError, match="averaged has no entry 'model'; it has raw and ema"):
        locate(str(averaged.path), None, "model")
    with pytest.raises(InvalidConfigError, match="plain has no entry 'ema'; it has raw alone, as its recipe has no"):
        locate(str(plain.path), None, "ema")


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    made = run(tmp_path / "run", finished=False)
    (made.checkpoints / "step-0000000009" / "model.safetensors").write_bytes(b"half")
    assert locate(str(made.path), None).file == made.checkpoints / "step-0000000005" / "model.safetensors"


@pytest.mark.parametrize(
    ("file", "which"),
    [
        ("model.safetensors", "ema"),
        ("checkpoints/step-0000000005/model.safetensors", "raw"),
        ("checkpoints/step-0000000005/ema.safetensors", "ema"),
    ],
)
def test_a_file_in_a_run_directory_has_the_run_s_recipe(file: str, which: str, tmp_path: Path) -> None:
    made = run(tmp_path / "run", ema=True)
    found = locate(str(made.path / file), None)
    assert (found.file, found.which, found.run) == (made.path / file, which, made)
    assert found.recipe is not None


def test_a_file_from_elsewhere_goes_by_itself_or_by_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    file.write_bytes(b"weights")
    assert locate(str(file), None).recipe is None
    found = locate(str(file), "resnet50")
    assert found.recipe is not None
    assert (found.recipe.model.name, found.which, found.run) == ("resnet50", "raw", None)
    named = locate(str(run(tmp_path / "run", ema=True).weights), "resnet50")
    assert named.recipe is not None
    assert (named.recipe.model.name, named.run) == ("resnet50", None)


@pytest.mark.parametrize("text", ["timm/resnet18.a1_in1k", "timm/resnet18", "torchvision/resnet18.IMAGENET1K_V1"])
def test_a_package_s_weights_are_known_by_their_name(text: str) -> None:
    found = locate(text, None)
    assert (found.kind, found.text, found.file, found.recipe) == ("package", text, None, None)


def test_predictions_are_a_file_or_the_folder_of_an_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    file.write_bytes(b"")
    for text in (file, tmp_path):
        found = locate(str(text), None)
        assert (found.kind, found.file) == ("predictions", file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("runs/nothing", "WEIGHTS: 'runs/nothing' names no weights; name a run directory, a file of"),
        ("nothing", "torchvision/NAME"),
        ("resnet18", "; did you mean timm/resnet18?"),
        ("resnet18.a1_in1k", "; did you mean timm/resnet18.a1_in1k?"),
        ("timm/resnet5O", "WEIGHTS: 'timm/resnet5O' is unknown; did you mean timm/resnet50"),
        ("torchvision/resnet19.IMAGENET1K_V1", "WEIGHTS: 'torchvision/resnet19' is unknown; did you mean"),
    ],
)
def test_what_is_nothing_is_refused_with_a_mend(text: str, reason: str) -> None:
    with pytest.raises(InvalidConfigError, match=re.escape(reason)):
        locate(text, None)


def test_nothing_is_made_up_for_a_name_that_no_package_has() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        locate("my_run", None)
    assert "did you mean" not in str(refused.value)


def test_a_folder_that_is_no_run_and_a_run_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"is a folder without recipe\.yaml; name a run directory"):
        locate(str(tmp_path), None)
    begun = run(tmp_path / "begun", finished=False, steps=())
    with pytest.raises(InvalidConfigError, match=r"holds no weights yet: no valid checkpoint in .*checkpoints"):
        locate(str(begun.path), None)


def test_weights_say_how_they_are_usually_evaluated() -> None:
    assert own_protocol(RECIPE) == parse("center-32/40")
    sizes = {name: usual_input(name) for name in ("resnet50", "inception_v3", "resnet20", "timm/resnet18")}
    assert {name: (found.eval_crop, found.eval_resize) for name, found in sizes.items()} == {
        "resnet50": (224, 256),
        "inception_v3": (299, 341),
        "resnet20": (32, 32),
        "timm/resnet18": (224, 256),
    }
