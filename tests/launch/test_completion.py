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
    ("python -m tr", ["trainer"]),
    ("python -m trainer re", ["report", "reproduce"]),
    ("python -m trainer train cifar_resnet1", ["cifar_resnet110"]),
    ("python -m trainer doctor resnet50_a", ["resnet50_a1", "resnet50_a2", "resnet50_a3"]),
    ("python -m launch plan resnet50_a", ["resnet50_a1", "resnet50_a2", "resnet50_a3"]),
    ("python -m trainer train demo --optimizer.mom", ["--optimizer.momentum"]),
    ("python -m trainer train demo --precision f", ["fp16", "fp32"]),
    ("torchrun --standalone -m trainer train demo --keep-b", ["--keep-best"]),
    ("accelerate launch -m trainer train demo --save-f", ["--save-failure"]),
    ("python -m launch run -- torchrun -m trainer train demo --save-failure s", ["stop"]),
    ("python -m launch submit demo --gpus", ["--gpus-per-node"]),
    ("python -m data prepare cifar1", ["cifar10", "cifar100"]),
    ("python -m data prepare imagenet /x --train", ["--train-tar"]),
    ("python -m models summary ghostnet_05", ["ghostnet_050"]),
    ("python -m models export resnet50 --to o", ["onnx"]),
    ("python -m trainer train demo --data ", []),  # files are the shell's
    ("python script.py --da", []),
    ("python -m http.server --bi", []),
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_offers_what_fits(printed: Path, line: str, expected: list[str]) -> None:
    assert sorted(offered(printed, line)) == expected


def test_a_shell_completes_what_is_typed(printed: Path, tmp_path: Path) -> None:
    """In a terminal, with TAB; python is a function here, which writes down what it is given."""
    got = tmp_path / "got"
    typed = [
        f". {printed}",
        f'python() {{ echo "$@" >> {got}; }}',
        "python -m trainer train demo --optimizer.mom\t0.9",
        "python -m mod\tlist",
        f"python -m trainer report {tmp_path}/go\t",  # files too
        f"python -m trainer train demo --data {tmp_path}/fol\tder",
        "exit",
    ]
    got.touch()
    (tmp_path / "folder").mkdir()
    keys = "".join(f"{line}\n" for line in typed)
    shell = ["script", "-qec", "bash --norc -i", "/dev/null"]
    subprocess.run(shell, input=keys, capture_output=True, text=True, timeout=60)
    assert got.read_text().split("\n") == [
        "-m trainer train demo --optimizer.momentum 0.9",
        "-m models list",
        f"-m trainer report {got}",
        f"-m trainer train demo --data {tmp_path}/folder/der",
        "",
    ]


def test_the_command_prints_it_and_loads_no_torch(printed: Path) -> None:
    done = commands.run("launch", "completion")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == printed.read_text().splitlines()[-1]
    slow = {"torch", "torchvision", "timm", "accelerate", "submitit", "numpy", "matplotlib", "tensorboard", "nvidia"}
    assert not slow & commands.loads("launch", "completion")
