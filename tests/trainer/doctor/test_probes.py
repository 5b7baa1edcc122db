from pathlib import Path

import pytest
import torch

from models.config import ModelConfig
from trainer.config import Recipe, SiteConfig
from trainer.doctor.figures import Change
from trainer.doctor.images import Sample
from trainer.doctor.parts import Way
from trainer.doctor.probes import larger_passes, with_change
from trainer.runtime import Runtime
from trainer.world import World


@pytest.mark.parametrize(
    ("whole", "micro", "world_size", "sizes"),
    [
        (64, 2, 1, (4, 8, 16, 32, 64)),
        (64, 2, 4, (4, 8, 16)),
        (60, 10, 2, (15, 30)),
        (64, 64, 1, ()),
        (8192, 512, 2, (1024,)),  # beyond a thousand there is nothing to gain
    ],
)
def test_larger_passes_deal_the_global_batch_out_as_well(
    whole: int, micro: int, world_size: int, sizes: tuple[int, ...]
) -> None:
    assert larger_passes(Recipe(global_batch=whole, micro_batch=micro), world_size) == sizes


def test_synchronised_statistics_leave_no_choice() -> None:
    assert larger_passes(Recipe(global_batch=64, micro_batch=32, sync_bn=True), 2) == ()


def way() -> Way:
    return Way(
        recipe=Recipe(model=ModelConfig(name="resnet20"), precision="fp32", global_batch=64, micro_batch=2),
        site=SiteConfig(data=Path(), output=Path()),
        runtime=Runtime(World(), "fp32", 1),
        sample=Sample.__new__(Sample),
        passes=16,
    )


@pytest.mark.parametrize(("micro", "passes"), [(4, 8), (32, 1), (64, 1)])
def test_a_larger_pass_makes_fewer_of_them(micro: int, passes: int) -> None:
    found = with_change(way(), Change(kind="micro_batch", flags="", recipe={"micro_batch": micro}))
    assert (found.passes, found.measured.global_batch) == (passes, passes * micro)


def test_threads_and_precision_are_changed_in_a_runtime_of_their_own() -> None:
    before = way()
    found = with_change(before, Change(kind="threads", flags="", site={"threads": 2}, recipe={"precision": "bf16"}))
    assert (found.runtime.threads, before.runtime.threads) == (2, 1)
    with found.runtime.autocast():
        assert torch.is_autocast_enabled("cpu")
    with before.runtime.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_a_measured_recipe_learns_next_to_nothing_at_its_full_size() -> None:
    found = way().measured
    assert found.optimizer.lr < 1e-9
    assert found.input.start_size is None
    assert found.global_batch == 32
