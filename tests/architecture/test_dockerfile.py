"""What slurm/Dockerfile copies is there, and what it installs is what the project pins."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = re.sub(r"\\\n\s*", "", (ROOT / "slurm" / "Dockerfile").read_text())
LINES = [line.partition(" ") for line in TEXT.splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COPIED = [source for word, _, rest in LINES if word == "COPY" for source in rest.split()[:-1]]


def arguments() -> dict[str, str]:
    return {key: value for word, _, rest in LINES if word == "ARG" for key, _, value in [rest.partition("=")]}


def test_each_file_that_is_copied_is_there_and_not_ignored() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    for source in COPIED:
        assert (ROOT / source).exists()
        assert f"!{source.split('/')[0]}" in allowed
    assert {path[1:] for path in allowed if path.startswith("!")} == {source.split("/")[0] for source in COPIED}


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    packages = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages | {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(COPIED)


def test_what_is_installed_is_pinned_and_the_code_brings_nothing() -> None:
    commands = [command for word, _, rest in LINES if word == "RUN" for command in rest.split("&& ")]
    installs = [shlex.split(command) for command in commands if "pip install" in command]
    of_packages, of_code = installs
    assert of_packages[of_packages.index("--constraint") + 1] == Path(".ci/constraints.txt").name
    assert {"--no-deps", "--no-build-isolation"} <= set(of_code)


@pytest.mark.parametrize("cuda", ["13", "12"])
def test_either_cuda_gets_what_the_project_needs_for_it(cuda: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    script = re.search(r'-c "(.*?)" >needed.txt', TEXT)
    assert script
    words = [sys.executable, "-c", script[1].replace("$CUDA", cuda)]
    done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
    project = PROJECT["project"]
    expected = ["setuptools", *project["dependencies"], *project["optional-dependencies"][f"cuda{cuda}"]]
    assert done.stdout.splitlines() == expected
    pins = (ROOT / ".ci" / "constraints.txt").read_text()
    for name in (re.split(r"[^\w.-]", line)[0] for line in expected):
        assert re.search(rf"^{re.escape(name)}==", pins, re.MULTILINE | re.IGNORECASE), name


def test_it_runs_as_a_user_with_the_makefile_s_cuda_unless_told_otherwise() -> None:
    assert [rest for word, _, rest in LINES if word == "USER"] == ["provenet"]
    makefile = (ROOT / "Makefile").read_text()
    default = re.search(r"^CUDA \?= .*,(\d+)\)$", makefile, re.MULTILINE)
    assert default and arguments()["CUDA"] == default[1]
    assert arguments()["CUDA12_INDEX"] in (ROOT / "README.md").read_text()
    assert next(rest for word, _, rest in LINES if word == "FROM") == "${BASE}"
    assert arguments()["BASE"]
