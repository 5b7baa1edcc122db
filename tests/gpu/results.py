"""What a run on a GPU comes to: compiled, killed and resumed, evaluated, and beside the CPU."""

import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.gpu.stage import CLASSES, Check, Stage, guarded
from tests.system.running import last_step, points, records
from trainer.evaluation import predictions
from trainer.evaluation.predictions import Predictions
from trainer.rundir import RunDirectory

# `python -m trainer`, which then says how many graphs it compiled
COUNTING = """
import sys
from trainer.commands.cli import main
if __name__ == "__main__":
    code = main(sys.argv[1:])
    from torch._dynamo.utils import counters
    print("graphs:", counters["stats"]["unique_graphs"])
    sys.exit(code)
"""
LEARNED = 20  # steps of the runs that are compared, in two epochs
KILLED_AT = 11


def compiled(stage: Stage) -> Iterator[Check]:
    """Two image sizes compiled, beside the same steps eagerly; and what is refused."""
    yield from guarded("two sizes", _graphs(stage))
    for mode in ("reduce-overhead", "max-autotune"):
        yield from guarded(f"{mode} with accumulation", _refused(stage, mode))


def _graphs(stage: Stage) -> Iterator[Check]:
    start, side = stage.size.sides
    sizes = ("--input.start-size", start, "--input.train-size", side, "--input.growth-epochs", (0, 1))
    flags = (*_short(stage), *sizes)
    words = stage.training("compiled", *flags, "--compile", "default")
    eager, program = stage.start(stage.training("eager", *flags)), stage.start(words, launcher=("-c", COUNTING))
    graphs = program.end().rpartition("graphs: ")[2].strip()
    eager.end()
    yield Check(what=f"graphs for {start} and {side} px", figure=graphs, goal="2", passed=graphs == "2")
    ours, theirs = (np.array(_losses(stage.folder / name)) for name in ("compiled", "eager"))
    apart = float(np.max(np.abs(ours - theirs) / theirs))
    yield Check(what="losses beside eager", figure=f"{apart:.2%} apart", goal="at most 3 %", passed=apart <= 0.03)


def _refused(stage: Stage, mode: str) -> Iterator[Check]:
    parts = ("--micro-batch", _batch(stage) // 2, "--compile", mode)
    said = stage.run(stage.training("refused", *_short(stage), *parts), code=2)
    named = "max-autotune-no-cudagraphs" in said
    yield Check(what=f"{mode} with accumulation", figure="refused", goal="names what works", passed=named)


def deterministic(stage: Stage) -> Iterator[Check]:
    """A run that is killed and started again, beside one that is not."""
    words = [_learning(stage, name) for name in ("whole", "killed")]
    whole, first = map(stage.start, words)
    killed = stage.folder / "killed"
    while last_step(killed) < KILLED_AT and first.process.poll() is None:
        time.sleep(0.005)
    first.process.send_signal(signal.SIGKILL)
    first.end(code=-signal.SIGKILL)
    stage.run(words[1])
    whole.end()
    hashes = [_weights_hash(stage.folder / name) for name in ("whole", "killed")]
    starts = sum(record["kind"] == "start" for record in records(killed))
    same = hashes[0] == hashes[1] and starts == 2
    figure = f"{starts} starts, {hashes[0][:12]} and {hashes[1][:12]}"
    yield Check(what=f"weights after {LEARNED} steps, killed at {KILLED_AT}", figure=figure, goal="equal", passed=same)
    alike = points(stage.folder / "whole") == points(killed)
    yield Check(what="its records", figure="equal" if alike else "differ", goal="equal", passed=alike)


def evaluation(stage: Stage) -> Iterator[Check]:
    """The same weights evaluated by each loader, and on the CPU."""
    stage.run(_learning(stage, "whole"))  # says that it is finished, where an earlier section has trained it
    ways = {"threads": {}, **{loader: {} for loader in stage.backends}, "CPU": {"CUDA_VISIBLE_DEVICES": ""}}
    programs = {name: stage.start(_evaluate(stage, name), variables=hidden) for name, hidden in ways.items()}
    for program in programs.values():
        program.end()
    found = {name: predictions.load(stage.folder / f"by-{name}" / "predictions.npz") for name in ways}
    for name in ways:
        if name != "threads":
            most = 1e-3 if name == "CPU" else 0.05
            yield _apart(found["threads"], found[name], f"answers by threads beside {name}", most)


def _apart(ours: Predictions, theirs: Predictions, what: str, most: float) -> Check:
    losses = np.abs(ours.losses - theirs.losses)
    others = int((ours.answers[:, 0] != theirs.answers[:, 0]).sum())
    return Check(
        what=what,
        figure=f"losses {losses.max():.2g} apart, {others} of {len(ours)} answers differ",
        goal=f"at most {most:g}; 5 % of the answers",
        passed=bool(losses.max() <= most and others <= 0.05 * len(ours)),
    )


def _evaluate(stage: Stage, name: str) -> list[str]:
    loader = "threads" if name == "CPU" else name
    words = ("--data", stage.images, "--output", stage.folder / f"by-{name}", "--precision", "fp32")
    return ["evaluate", str(stage.folder / "whole"), *map(str, words), "--loader", loader]


def _learning(stage: Stage, run: str) -> list[str]:
    return [*stage.training(run, *_short(stage), "--save-steps", 5), "--deterministic"]


def _short(stage: Stage) -> tuple[object, ...]:
    batch = _batch(stage)
    return ("--epochs", 2, "--global-batch", batch, "--micro-batch", batch)


def _batch(stage: Stage) -> int:
    """Images of a step, so that two epochs of the drawn images have LEARNED steps."""
    return CLASSES * stage.size.drawn * 2 // LEARNED


def _losses(run: Path) -> list[float]:
    return [record["loss"] for record in records(run) if record["kind"] == "train"]


def _weights_hash(run: Path) -> str:
    return hashlib.sha256(RunDirectory(run).weights.read_bytes()).hexdigest()
