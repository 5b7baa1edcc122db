"""`make crash`: end or hinder a tiny run at every system call that changes its directory, and start it again."""

import argparse
import errno
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.system.crash import judge
from tests.system.crash.trials import Trial, preload, start

SHIM = Path(__file__).with_name("shim.c")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
TINY = (
    *("train", "demo", "--model.name", "resnet20", "--model.num-classes", "2", "--global-batch", "4"),
    *("--micro-batch", "2", "--input.train-size", "8", "--input.eval-resize", "8", "--input.eval-crop", "8"),
    *("--epochs", "2", "--threads", "1", "--loader", "threads", "--log-every", "1", "--save-steps", "1"),
    *("--keep-checkpoints", "1"),
)


def main() -> int:
    arguments = _arguments()
    if "crash_shim" not in os.environ:
        return with_shim()
    preload()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        return _try_all(Path(folder), arguments)


def _try_all(root: Path, arguments: argparse.Namespace) -> int:
    words = [*TINY, "--data", str(images(root))]
    whole, trace = root / "whole", root / "trace"
    codes = start([*words, "--output", str(whole)], whole, Trial(), root / "whole.log", trace, arguments.ranks)
    if any(codes) or judge.faults(whole, whole):
        sys.stderr.write((root / "whole.log").read_text())
        return 1
    calls = [Path(f"{trace}-{rank}").read_text().splitlines() for rank in range(arguments.ranks)]
    chosen = [trial for rank, own in enumerate(calls) for trial in _trials(own, rank, arguments)]
    places = {_place(call) for own in calls for call in own}
    sys.stdout.write(f"{sum(map(len, calls))} calls from {len(places)} places; {len(chosen)} trials\n")
    table: Counter[tuple[str, str]] = Counter()
    for trial in chosen:
        wrong = _tried(words, root, whole, trial, arguments.ranks)
        kind = trial.how if not trial.error else f"{errno.errorcode[trial.error]}, {trial.how.removeprefix('fail ')}"
        table[kind, "otherwise" if wrong else "identical"] += 1
        if wrong:
            call = f"{trial.call} of rank {trial.rank} ({calls[trial.rank][trial.call - 1]})"
            sys.stdout.write(f"{kind} at call {call}: {'; '.join(wrong)}\n")
            sys.stdout.flush()
    _show(table)
    return int(any(outcome == "otherwise" for _, outcome in table))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["kill", "torn", "errors"], choices=["kill", "torn", "errors"])
    parser.add_argument(
        "--sample", type=int, help="that many trials of each kind, one drawn of each stretch of the run"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1, help="processes that train together; each is tried")
    return parser.parse_args()


def with_shim(module: str = "tests.system.crash") -> int:
    """Compile the shim and start again with it, and with the allocator's settings that a run has."""
    from trainer.cpus import ALLOCATOR

    with tempfile.TemporaryDirectory() as folder:
        shim = Path(folder) / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, SHIM, "-ldl"], check=True)
        environment = {**os.environ, **ALLOCATOR, "LD_PRELOAD": str(shim), "crash_shim": "1"}
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        return subprocess.run(command, env={**environment, "ACCELERATE_USE_CPU": "true"}, check=False).returncode


def images(root: Path) -> Path:
    from PIL import Image

    for split, count in (("train", 4), ("val", 2)):
        for label in ("a", "b"):
            folder = root / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (40 * number, 90 if label == "a" else 200, 30)).save(folder / f"{number}.JPEG")
    return root / "images"


def _trials(calls: Sequence[str], rank: int, arguments: argparse.Namespace) -> Iterator[Trial]:
    """Kill before each call; tear each write; for each place in the code, each error, passing and lasting."""
    every = range(1, len(calls) + 1)
    places = {_place(calls[number - 1]): number for number in reversed(every)}
    lists = {
        "kill": [Trial(how="kill", call=number, rank=rank) for number in every],
        "torn": [
            Trial(how="torn", call=number, rank=rank) for number in every if calls[number - 1].startswith("write")
        ],
        "errors": [
            Trial(how=how, call=number, error=error, rank=rank)
            for number in sorted(places.values())
            for error in ERRORS
            for how in ("fail once", "fail on")
        ],
    }
    drawn = random.Random(arguments.seed)
    for kind in arguments.kinds:
        trials = lists[kind]
        count = min(arguments.sample or len(trials), len(trials))
        ends = [len(trials) * stretch // count for stretch in range(count + 1)]
        yield from (trials[drawn.randrange(first, end)] for first, end in pairwise(ends))


def _place(call: str) -> str:
    """A traced call without the numbers in its path, so that the same line of code gives the same text."""
    return re.sub(r"\d+", "N", call)


def _tried(words: Sequence[str], root: Path, whole: Path, trial: Trial, ranks: int) -> list[str]:
    """What was wrong after the trial and the same command again."""
    run, log = root / "run", root / "log"
    for path in (run, log):
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    command = [*words, "--output", str(run)]
    codes = [start(command, run, trial, log, ranks=ranks)]
    alone = trial.error and ranks == 1
    said = judge.ending(codes[0][0], log.read_text(errors="replace"), run, trial.error) if alone else []
    codes.append(start(command, run, Trial(), log, ranks=ranks))
    if any(codes[1]):
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        return [f"exit codes {codes}", *said, *last]
    try:
        return [*said, *judge.faults(run, whole)]
    except Exception as error:  # whatever cannot be read back
        return [f"exit codes {codes}", *said, repr(error)]


def _show(table: Counter[tuple[str, str]]) -> None:
    sys.stdout.write(f"{'kind':24} {'instants':>9} {'identical':>10} {'otherwise':>10}\n")
    for kind in sorted({kind for kind, _ in table}):
        same, other = table[kind, "identical"], table[kind, "otherwise"]
        sys.stdout.write(f"{kind:24} {same + other:9} {same:10} {other:10}\n")


if __name__ == "__main__":
    sys.exit(main())
