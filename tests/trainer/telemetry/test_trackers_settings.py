from dataclasses import replace

from tests.trainer.telemetry.watched import RECIPE
from trainer.recipe.config import InitConfig, Recipe
from trainer.telemetry.tensorboard import FIRST
from trainer.telemetry.trackers import settings


def test_every_setting_has_its_dotted_name() -> None:
    found = settings(replace(RECIPE, seed=3))
    assert set(FIRST) < set(found)
    assert (found["model.name"], found["seed"], found["optimizer.lr"]) == ("resnet20", 3, RECIPE.optimizer.lr)
    assert found["input.mean"] == " ".join(map(str, RECIPE.input.mean))
    assert {type(value) for value in found.values()} <= {bool, int, float, str}


def test_no_two_recipes_have_the_same_settings() -> None:
    assert settings(Recipe(clip_norm=1.0)) != settings(Recipe())


def test_a_path_that_is_no_text_is_escaped_as_protocol_buffers_hold_text_alone() -> None:
    found = settings(Recipe(init=InitConfig(weights="caf\udce9.pth")))
    assert found["init.weights"] == r"caf\xe9.pth"
