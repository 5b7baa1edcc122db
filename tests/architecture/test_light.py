"""What answers `--help` and refuses bad input starts fast: importing it loads nothing that is slow to load."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH = ("torch", "torchvision", "timm", "accelerate", "nvidia.dali", "tensorboard")
SLOW = (*TORCH, "submitit", "matplotlib", "tyro", "rich", "numpy", "PIL")


def loaded(modules: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Which of the packages a fresh process has after it imported the modules."""
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {packages} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


def test_an_overview_of_the_verbs_loads_no_library() -> None:
    assert loaded(["trainer.commands.cli", "trainer.terminal", "launch.cli"], SLOW) == []


def test_launch_the_verbs_and_the_checks_before_a_start_load_no_torch() -> None:
    """With all that these import: recipes, run directories, evidence, plans, catalogs."""
    files = [
        *(ROOT / "launch").rglob("*.py"),
        *(ROOT / "trainer" / "commands").glob("*.py"),
        *(ROOT / "trainer" / name for name in ("preflight.py", "api.py", "evaluation/checks.py")),
    ]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    heavy = {"trainer.commands.failures"}  # which a command imports when its run starts
    assert loaded(sorted({*names} - heavy - {"launch.__main__"}), TORCH) == []


def test_what_the_loaders_read_before_they_decode_loads_no_torch() -> None:
    assert loaded(["data.load.note", "data.load.jpeg_header"], TORCH) == []
