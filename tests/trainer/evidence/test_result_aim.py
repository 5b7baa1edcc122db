import math
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.catalog import dataset
from tests import commands
from tests.data.known_sets import Pair, cifar10, imagenet
from tests.system.running import train
from trainer.console import Console
from trainer.context import RunContext
from trainer.engine import build
from trainer.evaluation import predictions
from trainer.evaluation.protocol import parse
from trainer.evidence import result
from trainer.recipe import recipes
from trainer.recipe.config import SiteConfig
from trainer.runtime import Runtime
from trainer.sources import PREDICTIONS
from trainer.stopping import StopFlag, StopRequestedError
from trainer.world import World

WANTED = parse("ten-crop-28/36+bicubic")


def resized_copy(pair: Pair) -> Pair:
    train, val = pair
    return replace(train, sizes=train.sizes // 4), val


@pytest.mark.parametrize(
    ("recipe", "images", "expected"),
    [
        ("plain34", imagenet, "ten-crop-224/256"),
        ("resnet50_fast16", imagenet, "center-256/292+flip"),
        ("resnet50_a1", imagenet, None),
        ("resnet50", imagenet, None),  # which measures as its aim does
        ("plain34", cifar10, None),
        ("plain34", lambda: resized_copy(imagenet()), None),
        ("demo", imagenet, None),
    ],
)
def test_the_aim_s_protocol_is_wanted_where_the_images_are_the_aim_s(recipe: str, images, expected: str | None) -> None:
    found = result.aimed_protocol(recipes.load(recipe), images())
    assert (found.name if found else None) == expected


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "averaged"
    train(images, run, "--epochs", "2", "--ema.decay", "0.9")
    return run


@pytest.fixture
def context(finished: Path, images: Path) -> Iterator[RunContext]:
    recipe = recipes.load(str(finished / "recipe.yaml"))
    site = SiteConfig(data=images, output=finished)
    runtime = Runtime(World(), recipe.precision, threads=1)
    yield RunContext(recipe=recipe, site=site, runtime=runtime, stop=StopFlag(), console=Console())
    runtime.close()


@pytest.mark.slow
def test_a_finished_run_is_measured_as_the_command_would(context: RunContext, images: Path) -> None:
    run, runtime = context.run, context.runtime
    state = build.train_state(context.recipe, context.site, runtime)
    build.restore(state, context.recipe, run.checkpoints, runtime)
    pooling = state.networks[-1].avgpool
    found = dataset.find(images)
    both = found.manifest(run.path, "train"), found.manifest(run.path, "val")
    result.measure_by(context, state, both, WANTED)
    assert state.networks[-1].avgpool is pooling
    place = run.path / "evaluations" / "val-ten-crop-28_36+bicubic"
    ours = predictions.load(place / PREDICTIONS)
    done = commands.run(
        *("trainer", "evaluate", run.path, "--data", images, "--protocol", WANTED.name, "--threads", "1"),
        *("--output", run.path / "again"),
    )
    assert done.returncode == 0, done.stderr
    theirs = predictions.load(run.path / "again" / PREDICTIONS)
    for column in predictions.COLUMNS:
        assert np.array_equal(getattr(ours, column), getattr(theirs, column)), column
    assert ours.about["weights"] == theirs.about["weights"] == "ema"
    assert ours.about["weights_sha256"] == theirs.about["weights_sha256"]
    assert ours.about["top1"] == theirs.about["top1"]
    assert not math.isnan(ours.about["loss"])


@pytest.mark.slow
def test_a_stop_is_heard(context: RunContext, images: Path) -> None:
    state = build.train_state(context.recipe, context.site, context.runtime)
    found, run = dataset.find(images), context.run.path
    both = found.manifest(run, "train"), found.manifest(run, "val")
    before = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
    }
    try:
        context.stop.install()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StopRequestedError):
            result.measure_by(context, state, both, WANTED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
