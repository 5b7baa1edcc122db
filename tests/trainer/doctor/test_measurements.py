from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.doctor import measurements
from trainer.doctor.bound import Pace
from trainer.doctor.measurements import Stretch, in_turns
from trainer.doctor.rig import Rig, sample
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World


def test_the_quickest_round_of_each_run_counts_and_runs_take_turns() -> None:
    order: list[str] = []
    first = iter([Stretch(4, 6, 10), Stretch(1, 2, 5)])
    second = iter([Stretch(1, 1, 10), Stretch(3, 1, 10)])

    def run(name: str, stretches: Iterator[Stretch]) -> Stretch:
        order.append(name)
        return next(stretches)

    paces = in_turns(Runtime(World(), "fp32", 1), 2, lambda: run("a", first), lambda: run("b", second))
    assert paces == [Pace(0.2, 0.4), Pace(0.1, 0.1)]
    assert order == ["a", "b", "a", "b"]


def tiny(images: Path, output: Path) -> Rig:
    """A network of three stages on images of 16 pixels."""
    recipe = Recipe(
        model=ModelConfig(name="resnet20", num_classes=4),
        input=InputConfig(train_size=16, eval_resize=16, eval_crop=16),
        precision="fp32",
        micro_batch=4,
        global_batch=16,
    )
    site, runtime = SiteConfig(data=images, output=output), Runtime(World(), "fp32", 1)
    found = sample(recipe, site, runtime, draw=False)
    return Rig(recipe=recipe, site=site, runtime=runtime, sample=found, seconds=0.0, passes=2)


@pytest.fixture
def rig(images: Path, tmp_path: Path) -> Rig:
    return tiny(images, tmp_path)


def test_each_part_of_a_run_is_measured(rig: Rig) -> None:
    with ExitStack() as stack:
        fit, still = measurements.warm(rig, stack)
        steps = fit.state.step
        assert measurements.train(still, 3).images == 24  # of two passes of four images
        assert fit.state.step == steps + 3
        assert measurements.load(rig, fit).images == 8
        found = measurements.measure(rig, fit, still, stack)
    assert found.place.world_size == 1
    assert found.images == {"train": 96, "val": 80}
    assert all(pace.seconds > 0 for pace in (found.load, found.step, found.together, found.evaluation))
    assert found.saving
    assert found.saving.bytes > 2 * 4 * 269_000  # ResNet-20 and its momenta
    assert found.saving.cost_s >= found.saving.hold_s > 0
    assert found.saving.write_s > 0
    assert (found.reduction, found.untried) == (None, ())


def test_a_checkpoint_that_cannot_be_written_is_told(rig: Rig) -> None:
    (rig.site.output / "checkpoints").write_text("in the way")
    with ExitStack() as stack:
        fit, still = measurements.warm(rig, stack)
        found = measurements.checkpoint(rig, fit, still, stack)
    assert isinstance(found, str)
    assert found.startswith("the checkpoint of step")
