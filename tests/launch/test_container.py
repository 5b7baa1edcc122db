"""The command that each runtime is given, compared with its documentation: see launch/container.py."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from launch import container, slurm
from launch.cli import main
from launch.enqueue import Wanted
from launch.job import TrainJob, own, together
from launch.site import ClusterConfig, cluster_problems
from tests import commands
from tests.launch import stand_ins
from trainer.recipe.config import InitConfig, Recipe, SiteConfig

DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "2", "--dry-run")
PYTHON = ("python3", "-s", "-uP", "-c")


def job(tmp_path: Path, image: str, **settings: object) -> TrainJob:
    """Of a run and data that exist."""
    for name in ("run", "run/launch", "data"):
        (tmp_path / name).mkdir(exist_ok=True)
    site = SiteConfig(data=tmp_path / "data", output=tmp_path / "run")
    cluster = replace(ClusterConfig(container=image), **settings)
    code = tmp_path / "run" / "launch" / "code-12.zip"
    return TrainJob(site=site, cluster=cluster, code=code, files=(tmp_path / "data", tmp_path / "gone"))


def contained(of: TrainJob) -> tuple[str, ...]:
    """What stands between the options of srun that are the same without a container, and the trainer's code."""
    words = of.command()
    assert words[0] == "srun"
    first, last = words.index(f"--cpus-per-task={of.cluster.cpus_per_process}") + 1, words.index("-uP")
    assert (
        words[last + 2 :]
        == replace(of, cluster=replace(of.cluster, container=None)).command()[-len(words) + last + 2 :]
    )
    return words[first : last + 2]


def test_pyxis_gets_options_of_srun(tmp_path: Path) -> None:
    words = contained(job(tmp_path, "pyxis:nvcr.io#lab/provenet:1", gpus_per_node=8, bind=("/scratch", "/a:/b")))
    run, data = tmp_path / "run", tmp_path / "data"
    assert words == (
        "--container-image=nvcr.io#lab/provenet:1",
        f"--container-mounts={run}:{run},{run}/launch:{run}/launch,{data}:{data},/scratch:/scratch,/a:/b,/tmp:/tmp",
        f"--container-workdir={run}",
        *PYTHON,
    )


@pytest.mark.parametrize(("gpus", "flags"), [(0, ()), (8, ("--nv",))])
def test_apptainer_starts_python(gpus: int, flags: tuple[str, ...], tmp_path: Path) -> None:
    words = contained(job(tmp_path, "apptainer:/i/provenet.sif", gpus_per_node=gpus, bind=("/scratch",)))
    run, data = tmp_path / "run", tmp_path / "data"
    binds = f"{run}:{run},{run}/launch:{run}/launch,{data}:{data},/scratch:/scratch,/tmp:/tmp"
    assert words == ("apptainer", "exec", *flags, "--bind", binds, "--pwd", str(run), "/i/provenet.sif", *PYTHON)


@pytest.mark.parametrize(("gpus", "flags"), [(0, set()), (8, {"--device=nvidia.com/gpu=all"})])
def test_podman_starts_python_with_what_slurm_and_the_user_have_set(gpus: int, flags: set[str], tmp_path: Path) -> None:
    words = contained(job(tmp_path, "podman:localhost/provenet", gpus_per_node=gpus, bind=("/a:/b",), env=("A=1", "B")))
    run, data = tmp_path / "run", tmp_path / "data"
    assert words[:2] == ("sh", "-c")
    assert words[-len(PYTHON) - 1 :] == ("localhost/provenet", *PYTHON)
    binds = [f"{run}:{run}", f"{run}/launch:{run}/launch", f"{data}:{data}", "/a:/b", "/tmp:/tmp"]
    assert [word for word in words if word.startswith("--volume=")] == [f"--volume={bind}" for bind in binds]
    assert {"--rm", "--pid=host", "--network=host", f"--workdir={run}", "--env=SLURM*", "--env=A", "--env=B"} <= {
        *words
    }
    assert {word for word in words if word.startswith("--device")} == flags


