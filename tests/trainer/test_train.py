import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.engines import RECIPE, ask_to_stop, built
from trainer import variables
from trainer.checkpoint import store
from trainer.ending import complete_end, conclude_run
from trainer.engine.loop import fit, train_epoch
from trainer.exits import FAILED, RunEndedError
from trainer.optim.config import EmaConfig
from trainer.recipe.config import SiteConfig
from trainer.rundir import RunDirectory
from trainer.stopping import StopFlag
from trainer.train import train
from trainer.world import World

ONE = replace(RECIPE, epochs=1)


@pytest.mark.parametrize("decay", [0.9, None])
def test_a_finished_run_leaves_its_result_and_the_weights_that_it_is_of(
    decay: float | None, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = replace(ONE, ema=EmaConfig(decay=decay)), RunDirectory(tmp_path)
    run.make()
    site = SiteConfig(data=images, output=tmp_path, threads=1, log_every=1)
    assert train(recipe, site, World(), StopFlag()) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "resnet20: 96 images in 4 classes to train on, 80 to evaluate; epochs: 1, of 4 steps of 24 images\nCPU ("
    )
    assert "1 process, CPU threads in each: 1, fp32; loader: threads, the fastest on CPUs\nstarting\n" in output
    stored, result = store.load_newest(run.checkpoints), json.loads(run.result.read_text())
    assert stored is not None
    kind = "ema" if decay else "raw"
    scores = stored["scores"][kind]
    assert {name: result[name] for name in scores} == scores
    assert ("raw_weights" in result) == bool(decay)
    *others, last = [record for record in run.records() if record["kind"] in ("eval", "eval_ema")]
    assert not any("confusion" in record for record in others)
    right, every = (sum(row[2] for row in last["confusion"] if row[0] == row[1] or all_of) for all_of in (False, True))
    assert (100 * right / every, every) == (pytest.approx(scores["top1"]), 80)
    assert len(run.confusion_table.read_text().splitlines()) == 5
    board = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert board.Images("images/confusion")[0].encoded_image_string == run.confusion.read_bytes()
    assert (result["best_top1"], result["images_seen"], result["val_images"]) == (scores["top1"], 96, 80)
    weights = safetensors.torch.load_file(run.weights)
    expected = stored["ema" if decay else "model"]
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    assert output.endswith(run.guide())
    assert run.report.exists()
    assert not run.holder.exists()
    assert any(b"Report/text_summary" in events.read_bytes() for events in run.path.glob("events.*"))
    before = run.weights.read_bytes()
    for lost, restored in (((), True), (tuple(run.checkpoints.iterdir()), False)):
        run.weights.unlink()
        for checkpoint in lost:
            shutil.rmtree(checkpoint)
        assert run.is_cut_short()
        assert complete_end(run, StopFlag()) == 0
        assert (run.weights.exists(), "was gone: copied" in capsys.readouterr().out) == (restored, restored)
        assert not restored or run.weights.read_bytes() == before


def test_a_start_says_who_died_before_it_where_it_goes_on_and_what_is_left_out_or_other(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    for name in variables.of_numbers():  # of this machine, or of a test of deterministic algorithms
        monkeypatch.delenv(name)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    tree = shutil.copytree(images, tmp_path / "tree")
    sorted((tree / "val").rglob("*.*"))[0].write_bytes(b"no image")
    with built(tree, tmp_path / "run", ONE, max_broken=0.1) as parts:
        train_epoch(parts)
        parts.keeper.save(parts.keeper.rows())
        parts.keeper.finish()
    run = RunDirectory(tmp_path / "run")
    run.at_work.mkdir()
    (run.at_work / "rank0-trace.txt").write_text("Fatal Python error: Segmentation fault\n")
    capsys.readouterr()
    site = SiteConfig(data=tree, output=run.path, threads=2, log_every=1, max_broken=0.1)
    assert train(ONE, site, World(), StopFlag()) == 0
    output = capsys.readouterr().out
    assert output.startswith("rank 0 of the last start died of a signal (Segmentation fault); it was decoding no image")
    assert not run.at_work.exists()
    assert "1 broken images are left out, the first: " in output
    assert "going on after step 4\n" in output
    assert "this run began with 1 CPU threads a process and goes on with 2" in output
    assert "ignored, as the recipe and the flags of this command decide: ACCELERATE_TORCH_DEVICE\n" in output
    assert "variables by which the libraries may compute other numbers: NVIDIA_TF32_OVERRIDE=1\n" in output
    start = [record for record in run.records() if record["kind"] == "start"][-1]
    assert start["variables"] == {"NVIDIA_TF32_OVERRIDE": "1"}
    assert "; NVIDIA_TF32_OVERRIDE=1 |" in run.report.read_text()


def test_what_others_did_to_the_directory_is_no_bad_input_at_the_end(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path, ONE) as parts:
        assert fit(parts)
        run, lists = parts.context.run, (parts.plan.manifest, parts.eval_plan.manifest)
        run.recipe.unlink(missing_ok=True)
        other = run.checkpoints / "step-0000000099"
        other.mkdir()  # of no run
        evaluation = run.evaluations / "one" / "evaluation.json"
        evaluation.parent.mkdir(parents=True)
        evaluation.write_text("{}")
        with pytest.raises(RunEndedError, match=r"evaluation.json: damaged .* completes the report") as raised:
            conclude_run(parts.context, lists, parts.state)
        assert raised.value.code == FAILED
        evaluation.unlink()
        conclude_run(parts.context, lists, parts.state)
    assert run.recipe.exists()
    assert run.report.exists()


def test_a_run_that_was_stopped_leaves_a_report_and_no_result(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with built(images, tmp_path, ONE) as parts:
        ask_to_stop(parts.context.stop)
        assert not fit(parts)
        conclude_run(parts.context, (parts.plan.manifest, parts.eval_plan.manifest), None)
        run = parts.context.run
    assert capsys.readouterr().out.endswith(run.guide())
    assert "**Not finished.**" in run.report.read_text()
    assert not run.result.exists()
    assert not run.weights.exists()
