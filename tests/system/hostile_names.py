"""Verbs one after the other in one process: `python -m tests.system.hostile_names TREE FOLDER`."""

import sys
from pathlib import Path

from launch.cli import main

SIZES = ("--input.train-size", "32", "--input.eval-resize", "36", "--input.eval-crop", "32", "--model.num-classes", "8")
STEPS = ("--global-batch", "16", "--micro-batch", "16", "--epochs", "1", "--threads", "1", "--loader", "threads")
BROKEN = ("--max-broken", "0.2")


def verbs(tree: str, folder: str) -> tuple[tuple[str, ...], ...]:
    run, where = f"{folder}/run", ("--data", tree, *BROKEN)
    return (
        ("verify", tree, "--output", f"{folder}/lists", "--workers", "1"),
        ("train", "demo", *where, "--output", run, "--model.name", "resnet20", *SIZES, *STEPS),
        ("evaluate", run, *where, "--threads", "1", "--output", f"{folder}/evaluation"),
        ("report", run),
        ("status", folder),
    )


if __name__ == "__main__":
    for words in verbs(*sys.argv[1:]):
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        with Path(sys.argv[2], "codes").open("a") as codes:
            codes.write(f"{words[0]} {code}\n")