PODMAN = """
[ "$1" != ps ] || exec cat says
tr '\\0' '\\n' < /proc/$$/cmdline | sed -n '2,$p'
echo "pid $$"
grep SigBlk /proc/self/status
"""


@pytest.mark.parametrize(
    ("says", "forgets"),
    [("CONTAINER ID  IMAGE", False), ('try resetting the pause process with "podman system migrate": ...', True)],
)
def test_podman_forgets_the_killed_and_is_what_the_shell_becomes_with_the_signal_blocked_that_would_end_its_helper(
    says: str, forgets: bool, tmp_path: Path
) -> None:
    path, calls = stand_ins.slurm(tmp_path / "bin", podman=PODMAN)
    (tmp_path / "says").write_text(says)
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "12", "SLURM_PROCID": "3"}
    _, words = container.start(ClusterConfig(container="podman:it's $(touch pwned)"), tmp_path, [tmp_path])
    done = subprocess.run(words, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    pid = next(line.removeprefix("pid ") for line in lines if line.startswith("pid "))
    assert f"PROVENET_PODMAN={pid}" in lines
    assert lines[lines.index("--name") + 1] == "provenet-12-3"
    assert "it's $(touch pwned)" in lines
    assert lines[-1].split() == ["SigBlk:", f"{1 << 11:016x}"]  # USR2 is 12, the mask's first bit 1
    assert not (tmp_path / "pwned").exists()
    called = stand_ins.called(calls, "podman")
    assert called[:-1] == (["ps", "system migrate"] if forgets else ["ps"])


def test_a_path_with_the_characters_that_separate_binds_is_bound_by_a_folder_above(tmp_path: Path) -> None:
    run = tmp_path / "lr=0.1,seed=0"
    run.mkdir()
    (option, mounts, folder), _ = container.start(ClusterConfig(container="pyxis:i"), run, [run])
    assert (option, mounts) == ("--container-image=i", f"--container-mounts={tmp_path}:{tmp_path},/tmp:/tmp")
    assert folder == f"--container-workdir={run}"


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("docker:x", "--container: 'docker:x'; expected RUNTIME:IMAGE with one of pyxis, apptainer, podman"),
        ("provenet", "--container: 'provenet'; expected RUNTIME:IMAGE with one of"),
        ("podman:", "--container: 'podman:'; expected RUNTIME:IMAGE"),
        ("podman:--privileged", "--container: 'podman:--privileged'; expected RUNTIME:IMAGE"),
        ("apptainer:provenet.sif", "--container: 'provenet.sif' is no absolute path of an image"),
        ("apptainer:/no/provenet.sif", "--container: '/no/provenet.sif' is no absolute path of an image"),
        ("pyxis:./provenet.sqsh", "--container: './provenet.sqsh' is no absolute path of an image"),
        ("pyxis:/no/provenet.sqsh", "--container: '/no/provenet.sqsh' is no absolute path of an image"),
    ],
)
def test_what_is_no_image_is_refused(image: str, problem: str) -> None:
    (found,) = container.problems(ClusterConfig(container=image), ())
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "image", ["podman:docker.io/lab/x:1", "apptainer:docker://x", "pyxis:lab/x:1", "apptainer:/", "pyxis:/"]
)
def test_what_may_be_one_is_not(image: str) -> None:
    cluster = ClusterConfig(
        container=image, bind=("/scratch", "/a:/b"), srun=("container-mounts=/c", "container-writable")
    )
    assert [*cluster_problems(cluster), *container.problems(cluster, [Path("/runs/a,b")])] == []


def test_a_path_has_one_source(tmp_path: Path) -> None:
    """Podman refuses two, and the launcher's /tmp stays."""
    words = contained(job(tmp_path, "apptainer:/i/a.sif", bind=(f"/other:{tmp_path}/data", "/s", "/s:/s", "/tmp")))
    run = tmp_path / "run"
    assert words[3] == f"{run}:{run},{run}/launch:{run}/launch,/other:{tmp_path}/data,/s:/s,/tmp:/tmp"
    (problem,) = container.problems(ClusterConfig(container="podman:x", bind=("/s:/tmp/",)), ())
    assert problem.startswith("--bind: '/s:/tmp/'; /tmp is the node's")


