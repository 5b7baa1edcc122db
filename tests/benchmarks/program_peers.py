"""The training scripts of timm and torchvision, as they are, beside `provenet train` on the same images."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from tests.benchmarks import our_program, programs
from tests.benchmarks.config import LR, BenchConfig
from tests.benchmarks.our_program import Work
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns
from tests.benchmarks.programs import Program

Peer = Literal["timm", "torchvision"]

SAME, DEFAULTS, FIRST = Goal("at least", 1.0), Goal("at least", 3.0), Goal("at most", 1.0)


def timm(script: Path, work: Work) -> Program:
    """Its train.py, on the CPU, in fp32, NCHW in memory; a line after each step."""
    flags = {
        "--data-dir": work.images.root,
        "--model": work.network,
        "--num-classes": work.images.classes,
        "--img-size": work.image_size,
        "--batch-size": work.batch,
        "--workers": work.threads,
        "--device": "cpu",
        "--opt": "sgd",
        "--lr": LR,
        "--epochs": 1,
        "--log-interval": 1,
        "--output": work.folder / "timm",
    }
    return _program("timm", script, flags, work, r"Train: 0 \[ *\d+/")


def torchvision(script: Path, work: Work) -> Program:
    """Its references/classification/train.py, likewise."""
    flags = {
        "--data-path": work.images.root,
        "--model": work.network,
        "--train-crop-size": work.image_size,
        "--batch-size": work.batch,
        "--workers": work.threads,
        "--device": "cpu",
        "--lr": LR,
        "--epochs": 1,
        "--print-freq": 1,
        "--output-dir": work.folder / "torchvision",
    }
    return _program("torchvision", script, flags, work, r"^Epoch: \[0\] +\[ *\d+/")


def measure(scripts: Mapping[Peer, Path], work: Work, config: BenchConfig) -> list[Pair]:
    """All in turns: ours as the peers are, in fp32 and NCHW; the peers; ours by its defaults.

    Raises:
        tests.benchmarks.contestant.FailedError: A program ended early.
    """
    makers: dict[Peer, Callable[[Path, Work], Program]] = {"timm": timm, "torchvision": torchvision}

    firsts: dict[str, list[float]] = {name: [] for name in ("same", *scripts, "defaults")}
    made: dict[str, Callable[[], Program]] = {
        "same": lambda: our_program.train(work, "fp32", channels_last=False),
        **{name: partial(makers[name], script, work) for name, script in scripts.items()},
        "defaults": lambda: our_program.train(work, "bf16", channels_last=True),
    }
    timed = [_timed(program, work, config.steps, firsts[name]) for name, program in made.items()]
    rates = dict(zip(firsts, in_turns(timed, config.starts), strict=True))
    return _pairs(list(scripts), rates, firsts, work)


def rate(moments: list[float], batch: int) -> float:
    """Images/s of the steps after the first, whose ends are given, seconds."""
    return batch * (len(moments) - 1) / (moments[-1] - moments[0])


def _timed(program: Callable[[], Program], work: Work, steps: int, firsts: list[float]) -> Callable[[], float]:
    """Start a program anew; its images/s, while its seconds to the first step go to the list."""

    def start() -> float:
        moments = programs.steps(program(), steps + 1)
        firsts.append(moments[0])
        return rate(moments, work.batch)

    return start


def _pairs(peers: list[Peer], rates: dict[str, list[float]], firsts: dict[str, list[float]], work: Work) -> list[Pair]:
    what = f"{work.network}, {work.image_size} px, {work.batch} images, {work.threads} threads"
    fastest = [min(starts) for starts in zip(*(firsts[peer] for peer in peers), strict=True)]
    return [
        *(
            compare(f"fp32, NCHW, against {peer}: {what}", "images/s", rates["same"], rates[peer], SAME)
            for peer in peers
        ),
        *(
            compare(f"our defaults against {peer}: {what}", "images/s", rates["defaults"], rates[peer], DEFAULTS)
            for peer in peers
        ),
        *(compare(f"start to first step of {peer}", "s", firsts["same"], firsts[peer]) for peer in peers),
        compare("start to first step against the faster", "s", firsts["same"], fastest, FIRST),
        compare("start to first step, our defaults", "s", firsts["defaults"], fastest, FIRST),
    ]


def _program(name: str, script: Path, flags: dict[str, object], work: Work, done: str) -> Program:
    words = (str(word) for flag in flags.items() for word in flag)
    return Program(
        name=name,
        command=(sys.executable, str(script), *words),
        threads=work.threads,
        done=done,
        variables={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},  # this package is not for them to find
    )
