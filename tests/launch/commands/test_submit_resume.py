import json
import os
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path

import pytest

from launch import slurm
from launch.cli import VERBS, main
from launch.commands.submit import Resume
from launch.job import TrainJob
from launch.site import ClusterConfig
from launch.submission import LaunchFolder
from tests import commands
from tests.launch import stand_ins
from trainer.commands.cli import parse
from trainer.recipe.config import SiteConfig
from trainer.recipe.decode import decode, encode

DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8")


def launch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return commands.call(main, *arguments)


CLUSTER = ClusterConfig(
    cluster="local", nodes=2, gpus_per_node=2, processes_per_node=2, cpus_per_process=4, memory_gb=1.5, hours=2.5,
    grace_s=99, retries=7, partition="it's", account="a", qos="q", constraint="c", exclude="n[1-2]", reservation="r",
    interface="ib0", env=("A=1", "B"), setup=("module load cuda", "x"), sbatch=("mail-type=END",), srun=("mpi=pmix",),
    container="podman:localhost/provenet", bind=("/scratch",),
)  # fmt: skip


def submitted(run: Path, cluster: ClusterConfig, site: SiteConfig) -> None:
    folder = LaunchFolder(run)
    folder.make()
    (folder.path / "submission.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "job": "12",
                "kind": "slurm",
                "time": 0,
                "log": "/l",
                "code": str(run / "code"),
                "commit": "c",
            }
            | {"request": encode(cluster), "site": encode(site)}
        )
    )


def test_a_resume_asks_for_all_that_the_submission_asked_for_but_for_its_own_flags(tmp_path: Path) -> None:
    site = SiteConfig(
        data=Path("/data"),
        output=tmp_path,
        manifests=Path("/m"),
        train_labels=Path("/labels.csv"),
        val_share=0.1,
        threads=3,
        save_steps=5,
        channels_last=False,
    )
    assert all(getattr(CLUSTER, field.name) != field.default for field in fields(CLUSTER)), "a field has its default"
    submitted(tmp_path, CLUSTER, site)
    same = parse(["resume", str(tmp_path)], VERBS)
    assert isinstance(same, Resume)
    assert (same.cluster, same.site, same.new_code) == (CLUSTER, site, False)
    flags = ("--partition", "long", "--hours", "9", "--env", "C=3", "--save-steps", "6")
    other = parse(["resume", str(tmp_path), *flags], VERBS)
    assert isinstance(other, Resume)
    assert other.cluster == replace(CLUSTER, partition="long", hours=9.0, env=("A=1", "B", "C=3"))
    assert other.site == replace(site, save_steps=6)


def test_an_option_of_slurm_s_replaces_that_of_the_submission(images: Path, tmp_path: Path, calls: Path) -> None:
    options = ("--sbatch", "comment=before", "--srun", "gpu-bind=before")
    assert launch(*DEMO, "--data", images, "--output", tmp_path / "r", *options).returncode == 0
    again = "--sbatch", "comment=after", "--srun", "gpu-bind=after", "--srun", "exact"
    done = launch("resume", tmp_path / "r", *again)
    assert done.returncode == 0, done.stderr
    assert len(stand_ins.called(calls, "sbatch")) == 2
    submission = LaunchFolder(tmp_path / "r").submission()
    assert submission
    cluster = decode(ClusterConfig, submission.request)
    job = TrainJob(site=SiteConfig(data=images, output=tmp_path), cluster=cluster, code=tmp_path / "code")
    assert "#SBATCH --comment=after" in slurm.script(job, "r", tmp_path)
    assert [word for word in job.command() if word.startswith(("--gpu-bind", "--exact"))] == [
        "--gpu-bind=after",
        "--exact",
    ]


def test_a_resume_goes_on_elsewhere_with_what_was_named_from_another_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    assert launch(*DEMO, "--data", "data", "--output", "r").returncode == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    (code,) = (tmp_path / "r" / "launch").glob("code-*")
    code.write_bytes(code.read_bytes() + b"x")
    assert launch("resume", "../r", "--hours", "9").returncode == 2
    (tmp_path / "r" / "launch" / "cancelled").write_text("12\n")  # as the job of the same number will be
    done = launch("resume", "../r", "--hours", "9", "--new-code")
    assert done.returncode == 0, done.stderr
    assert not LaunchFolder(tmp_path / "r").is_cancelled("12")
    submission = LaunchFolder(tmp_path / "r").submission()
    assert submission and (submission.request["hours"], submission.site["data"]) == (9.0, str(tmp_path / "data"))
    assert len(stand_ins.called(calls, "sbatch")) == 2


@pytest.mark.parametrize(
    ("content", "flags", "expected"),
    [
        (None, [], "was never submitted: it holds no launch/submission.json; submit it first: provenet submit"),
        ("{", [], "launch/submission.json: cannot be read (Expecting property name"),
        (
            '{"schema": 9}',
            [],
            "launch/submission.json: schema 9, this version reads up to 1; use the version of Provenet that",
        ),
        ({"request": {"nodes": "two"}}, [], "remove it and submit again: nodes: 'two'; expected a whole number"),
        ({"request": {"nodse": 2}}, [], "remove it and submit again: nodse: unknown; did you mean nodes?"),
        ({"site": {}}, [], "holds what this version does not read; remove it and submit again"),
        ({}, ["--output", "/elsewhere"], "--output: a run goes on in its own directory"),
        ({}, [], "this run's copy of the code is gone, changed, or an older version's; add --new-code to use the code"),
    ],
)
def test_a_resume_that_cannot_be_is_told_why(
    tmp_path: Path, content: str | dict[str, object] | None, flags: list[str], expected: str
) -> None:
    if content is not None:
        submitted(tmp_path, ClusterConfig(), SiteConfig(data=tmp_path, output=tmp_path))
        file = tmp_path / "launch" / "submission.json"
        text = content if isinstance(content, str) else json.dumps(json.loads(file.read_text()) | content)
        file.write_text(text)
    done = launch("resume", tmp_path, *flags)
    assert done.returncode == 2
    assert expected in done.stderr


def test_a_resume_comes_before_its_flags() -> None:
    assert "RUN: comes first, before --hours: resume RUN --hours ..." in launch("resume", "--hours", "2").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as root alone may")
@pytest.mark.parametrize("words", [("resume",), ("resume", "--dry-run"), ("cancel",)])
def test_nothing_is_done_by_a_record_that_another_user_has_put_there(
    images: Path, tmp_path: Path, calls: Path, words: tuple[str, ...]
) -> None:
    """As one of the group does where the run directory lets him: the owner's folder away, his own in its place."""
    run = tmp_path / "r"
    assert launch(*DEMO, "--data", images, "--output", run).returncode == 0
    (tmp_path / "queue").write_text("12|RUNNING|None|N/A\n" if words == ("cancel",) else "")
    shutil.copytree(run / "launch", run / "theirs")
    (run / "launch").rename(run / "ours")
    (run / "theirs").rename(run / "launch")
    before = calls.read_text()
    for file in (run / "launch", *(run / "launch").iterdir()):
        os.chown(file, 4711, 4711)
    done = launch(words[0], run, *words[1:])
    assert done.returncode == 2
    file = f"{run}/launch/submission.json"
    assert f"{file} or its folder belongs to another user (uid 4711); not used" in done.stderr
    assert (done.stdout, calls.read_text()) == ("", before)