@pytest.mark.parametrize("bind", ["scratch", "/a:b", "/a:/b:ro", "/a,/b", ""])
def test_a_bind_has_absolute_paths(bind: str) -> None:
    (found,) = container.problems(ClusterConfig(container="podman:x", bind=(bind,)), ())
    assert found == f"--bind: {bind!r}; expected SOURCE or SOURCE:DESTINATION, absolute paths without commas"


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        (ClusterConfig(bind=("/a",)), "--bind: only a container needs it; add --container, or leave it out"),
        (
            ClusterConfig(container="pyxis:x", srun=("container-image=y",)),
            "--srun: container-image is set for every job; use --container",
        ),
        (
            ClusterConfig(container="podman:x", cluster="local"),
            "--container: --cluster local has no Slurm; leave it out",
        ),
        (ClusterConfig(container="podman:x\n"), "--container: 'podman:x\\n' holds a control character; leave it out"),
    ],
)
def test_what_makes_no_sense_together_is_refused(cluster: ClusterConfig, problem: str) -> None:
    assert [*cluster_problems(cluster), *container.problems(cluster, ())] == [problem]


def test_a_path_that_cannot_be_bound_is_refused() -> None:
    (found,) = container.problems(ClusterConfig(container="podman:x"), [Path("/runs"), Path("/a:b")])
    assert found == "--container: '/a:b' has a comma or colon, and cannot be bound; move it into a folder"


def test_the_exit_code_is_written_to_a_folder_that_the_container_sees(tmp_path: Path) -> None:
    inside = job(tmp_path, "podman:x")
    for one, there in ((inside, True), (replace(inside, cluster=ClusterConfig()), False)):
        assert ("export TMPDIR=/tmp" in slurm.script(one, "r", tmp_path).splitlines()) is there
    assert own(together([inside]), {}) == inside


def test_the_run_whose_weights_a_run_begins_from_is_bound(tmp_path: Path) -> None:
    before = tmp_path / "before"
    (before / "checkpoints").mkdir(parents=True)
    for file in (before / "recipe.yaml", before / "checkpoints" / "model.safetensors", tmp_path / "w.safetensors"):
        file.touch()
    site = SiteConfig(data=tmp_path / "data", output=tmp_path / "run", train_labels=tmp_path / "labels.csv")
    given = {
        str(before / "checkpoints" / "model.safetensors"): (before,),
        str(tmp_path / "w.safetensors"): (tmp_path / "w.safetensors",),
        f"local-dir:{tmp_path}": (tmp_path,),
        "timm/resnet50": (),
        None: (),
    }
    for weights, bound in given.items():
        wanted = Wanted(recipe=Recipe(init=InitConfig(weights=weights)), site=site, cluster=ClusterConfig())
        assert wanted.files == (site.data, site.train_labels, *bound)


def test_a_container_of_the_site_is_shown_with_its_origin_and_refused_before_anything_is_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, image = tmp_path / "site.yaml", tmp_path / "provenet.sqsh"
    file.write_text(f"container: pyxis:{image}\nbind: [/scratch]\n")
    monkeypatch.setenv("PROVENET_SITE", str(file))
    words = (*DEMO, "--data", images, "--output", tmp_path / "r")
    done = commands.call(main, *words[:-5], *words[-4:])  # not dry
    assert (done.returncode, (tmp_path / "r").exists()) == (2, False)
    assert f"--container: '{image}' is no absolute path of an image" in done.stderr
    image.touch()
    done = commands.call(main, *words, "--bind", "/more")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[:2] == [
        f"container: pyxis:{image} (from {file})",
        "bind: /scratch, /more (from a flag, or an earlier submission)",
    ]
    assert f'"container": "pyxis:{image}"' in done.stdout
