"""What a run survives beside signals: a full disk, a lost folder, a second start, a loss that is no number."""

import json
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch.cli import main
from tests import commands
from tests.system.running import (
    await_step,
    curves,
    finish,
    last_step,
    points,
    processes,
    records,
    same_bits,
    start,
    state,
    stop_at,
    train,
)
from trainer.exits import ABORTED, BAD_INPUT, FAILED
from trainer.stopping import START_AGAIN

pytestmark = pytest.mark.slow


def ends_as(run: Path, whole: Path) -> None:
    assert same_bits(state(run), state(whole))
    assert points(run) == points(whole)
    assert curves(run) == curves(whole)


def full_disk() -> None:
    """No file may grow past 600 kB: too little for a checkpoint's, enough for all else."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on(images: Path, whole: Path, tmp_path: Path) -> None:
    process = start(images, tmp_path)
    stop_at(process, tmp_path, 20, signal.SIGTERM)
    finish(process, code=START_AGAIN)
    standing = state(tmp_path)["step"]

    output = finish(start(images, tmp_path, "--save-steps", "3", before=full_disk), code=FAILED)
    assert "was not written: " in output
    assert "File too large" in output
    assert "going on; the next checkpoint is tried again" in output
    assert "the same command goes on from the newest valid checkpoint" in output
    assert "Traceback" not in output
    assert last_step(tmp_path) == 72
    assert state(tmp_path)["step"] == standing

    assert f"going on after step {standing}" in train(images, tmp_path)
    ends_as(tmp_path, whole)


def test_a_run_directory_that_is_removed_ends_the_run_and_stays_so(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(images, run, "--epochs", "1000", "--save-steps", "1")
    await_step(process, run, 3)
    while run.exists():
        shutil.rmtree(run, ignore_errors=True)
    output = finish(process, code=FAILED)
    assert (
        output.splitlines()[-1] == f"failed: {run} was removed while the run trained: what it held is gone from there"
    )
    assert "nothing was written" not in output
    assert not run.exists()


def test_a_site_may_want_the_run_to_stop_where_it_cannot_be_saved(images: Path, whole: Path, tmp_path: Path) -> None:
    flags = ("--save-steps", "3", "--save-failure", "stop")
    for launcher in ("python", "torchrun x2"):
        run = tmp_path / launcher.replace(" ", "-")
        output = finish(start(images, run, *flags, launcher=launcher, before=full_disk), code=None)
        assert output.count("was not written: ") == 2  # at once, and as the reason at the end
        assert last_step(run) < 30
    train(images, tmp_path / "python")
    ends_as(tmp_path / "python", whole)


def test_a_second_start_is_told_who_trains_there(images: Path, tmp_path: Path) -> None:
    first = start(images, tmp_path, "--epochs", "1000")
    await_step(first, tmp_path, 3)
    before = (tmp_path / "recipe.yaml").read_text()
    output = finish(start(images, tmp_path, "--epochs", "1000"), code=BAD_INPUT)
    assert f"{first.pid}" in output
    assert len(re.findall("cannot start; nothing was written", output)) == 1
    assert (tmp_path / "recipe.yaml").read_text() == before
    stop_at(first, tmp_path, 3, signal.SIGTERM)
    finish(first, code=START_AGAIN)
    assert not (tmp_path / "holder.json").exists()


def test_images_that_are_gone_end_the_run_and_bring_it_back(images: Path, whole: Path, tmp_path: Path) -> None:
    """An exception in the loader: what went before is saved, and nothing after it."""
    copy, run = tmp_path / "images", tmp_path / "run"
    copy.mkdir()
    for split in ("train", "val"):
        (copy / split).symlink_to(images / split)
    process = start(copy, run, "--save-steps", "3")
    await_step(process, run, 20)
    (copy / "train").unlink()
    output = finish(process, code=ABORTED)
    assert "Traceback" not in output
    stood = state(run)["step"]
    assert stood < 72
    (copy / "train").symlink_to(images / "train")
    assert f"going on after step {stood}" in train(copy, run)
    ends_as(run, whole)


def test_a_loss_that_is_no_number_ends_two_processes_at_their_last_good_checkpoint(
    images: Path, tmp_path: Path
) -> None:
    flags = ("--optimizer.lr", "1000", "--save-steps", "1", "--log-every", "10")
    output = finish(start(images, tmp_path, *flags, launcher="torchrun x2"), code=None)
    # which check is the first depends on the step after which the last checkpoint was written
    why = r"(?:not (?:a finite number|finite numbers)|the evaluation loss is \S+)"
    found = re.search(rf"{why}; training has diverged, first at step (\d+)", output)
    assert found
    assert len(re.findall("has diverged", output)) == 1
    stored = state(tmp_path)
    assert stored["step"] < int(found[1])
    assert all(weight.isfinite().all() for weight in stored["model"].values())
    assert f"step-{stored['step']:010d}" in output
    assert records(tmp_path)[-1] | {"kind": "diverged", "first": int(found[1])} == records(tmp_path)[-1]
    assert (tmp_path / "report.md").read_text().splitlines()[2].startswith(f"**Diverged.** At step {found[1]}, ")
    report = EventAccumulator(str(tmp_path)).Reload().Tensors("Report/text_summary")[0].tensor_proto.string_val[0]
    assert f"**Training diverged** at step {found[1]}, ".encode() in report


def test_a_process_whose_directory_was_taken_over_stops_without_writing(images: Path, tmp_path: Path) -> None:
    """As one that comes back on a node that was cut off, while the job runs on elsewhere."""
    process = start(images, tmp_path, "--epochs", "1000", "--save-steps", "1")
    await_step(process, tmp_path, 3)
    holder = tmp_path / "holder.json"
    taken = {**json.loads(holder.read_text()), "token": "another", "host": "elsewhere"}
    holder.write_text(json.dumps(taken))
    standing = state(tmp_path)["step"]
    output = finish(process, code=FAILED)
    assert "was taken over by" in output
    assert "elsewhere" in output
    assert "Traceback" not in output
    assert json.loads(holder.read_text()) == taken
    assert state(tmp_path)["step"] <= standing + 1  # one was already whole but for its name


@pytest.mark.parametrize(("launcher", "loader", "rank"), [("python", "threads", 0), ("torchrun x2", "dali", 1)])
def test_after_a_death_by_a_signal_status_and_the_next_start_say_what_was_decoded(
    images: Path, tmp_path: Path, launcher: str, loader: str, rank: int
) -> None:
    run, flags = tmp_path / "run", ("--loader", loader, "--epochs", "1000")
    process = start(images, run, *flags, launcher=launcher)
    await_step(process, run, 3)
    assert "of the last start" not in commands.call(main, "status", str(run)).stdout
    os.kill(processes(run, rank if rank else None)[0], signal.SIGSEGV)
    finish(process, code=None)

    said = rf"rank {rank} of the last start died of a signal \(Segmentation fault\); images .* \(\d+\): '(.*?)', "
    shown = commands.call(main, "status", str(run)).stdout
    assert "not running" in shown
    found = re.search(said, shown)
    assert found
    assert (images / found[1]).exists()

    again = start(images, run, *flags, launcher=launcher)
    stop_at(again, run, last_step(run) + 1, signal.SIGTERM)
    assert re.search(said, finish(again, code=None if rank else START_AGAIN))
    kept = (run / "deaths.txt").read_text()
    assert f"  '{found[1]}'\n" in kept
    assert "Fatal Python error: Segmentation fault" in kept
    assert not (run / "at_work").exists()
    assert "of the last start" not in commands.call(main, "status", str(run)).stdout
