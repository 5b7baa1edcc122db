import json

import numpy as np
import pytest

from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Shard
from tests.data.making import imagined
from tests.trainer.evidence import states
from tests.trainer.evidence.runs import recipe
from trainer.evidence.result import result_of
from trainer.evidence.run_record import read
from trainer.optim.config import EmaConfig
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory

RAW = {"top1": 50.0, "top5": 90.0, "loss": 1.5, "images": 10, "broken": 0}


def result(recipe: Recipe, scores: dict[str, dict[str, float]]) -> dict[str, object]:
    images = imagined(np.full(512, 64), np.full(512, 48))
    train = TrainPlan(manifest=images, config=recipe.input, seed=0, global_batch=256, micro_batch=32, shard=Shard())
    val = EvalPlan(manifest=images, views=EvalViews.of(recipe.input), batch=256, shard=Shard())
    return result_of(recipe, states.state(step=3, scores=scores), train, val)


@pytest.mark.parametrize(("name", "protocol"), [("resnet50", "center-224/256"), ("cifar_resnet20", "center-32/32")])
def test_a_result_names_its_protocol_and_its_data_set(name: str, protocol: str) -> None:
    found = result(recipe(name), {"raw": RAW})
    assert (found["protocol_name"], found["data_set"]) == (protocol, None)
    assert found["images_seen"] == 768


def test_of_an_average_the_result_is_the_average_s() -> None:
    found = result(recipe(ema=EmaConfig(decay=0.9)), {"raw": RAW, "ema": {**RAW, "top1": 60.0}})
    assert (found["top1"], found["raw_weights"]) == (60.0, RAW)


def test_a_report_reads_what_a_result_says(tmp_path) -> None:
    run = RunDirectory(tmp_path)
    run.make()
    run.begin(recipe())
    run.result.write_text(json.dumps(result(recipe(), {"raw": RAW})))
    score = read(run).accuracy
    assert score
    assert (score.protocol, score.top1, score.weights, score.images) == ("center-224/256", 50.0, "raw", 10)
