import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import main
from tests import commands
from tests.launch import stand_ins
from trainer.cpus import ALLOCATOR, has_gpu

DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.run("launch", *arguments, environment=environment)


VERBS = ("submit", "resume", "array", "status", "logs", "cancel", "plan", "run")


@pytest.mark.parametrize("arguments", [[], *([verb] for verb in VERBS), ["submit", "resnet50"]])
def test_help_loads_nothing_that_takes_long(arguments: list[str]) -> None:
    slow = {"torch", "torchvision", "timm", "accelerate", "submitit", "numpy", "matplotlib", "tensorboard", "nvidia"}
    assert not slow & commands.loads("launch", *arguments, "--help")


@pytest.mark.skipif(has_gpu(), reason="the allocator's settings are for machines without a GPU")
@pytest.mark.parametrize("verb", ["train", "doctor"])
def test_what_computes_begins_anew_before_a_library_is_loaded_and_leaves_its_exit_code(
    verb: str, tmp_path: Path
) -> None:
    (tmp_path / "code").touch()
    words = (verb, "demo", "--data", tmp_path / "nowhere", "--output", tmp_path / "run")
    command = [sys.executable, "-X", "importtime", "-m", "launch", *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    environment["PROVENET_EXIT_CODE"] = str(tmp_path / "code")
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert (tmp_path / "code").read_text().startswith("2\n")
    _, first, second = done.stderr.split("imported package")  # the head of each process's list of imports
    assert "tyro" not in first
    assert "tyro" in second


def test_a_dry_run_prints_the_script_and_writes_nothing(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "my run"
    done = run(
        *DEMO,
        *("--data", images, "--output", out, "--dry-run", "--nodes", "2", "--hours", "1.5", "--partition", "cpu"),
        *("--cpus-per-process", "4", "--memory-gb", "1.5", "--account", "lab", "--qos", "high"),
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    for option in ("nodes=2", "ntasks-per-node=1", "cpus-per-task=4", "time=90", "mem=1536M", "partition=cpu"):
        assert f"#SBATCH --{option}" in lines
    assert {"#SBATCH --account=lab", "#SBATCH --qos=high"} <= set(lines)
    assert "#SBATCH --gpus" not in done.stdout
    assert re.fullmatch(rf"' '{out}/launch/code-[0-9a-f]{{64}}\.zip' launch\.worker <<'JOBS'", lines[-3])
    assert list(tmp_path.iterdir()) == []


def test_gpus_bring_a_process_each(images: Path, tmp_path: Path) -> None:
    done = run(*DEMO, "--data", images, "--output", tmp_path / "r", "--dry-run", "--gpus-per-node", "2")
    assert "#SBATCH --gpus-per-node=2" in done.stdout
    assert "#SBATCH --ntasks-per-node=2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["submit"], "RECIPE"),
        (["submit", "--data", "IMAGES", "--output", "OUT", "demo"], "RECIPE: comes first, before --data"),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--gpus-per-node", "2", "--processes-per-node", "4"],
            "--processes-per-node: 4, but --gpus-per-node 2 starts a process for each",
        ),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--partition", ""], "--partition: empty"),
        (["submit", "demmo", "--data", "IMAGES", "--output", "OUT"], "did you mean demo?"),
        ([*DEMO, "--data", "NOWHERE", "--output", "OUT"], "NOWHERE does not exist"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--nodes", "0"], "nodes: 0; must be at least 1"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--nodes", "3"], "a --global-batch divisible by 3"),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--hours", "-1"],
            "hours: -1.0; must be above 0 and at most 10000",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    images: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    arguments = [commands.placed(argument, images, tmp_path) for argument in arguments]
    expected = commands.placed(expected, images, tmp_path)
    done = commands.call(main, *arguments)
    assert done.returncode == 2
    assert expected in commands.said(done)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_slurm_is_told_what_to_do(images: Path, tmp_path: Path) -> None:
    done = run(*DEMO, "--data", images, "--output", tmp_path / "r", PATH=str(tmp_path))
    assert done.returncode == 2
    mend = "submit from a login node, or add --cluster local, or --dry-run"
    assert f"sbatch: not on this machine; {mend}" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_job_that_slurm_refuses_leaves_no_run_behind(images: Path, tmp_path: Path) -> None:
    words = "sbatch: error: invalid partition specified: nowhere"
    path, _ = stand_ins.slurm(tmp_path / "bin", sbatch=f"echo '{words}' >&2; exit 1")
    done = run(*DEMO, "--data", images, "--output", tmp_path / "r", "--partition", "nowhere", PATH=path)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_finished_run_is_not_queued_again(images: Path, tmp_path: Path) -> None:
    path, _ = stand_ins.slurm(tmp_path / "bin")
    flags = (*DEMO, "--data", images, "--output", tmp_path / "r")
    assert "job 12 is queued" in run(*flags, PATH=path).stdout
    (tmp_path / "r" / "result.json").write_text('{"top1": 50, "top5": 100, "images": 36}')
    assert run(*flags, PATH=path).stdout.startswith("nothing to do, this run is finished: top-1 50.00 %")
