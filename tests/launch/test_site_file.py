"""Flag over the site's file over SBATCH_*."""

from pathlib import Path

import pytest

from launch import site_file
from launch.cli import main
from launch.site import ClusterConfig
from tests import commands
from trainer.recipe.decode import InvalidConfigError

DEMO = ("submit", "demo", "--model.num-classes", "4", "--global-batch", "64", "--micro-batch", "8", "--dry-run")
SITE = """
partition: gpu
account: lab
setup: [module load cuda]
srun: [container-image=/images/provenet.sqsh]
gpus_per_node: 8
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    monkeypatch.setenv("PROVENET_SITE", str(file))
    return file


def test_a_flag_is_preferred_to_the_file_and_the_file_to_a_variable(
    file: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCOUNT", "QOS", "PARTITION"):
        monkeypatch.setenv(f"SBATCH_{name}", "variable")
    words = ("--data", images, "--output", tmp_path / "r", "--partition", "long", "--setup", "ulimit -n 4096")
    done = commands.call(main, *DEMO, *words)
    assert done.returncode == 0, done.stderr
    for line in ("--partition=long", "--account=lab", "--gpus-per-node=8"):
        assert f"#SBATCH {line}\n" in done.stdout
    assert "module load cuda\nulimit -n 4096\n" in done.stdout
    assert done.stderr.splitlines() == [
        f"gpus_per_node: 8 (from {file})",
        "partition: long (from a flag, or an earlier submission)",
        f"account: lab (from {file})",
        "setup: module load cuda, ulimit -n 4096 (from a flag, or an earlier submission)",
        f"srun: container-image=/images/provenet.sqsh (from {file})",
        "SBATCH_QOS=variable: applies",
    ]


@pytest.mark.parametrize("words", [("--cluster", "local"), ("--cluster=local",)])
def test_a_job_on_this_machine_asks_for_nothing_of_a_cluster(
    words: tuple[str, ...], file: Path, images: Path, tmp_path: Path
) -> None:
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.exists()


def test_the_file_of_a_user_is_found_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVENET_SITE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert site_file.defaults() == ClusterConfig()
    file = tmp_path / ".config" / "provenet" / "site.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("interface: ib0\n")
    assert site_file.defaults() == ClusterConfig(interface="ib0")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("partitoin: gpu", "partitoin: unknown; did you mean partition?"),
        ("nodes: many", "nodes: "),
        ("hours: 0", "hours: "),
        ("[1, 2]", ""),
        ("a: {", "not readable as YAML: "),
    ],
)
def test_a_file_with_a_mistake_is_refused_like_a_recipe(
    file: Path, text: str, problem: str, images: Path, tmp_path: Path
) -> None:
    file.write_text(text)
    done = commands.call(main, *DEMO, "--data", images, "--output", tmp_path / "r")
    assert done.returncode == 2
    assert f"{file}: {problem}" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_file_that_is_named_must_be_there(file: Path) -> None:
    file.unlink()
    with pytest.raises(InvalidConfigError, match=r"site.yaml: not readable as YAML: .*No such file"):
        site_file.defaults()
