"""How fast the engine and whole runs are beside what the card can do."""

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.config import BenchConfig
from tests.benchmarks.measures import Bench, Measure
from tests.benchmarks.pairs import Pair
from tests.gpu.stage import Check, Stage, guarded, pace
from trainer.rundir import RunDirectory

WARM_UP = 3  # points: the loader fills, cuDNN tries its algorithms
EQUAL = 0.98  # of the best: rates that are as good as the same


def engine(stage: Stage) -> Iterator[Check]:
    """Our loop beside a bare one on a resident batch, both with cuDNN's benchmark mode."""
    rate, _, memory = pairs(stage, "engine")
    (stage.folder / "resident.figure").write_text(str(rate.ours))
    figure = f"{rate.ratio:.3f}: {rate.ours:,.0f} beside {rate.theirs:,.0f} images/s"
    yield Check(what=rate.what, figure=figure, goal="at least 0.98", passed=rate.ratio >= 0.98)
    yield Check(what=memory.what, figure=f"{memory.ratio:.3f}: {memory.ours:,.0f} beside {memory.theirs:,.0f} MB")


def end_to_end(stage: Stage) -> Iterator[Check]:
    """Whole runs by each loader, the default first, beside the rate on a resident batch."""
    resident = stage.remembered("resident", lambda: pairs(stage, "engine")[0].ours)
    default = _timed(stage, "default")
    chosen = next(record["loader"] for record in RunDirectory(default).records() if record["kind"] == "start")
    rates: dict[str, float] = {}
    for loader in sorted({chosen, "threads", *stage.backends}, key=lambda loader: loader != chosen):
        yield from guarded(f"a run by {loader}", _by_loader(stage, loader, chosen, resident, rates))
    (rate, waiting), best = pace(default, WARM_UP), max(rates.values())
    stage.remembered("end-to-end", lambda: rate)
    figure = f"{best / resident:.3f} of {resident:,.0f} images/s"
    yield Check(what="the best of them", figure=figure, goal="at least 0.97", passed=best >= 0.97 * resident)
    figure = f"{rate / best:.3f} of the best, waiting {waiting:.1%}"
    passed = rate >= EQUAL * best and waiting <= 0.03
    yield Check(what="the default", figure=figure, goal="as fast as the best, waiting at most 3 %", passed=passed)


def _by_loader(stage: Stage, loader: str, chosen: str, resident: float, rates: dict[str, float]) -> Iterator[Check]:
    run = stage.folder / "default" if loader == chosen else _timed(stage, loader, "--loader", loader)
    rates[loader], waiting = pace(run, WARM_UP)
    figure = f"{rates[loader]:,.0f} images/s, {rates[loader] / resident:.3f} of resident; waiting {waiting:.1%}"
    yield Check(what=f"a run by {loader}" + ", the default" * (loader == chosen), figure=figure)


def micro_batch(stage: Stage) -> Iterator[Check]:
    """What it costs to accumulate over small micro-batches, as published recipes do."""
    size = stage.size
    whole = stage.remembered("end-to-end", lambda: pace(_timed(stage, "default"), WARM_UP)[0])
    parts, _ = pace(_timed(stage, "parts", "--micro-batch", size.micro_batch), WARM_UP)
    what = f"{size.batch // size.micro_batch} micro-batches of {size.micro_batch} beside one of {size.batch}"
    yield Check(what=what, figure=f"{parts / whole:.3f}: {parts:,.0f} beside {whole:,.0f} images/s")


def pairs(stage: Stage, measure: Measure) -> list[Pair]:
    """One of the bench's own measures."""
    size = stage.size
    config = BenchConfig(batch=size.batch, image_size=size.side, rounds=size.rounds, steps=size.steps)
    folder = stage.folder / "bench"
    folder.mkdir(exist_ok=True)
    return Bench(config=config, folder=folder, data=None, scripts={}).pairs(measure, size.network)


def _timed(stage: Stage, name: str, *flags: object) -> Path:
    """A run over all listed images, some eighty steps, with a point each few."""
    place = stage.folder / name
    log_every = max(1, stage.size.steps // 4)
    timed = ("--log-every", log_every, *flags)
    stage.run(stage.training(name, *timed, manifests=stage.repeated, network=stage.size.network))
    return place
