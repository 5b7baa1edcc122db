import os
import re
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest

from data.catalog import dataset
from data.load.backends import open_loader
from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.types import Shard
from models.factory import build
from tests.system.running import (
    await_step,
    finish,
    points,
    processes,
    records,
    same_bits,
    start,
    state,
    stop_at,
    train,
)
from trainer.engine.step import Normalize
from trainer.engine.validation import evaluate
from trainer.recipe.recipes import load
from trainer.runtime import Runtime
from trainer.stopping import START_AGAIN
from trainer.world import World

pytestmark = pytest.mark.slow


def test_a_run_directory_holds_everything(whole: Path) -> None:
    found = {path.name for path in whole.iterdir()}
    expected = {"recipe.yaml", "metrics.jsonl", "checkpoints", "report.md", "curves.png", "result.json"}
    assert expected | {"manifest-train.npz", "manifest-val.npz", "model.safetensors"} <= found
    assert "holder.json" not in found
    assert any(name.startswith("events.out.tfevents") for name in found)
    best = max((r for r in records(whole) if r["kind"] == "eval"), key=lambda r: r["top1"])["step"]
    assert {int(path.name[5:]) for path in (whole / "checkpoints").iterdir()} == {60, 66, 72, best}
    evaluations = [record for record in records(whole) if record["kind"] == "eval"]
    assert [record["epoch"] for record in evaluations] == list(range(1, 13))
    assert {record["images"] for record in evaluations} == {80}


def test_a_run_loads_nothing_that_is_slow_to_load_and_not_used(whole: Path) -> None:
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", whole.with_suffix(".out").read_text(), re.MULTILINE))
    assert "torch" in imported
    # a second or more each: PyTorch's compiler and what it loads, and the networks of others
    assert imported.isdisjoint({"torch._dynamo", "sympy", "torchvision", "timm"})


def test_two_processes_learn_what_one_learns(whole: Path, whole_pair: Path) -> None:
    """The same micro-batches in the same steps; only sums are rounded in another order, which grows with the steps."""
    ours, theirs = ([p for p in points(run) if p["kind"] == "train"][:6] for run in (whole, whole_pair))
    assert [p["loss"] for p in ours] == pytest.approx([p["loss"] for p in theirs], rel=1e-4)
    evaluations = [[p["images"] for p in points(run) if p["kind"] == "eval"] for run in (whole, whole_pair)]
    assert evaluations == [[80] * 12] * 2


def test_the_accuracy_of_two_processes_is_that_of_the_weights_they_saved(images: Path, whole_pair: Path) -> None:
    """Each process's BatchNorm has its own statistics until they are shared; the file holds one of them."""
    recipe = load(str(whole_pair / "recipe.yaml"))
    val = dataset.find(images).manifest(whole_pair, "val")
    plan = EvalPlan(manifest=val, views=EvalViews.of(recipe.input), batch=len(val), shard=Shard(0, 1))
    network = build(recipe.model)
    network.load_state_dict(state(whole_pair)["model"])
    runtime = Runtime(World(), recipe.precision, threads=1)
    with closing(open_loader(plan, "threads", device=runtime.device, threads=1, max_broken=0)) as loader:
        normalize = Normalize(recipe.input, runtime.device, channels_last=True)
        (scores,) = evaluate(runtime, [network], loader, normalize, 0, lambda *_: False) or []
    last = [p for p in points(whole_pair) if p["kind"] == "eval"][-1]
    assert (scores.images, scores.top1, scores.top5) == (80, last["top1"], last["top5"])
    assert scores.loss == pytest.approx(last["loss"], rel=1e-6)


def test_a_run_stopped_in_the_middle_of_an_epoch_ends_as_if_it_had_not_been(
    images: Path, whole: Path, tmp_path: Path
) -> None:
    stopped = 0
    for number in (signal.SIGINT, signal.SIGUSR2):
        process = start(images, tmp_path)
        stop_at(process, tmp_path, stopped + 16, number)
        output = finish(process, code=START_AGAIN)
        assert not stopped or f"going on after step {stopped}" in output
        assert stopped + 16 <= state(tmp_path)["step"] < 72
        stopped = state(tmp_path)["step"]
        assert "**Not finished.**" in (tmp_path / "report.md").read_text()

    output = train(images, tmp_path)
    assert f"going on after step {stopped}" in output
    assert same_bits(state(tmp_path), state(whole))
    assert points(tmp_path) == points(whole)


def test_two_processes_of_which_one_is_asked_stop_and_go_on_together(
    images: Path, whole_pair: Path, tmp_path: Path
) -> None:
    process = start(images, tmp_path, launcher="torchrun x2")
    await_step(process, tmp_path, 20)
    (second,) = processes(tmp_path, rank=1)
    os.kill(second, signal.SIGTERM)
    finish(process, code=None)
    assert 20 <= state(tmp_path)["step"] < 72
    train(images, tmp_path, launcher="torchrun x2")
    assert same_bits(state(tmp_path), state(whole_pair))
    assert points(tmp_path) == points(whole_pair)


def test_a_killed_run_goes_on_from_its_last_epoch_or_from_the_one_before_where_that_is_damaged(
    images: Path, whole: Path, tmp_path: Path
) -> None:
    killed, damaged = tmp_path / "killed", tmp_path / "damaged"
    process = start(images, killed)
    stop_at(process, killed, 27, signal.SIGKILL)
    finish(process, code=-signal.SIGKILL)
    shutil.copytree(killed, damaged)
    os.truncate(damaged / "checkpoints" / "step-0000000024" / "state.pt", 1000)
    assert "going on after step 24" in train(images, killed)
    output = train(images, damaged)
    assert "step-0000000024 is skipped: state.pt differs from the manifest" in output
    assert "going on after step 18" in output
    for run in (killed, damaged):
        assert same_bits(state(run), state(whole))
        assert points(run) == points(whole)


def test_a_finished_run_says_so_and_is_left_as_it_is(images: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    output = train(images, whole)
    assert "nothing to do, this run is finished: top-1" in output
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_signal_before_the_first_step_leaves_nothing_half_done(images: Path, whole: Path, tmp_path: Path) -> None:
    process = start(images, tmp_path, fork=False)  # which imports torch meanwhile
    while not (tmp_path / "recipe.yaml").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    finish(process, code=START_AGAIN)
    train(images, tmp_path)
    assert same_bits(state(tmp_path), state(whole))


@pytest.mark.parametrize("flags", [("--precision", "bf16"), ("--no-channels-last", "--loss.label-smoothing", "0.1")])
def test_recipes_of_other_precision_layout_and_loss_train(images: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    train(images, tmp_path, *flags, "--epochs", "2")
    assert [record["epoch"] for record in records(tmp_path) if record["kind"] == "eval"] == [1, 2]
