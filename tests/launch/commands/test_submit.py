import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launch import pinned
from launch.cli import main
from launch.submission import LaunchFolder
from tests import commands
from tests.launch import stand_ins

DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8")
HOSTILE = ['it\'s $(touch pwned) "x" ;touch pwned', " -rf & | > pwned < *?[a]{b}", "-dash", "`touch pwned`#!~ü日本"]

# stands in for the pinned code: tells what reaches it
WORKER = """
import json, os, sys
variables = {name: os.environ[name] for name in ("A", "B", "C", "PYTHONSAFEPATH")}
print(json.dumps([json.load(sys.stdin)["runs"], variables]))
"""


def launch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return commands.call(main, *arguments)


@pytest.mark.parametrize("name", [*HOSTILE, "a:b"])
def test_no_name_is_executed_and_each_arrives_as_it_is(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("C", f"{name}\nline two")
    monkeypatch.setattr(pinned, "_ROOT", tmp_path / "code")
    (tmp_path / "code" / "launch").mkdir(parents=True)
    (tmp_path / "code" / "launch" / "__init__.py").touch()
    (tmp_path / "code" / "launch" / "worker.py").write_text(WORKER)
    out, folder = tmp_path / name, tmp_path / name / "launch"
    done = launch(
        *(*DEMO, "--data", images, f"--output={out}", "--dry-run", f"--constraint={name}", f"--partition={name}"),
        *("--env", f"A={name}", "--env", 'B=it\'s "B" = $B', "--env", "C"),
    )
    assert done.returncode == 0, done.stderr
    folder.mkdir(parents=True)
    pinned.pin(folder)
    (tmp_path / "empty").mkdir()
    ran = subprocess.run(["bash"], cwd=tmp_path / "empty", input=done.stdout, capture_output=True, text=True)
    arrived = {"A": name, "B": 'it\'s "B" = $B', "C": f"{name}\nline two", "PYTHONSAFEPATH": "1"}
    assert (json.loads(ran.stdout), ran.stderr) == ([[str(out)], arrived], "")
    assert list((tmp_path / "empty").iterdir()) == []
    lines = [line.removeprefix("#SBATCH --").partition("=") for line in done.stdout.splitlines()]
    options = {option: value for option, _, value in lines}
    expected = {"job-name": name, "output": f"{folder}/%j_0_log.out", "constraint": name, "partition": name}
    assert {option: shlex.split(options[option])[0] for option in expected} == expected


def test_a_dry_run_of_a_local_job_shows_its_command(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "it's $(here)"
    done = launch(*DEMO, "--data", images, f"--output={out}", "--dry-run", "--cluster", "local")
    words = shlex.split(done.stdout)
    assert words[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert words[-6:] == ["train", str(out / "recipe.yaml"), "--data", str(images), "--output", str(out)]
    assert done.stderr.startswith("optimizer.lr: 0.05 belongs to a global_batch of 64 and is not scaled to 16; ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("calls")
def test_a_job_starts_the_ranks_with_the_words_that_were_given(images: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "srun").write_text(f'#!/bin/bash\nprintf "%s\\0" "$@" > {tmp_path}/words\n')
    (tmp_path / "bin" / "sbatch").write_text(f'#!/bin/bash\ncp "$1" {tmp_path}/script; echo Submitted batch job 12\n')
    name = HOSTILE[0]
    (tmp_path / "data").mkdir()
    data, out = tmp_path / "data" / name, tmp_path / name
    data.symlink_to(images)
    assert launch(*DEMO, f"--data={data}", f"--output={out}", "--nodes", 2, "--save-steps", 7).returncode == 0
    (tmp_path / "empty").mkdir()
    ran = subprocess.run(
        ["bash", tmp_path / "script"],
        cwd=tmp_path / "empty",
        env={**os.environ, "SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    words = (tmp_path / "words").read_text().split("\0")
    (code,) = (out / "launch").glob("code-*.zip")
    assert words[words.index(sys.executable) : -1] == [
        *(*pinned.command(code, "trainer"), "train", str(out / "recipe.yaml")),
        *("--data", str(data), "--output", str(out), "--save-steps", "7"),
    ]
    assert {"--nodes=2", "--ntasks=2"} <= set(words)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.usefixtures("calls")
def test_nothing_of_the_environment_is_written_down_but_what_is_named_and_that_in_the_script_alone(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "my-very-own-key")
    script = tmp_path / "script"
    (tmp_path / "bin" / "sbatch").write_text(f'#!/bin/bash\ncp "$1" {script}; echo Submitted batch job 12\n')

    def holders(run: Path) -> list[str]:
        return [file.name for file in run.rglob("*") if file.is_file() and b"my-very-own-key" in file.read_bytes()]

    flags = (*DEMO, "--data", images, "--output")
    assert launch(*flags, tmp_path / "a").returncode == 0
    assert holders(tmp_path / "a") == []
    assert "my-very-own-key" not in script.read_text()
    assert launch(*flags, tmp_path / "b", "--env", "SECRET").returncode == 0
    assert holders(tmp_path / "b") == []
    assert "my-very-own-key" in script.read_text()
    submission = LaunchFolder(tmp_path / "b").submission()
    assert submission and submission.request["env"] == ["SECRET"]
    assert (tmp_path / "b" / "launch").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--output", "OUT%j"], "OUT%j' holds '%', which a job's path cannot have; name another"),
        (["--output", "OUT\\x"], "holds '\\\\', which"),
        (["--output", "OUT\nx"], "holds '\\n', which"),
        (
            ["--output", "OUT", "--partition", "a\n#SBATCH --uid=0"],
            "--partition: 'a\\n#SBATCH --uid=0' holds a control",
        ),
        (["--output", "OUT", "--env", "A=1\ntouch pwned"], "--env: 'A=1\\ntouch pwned' holds a control character"),
        (
            ["--output", "OUT", "--env", "A;B=1"],
            "--env: 'A;B' is not the name of a variable; expected",
        ),
        (["--output", "OUT", "--env", "NOT_SET_HERE"], "--env: NOT_SET_HERE is not set here; give NOT_SET_HERE=VALUE"),
        (["--output", "OUT", "--setup", "a\rb"], "--setup: 'a\\rb' holds a control character; leave it out"),
    ],
)
def test_what_no_script_can_hold_is_refused(
    images: Path, tmp_path: Path, calls: Path, flags: list[str], expected: str
) -> None:
    words = [word.replace("OUT", str(tmp_path / "r")) for word in flags]
    done = launch(*DEMO, "--data", images, *words)
    assert done.returncode == 2
    assert expected.replace("OUT", str(tmp_path / "r")) in done.stderr
    assert not calls.exists()


@pytest.mark.parametrize("verb", ["submit", "resume"])
@pytest.mark.parametrize(("state", "words"), [("PENDING|Resources", "PENDING, Resources"), ("RUNNING|None", "RUNNING")])
def test_a_run_whose_job_waits_or_runs_is_not_queued_again(
    images: Path, tmp_path: Path, calls: Path, verb: str, state: str, words: str
) -> None:
    run = tmp_path / "my run"
    flags = (*DEMO, "--data", images, "--output", run)
    assert launch(*flags).returncode == 0
    (tmp_path / "queue").write_text(f"12|{state}|N/A\n")
    done = launch(*flags) if verb == "submit" else launch("resume", run)
    assert done.returncode == 2
    expected = f"this run has job 12 ({words}); end it first: provenet cancel '{run}'"
    assert expected in done.stderr
    assert len(stand_ins.called(calls, "sbatch")) == 1


def test_a_run_is_not_queued_twice_where_slurm_does_not_say_how_it_stands(
    images: Path, tmp_path: Path, calls: Path
) -> None:
    flags = (*DEMO, "--data", images, "--output", tmp_path / "r")
    assert launch(*flags).returncode == 0
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    done = launch(*flags)
    assert done.returncode == 2
    expected = "whether its earlier job 12 is gone is not known (squeue: Unable to contact slurm controller); try again"
    assert expected in done.stderr
    assert len(stand_ins.called(calls, "sbatch")) == 1


def test_a_run_whose_job_is_gone_is_queued_again(images: Path, tmp_path: Path, calls: Path) -> None:
    flags = (*DEMO, "--data", images, "--output", tmp_path / "r")
    assert [launch(*flags).returncode, launch("resume", tmp_path / "r").returncode] == [0, 0]
    assert len(stand_ins.called(calls, "sbatch")) == 2


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ([], {"PARTITION": "mine", "ACCOUNT": "mine", "MEM_PER_CPU": "1G", "EXPORT": "ALL"}),
        (["--partition", "gpu", "--memory-gb", "2"], {"ACCOUNT": "mine", "EXPORT": "ALL"}),
    ],
)
def test_a_users_own_settings_of_sbatch_overrule_no_flag(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], left: dict[str, str]
) -> None:
    """Of a real sbatch they come before what its script asks for."""
    settings = {"PARTITION": "mine", "ACCOUNT": "mine", "TIMELIMIT": "1", "NO_REQUEUE": "1", "MEM_PER_CPU": "1G"}
    for name, value in {**settings, "WAIT": "1", "EXPORT": "ALL"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\nenv > {tmp_path}/env; echo Submitted batch job 12\n")
    assert launch(*DEMO, "--data", images, "--output", tmp_path / "r", *flags).returncode == 0
    lines = [line.removeprefix("SBATCH_") for line in (tmp_path / "env").read_text().splitlines() if "SBATCH_" in line]
    assert dict(line.split("=", 1) for line in lines) == left
    assert os.environ["SBATCH_TIMELIMIT"] == "1"
