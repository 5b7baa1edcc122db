from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import pytest
import torch

from tests.trainer.doctor.cases import CPU, GPU
from tests.trainer.doctor.test_measurements import tiny
from tests.trainer.doctor.test_rig import rig
from trainer import devices
from trainer.doctor import measurements
from trainer.doctor.bound import Figures
from trainer.doctor.trial import candidates, larger_passes, tried, with_changes
from trainer.recipe.config import Recipe


@pytest.mark.parametrize(
    ("whole", "micro", "world_size", "sizes"),
    [
        (64, 2, 1, [4, 8, 16, 32]),  # 16 times 2
        (64, 2, 4, [4, 8, 16]),
        (60, 10, 2, [15, 30]),
        (64, 64, 1, []),
        (8192, 512, 2, [1024]),  # beyond a thousand there is nothing to gain
    ],
)
def test_larger_passes_divide_the_global_batch_as_well(
    whole: int, micro: int, world_size: int, sizes: list[int]
) -> None:
    assert larger_passes(Recipe(global_batch=whole, micro_batch=micro), world_size) == sizes


def test_synchronised_statistics_leave_no_choice() -> None:
    assert larger_passes(Recipe(global_batch=64, micro_batch=32, sync_bn=True), 2) == []


@pytest.mark.parametrize(
    ("figures", "flags"),
    [
        (CPU, ["--micro-batch 32", "--precision bf16"]),  # all cores in use
        (replace(CPU, place=replace(CPU.place, threads=1)), ["--micro-batch 32", "--threads 2", "--precision bf16"]),
        (GPU, ["--micro-batch 32", "--precision bf16"]),  # more threads are predicted where there is a GPU
    ],
)
@pytest.mark.parametrize("missing", [[], ["compile: no compiler"]])
def test_other_settings_are_measured_where_they_can_help(
    figures: Figures, flags: list[str], missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "toolchain_problems", lambda **_: missing)
    flags = flags if missing else [*flags, "--compile default"]
    quick = replace(figures, load=replace(figures.load, seconds=0.0))  # another loader cannot help
    assert [change.flags for change in candidates(rig(), quick)] == flags


def test_a_recipe_in_bf16_whose_step_is_one_pass_leaves_nothing_to_measure() -> None:
    recipe = Recipe(global_batch=64, micro_batch=64, compile="default")
    one = replace(rig(), recipe=recipe, site=replace(rig().site, output=Path("x")))
    assert list(candidates(one, replace(CPU, load=replace(CPU.load, seconds=0.0)))) == []


def test_other_settings_and_the_trial_are_measured_beside_the_run_as_it_is(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "toolchain_problems", lambda **_: ["no compiler"])
    small = tiny(images, tmp_path)
    figures = replace(CPU, recipe=small.recipe, load=replace(CPU.load, seconds=0.0))
    with ExitStack() as stack:
        fit, _ = measurements.warm(small, stack)
        late = with_changes(small, fit, figures, end=0)
        found = with_changes(small, fit, figures, end=float("inf"))
        trial = tried(small, fit, found.changes[0], found)
    assert late.changes == ()
    assert [reason.partition(":")[0] for reason in late.untried] == ["--micro-batch 16", "--precision bf16"]
    assert [change.kind for change in found.changes] == ["micro_batch", "precision"]
    assert all(change.seconds and change.seconds > 0 for change in found.changes)
    assert trial
    assert trial.gain == trial.measured / trial.before > 0
    assert trial.predicted_gain == figures.together.seconds / (found.changes[0].seconds or 1)


def broken(*_: object) -> NoReturn:
    raise RuntimeError("no such operator\nand more")


@pytest.mark.parametrize("backend", ["eager", broken])
def test_compiling_is_measured_with_its_own_time_where_there_is_enough(
    backend: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a backend that leaves the code as it is, in the place of minutes of compiling."""
    small, compiled = tiny(images, tmp_path), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiled(model, backend=backend, dynamic=False))
    monkeypatch.setattr(devices, "toolchain_problems", lambda **_: [])
    whole = small.recipe.global_batch
    small = replace(small, recipe=replace(small.recipe, precision="bf16", micro_batch=whole, epochs=1))
    figures = replace(CPU, recipe=small.recipe, load=replace(CPU.load, seconds=0.0))
    assert [change.kind for change in candidates(small, figures)] == ["compile"]
    with ExitStack() as stack:
        fit, _ = measurements.warm(small, stack)
        late = with_changes(small, fit, figures, end=perf_counter() + 30)
        short = with_changes(small, fit, replace(figures, images={"train": 1}), end=float("inf"))
        found = with_changes(small, fit, replace(figures, images={"train": 10**9}), end=float("inf"))
    assert late.untried == ("--compile default: there was no time left; --seconds gives more",)
    if backend is broken:
        assert found.changes == ()
        assert found.untried[0].startswith("--compile default: cannot be compiled: ")
    else:
        assert found.untried == ()
        assert (short.changes[0].seconds or 0) > 5 * (found.changes[0].seconds or 0) > 0
