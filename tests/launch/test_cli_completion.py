import subprocess
from pathlib import Path

import pytest

from launch.cli import main
from tests import commands


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "provenet.sh"
    file.write_text(commands.call(main, "completion").stdout)
    return file


def offered(printed: Path, line: str) -> list[str]:
    """What bash's completion function answers at the end of a line."""
    words = line.split(" ")
    place = f"COMP_WORDS=({' '.join(map(repr, words))}) COMP_CWORD={len(words) - 1}"
    code = f". {printed}; {place}; _provenet; printf '%s\\n' ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "--norc", "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


CASES = [
    ("provenet tr", ["train"]),
    ("provenet re", ["report", "reproduce", "resume"]),
    ("provenet train cifar_resnet1", ["cifar_resnet110"]),
    ("provenet doctor resnet50_a", ["resnet50_a1", "resnet50_a2", "resnet50_a3"]),
    ("provenet plan resnet50_a", ["resnet50_a1", "resnet50_a2", "resnet50_a3"]),
    ("provenet train demo --optimizer.mom", ["--optimizer.momentum"]),
    ("provenet train demo --precision f", ["fp16", "fp32"]),
    ("provenet submit demo --gpus", ["--gpus-per-node"]),
    ("provenet prepare cifar1", ["cifar10", "cifar100"]),
    ("provenet prepare imagenet /x --train", ["--train-tar"]),
    ("provenet models summary ghostnet_05", ["ghostnet_050"]),
    ("provenet models export resnet50 --to o", ["onnx"]),
    ("provenet train demo --data ", []),  # files are the shell's
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_offers_what_fits(printed: Path, line: str, expected: list[str]) -> None:
    assert sorted(offered(printed, line)) == expected


def test_a_shell_completes_what_is_typed(printed: Path, tmp_path: Path) -> None:
    """In a terminal, with TAB; provenet is a function here, which writes down what it is given."""
    got = tmp_path / "got"
    typed = [
        f". {printed}",
        f'provenet() {{ echo "$@" >> {got}; }}',
        "provenet train demo --optimizer.mom\t0.9",
        "provenet mod\tlist",
        f"provenet report {tmp_path}/go\t",  # files too
        f"provenet train demo --data {tmp_path}/fol\tder",
        "exit",
    ]
    got.touch()
    (tmp_path / "folder").mkdir()
    keys = "".join(f"{line}\n" for line in typed)
    shell = ["script", "-qec", "bash --norc -i", "/dev/null"]
    subprocess.run(shell, input=keys, capture_output=True, text=True, timeout=60)
    assert got.read_text().split("\n") == [
        "train demo --optimizer.momentum 0.9",
        "models list",
        f"report {got}",
        f"train demo --data {tmp_path}/folder/der",
        "",
    ]


def test_the_command_prints_it_and_loads_no_torch(printed: Path) -> None:
    done = commands.run("launch", "completion")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == printed.read_text().splitlines()[-1]
    slow = {"torch", "torchvision", "timm", "accelerate", "submitit", "numpy", "matplotlib", "tensorboard", "nvidia"}
    assert not slow & commands.loads("launch", "completion")
