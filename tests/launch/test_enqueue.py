import os
from pathlib import Path

import pytest
import torch

from launch import enqueue
from launch.cli import main
from models import factory
from models.config import ModelConfig
from tests import commands
from tests.launch import stand_ins

GONE = "slurm_load_jobs error: Invalid job id specified"
DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8")


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        # as Slurm 22.05 says it
        ("sbatch: error: invalid partition specified: feature", "--partition"),
        ("Batch job submission failed: Invalid partition name specified", "--partition"),
        ("Batch job submission failed: Invalid account or account/partition combination specified", "--account or"),
        ("User's group not permitted to use this partition", "--partition: `sinfo"),
        ("Batch job submission failed: Node count specification invalid", "--nodes: `sinfo`"),
        ("Batch job submission failed: Requested node configuration is not available", "--nodes, --gpus-per-node"),
        ("Memory specification can not be satisfied\nRequested node configuration is not available", "--nodes, --gpus"),
        ("Batch job submission failed: More processors requested than permitted", "--nodes or --cpus-per-process"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "--hours: `sinfo"),
        (
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "--nodes, --hours or --qos",
        ),
        ("Batch job submission failed: Invalid qos specification", "--qos: `sacctmgr"),
        ("sbatch: error: Invalid generic resource (gres) specification", "--gpus-per-node: `sinfo"),
        ("Batch job submission failed: Invalid feature specification", "--constraint: `sinfo"),
        ("Batch job submission failed: Requested reservation is invalid", "--reservation: `scontrol"),
        ("Batch job submission failed: Access denied to requested reservation", "--reservation: `scontrol"),
        ("Batch job submission failed: Invalid node name specified", "--exclude: `sinfo"),
        ("Batch job submission failed: Invalid job array specification", "the sweep: `scontrol"),
        # for what it waits, where it queues what can never start
        ("PartitionTimeLimit: it would never start", "--hours: `sinfo"),
        ("PartitionNodeLimit: it would never start", "--nodes: `sinfo"),
        ("BadConstraints: it would never start", "--constraint or --exclude"),
    ],
)
def test_each_refusal_of_slurm_names_the_flag_to_change(words: str, flags: str) -> None:
    assert enqueue._advice(words).startswith(f"  change {flags}")


def test_other_words_of_slurm_bring_no_advice() -> None:
    assert enqueue._advice("Unable to contact slurm controller (connect failure)") == ""


def refusing(folder: Path) -> str:
    words = "sbatch: error: Batch job submission failed: Invalid qos specification"
    return stand_ins.slurm(folder, sbatch=f"echo '{words}' >&2; exit 1")[0]


def test_a_refused_job_leaves_nothing_and_slurms_words_are_said_once(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", refusing(tmp_path / "bin"))
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r", "--qos", "high")
    assert done.returncode == 1
    assert done.stderr.count("Invalid qos specification") == 1
    assert "Slurm refused the job: sbatch: error: Batch job" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("reason", "hopeless"), [("BadConstraints", True), ("Resources", False), ("None", False)])
def test_a_job_that_can_never_start_is_taken_back(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, hopeless: bool
) -> None:
    path, calls = stand_ins.slurm(tmp_path / "bin", squeue=f"echo '12|PENDING|{reason}|N/A'", scancel="exit 0")
    monkeypatch.setenv("PATH", path)
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r", "--constraint", "a&b")
    assert done.returncode == (1 if hopeless else 0)
    assert stand_ins.called(calls, "scancel") == (["12"] if hopeless else [])
    assert (tmp_path / "r").exists() != hopeless
    assert ("change --constraint" in done.stderr) == hopeless


def test_a_refused_job_takes_nothing_from_a_run_that_was_there(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*DEMO, "--data", images, "--output", tmp_path / "r")
    monkeypatch.setenv("PATH", stand_ins.slurm(tmp_path / "taking", squeue=f"echo {GONE} >&2; exit 1")[0])
    assert commands.call(main, *flags).returncode == 0
    before = sorted(file for file in (tmp_path / "r").rglob("*.*") if not file.name.startswith(".sub"))
    monkeypatch.setenv("PATH", f"{refusing(tmp_path / 'bin')}:{os.environ['PATH']}")
    assert commands.call(main, *flags).returncode == 1
    assert set(before) <= set((tmp_path / "r").rglob("*.*"))


def test_what_is_printed_can_be_pasted(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", stand_ins.slurm(tmp_path / "bin")[0])
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "$(touch pwned)")
    assert f"  state        provenet status '{tmp_path}/$(touch pwned)'\n" in done.stdout
    assert done.stdout.count(f"'{tmp_path}/$(touch pwned)'") == 5


def test_a_machine_without_slurm_says_what_to_do(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r")
    assert done.returncode == 2
    assert "submit from a login node, or add --cluster local, or --dry-run" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_that_others_can_write_is_queued_with_a_warning(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stand_ins.slurm(tmp_path / "bin")[0])
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o777)
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r")
    assert done.returncode == 0
    assert done.stderr.startswith(f"warning: {tmp_path}/r can be written by everybody; to keep")
    assert done.stderr.count("warning: ") == 1


def test_what_the_network_refuses_of_a_run_from_weights_is_said_before_it_is_queued(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = stand_ins.slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", path)
    network = ModelConfig(name="resnet20", num_classes=4)
    torch.save(factory.build(network).state_dict(), tmp_path / "w.pth")
    begins = ("--model.name", "resnet20", "--init.weights", tmp_path / "w.pth", "--init.freeze", "layer9")
    done = commands.call(main, *DEMO, *begins, "--data", images, "--output", tmp_path / "r")
    assert (done.returncode, "init.freeze: 'layer9' is no weight's name" in done.stderr) == (2, True)
    assert stand_ins.called(calls, "sbatch") == []
    assert not (tmp_path / "r").exists()
