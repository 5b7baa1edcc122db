import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.types import BrokenImage
from tests.data.making import imagined
from tests.trainer.evidence.runs import RESULT, evaluate, recipe, write
from trainer.evidence.run_record import follows, read
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RunDirectory


def keep_manifests(run: RunDirectory, broken: int) -> None:
    for split in ("train", "val"):
        images = imagined(np.full(10, 64), np.full(10, 48))
        lost = tuple(BrokenImage(f"{split}{number}.JPEG", "truncated") for number in range(broken))
        replace(images, broken=lost).save(run.manifest(split))


def test_a_run_follows_the_recipe_of_its_network_with_the_fewest_other_fields() -> None:
    named = follows(recipe("resnet50_v1", seed=7, epochs=80))
    assert named
    assert (named.name, named.departures) == ("resnet50_v1", [("epochs", 90, 80)])


def test_the_seed_is_no_departure() -> None:
    named = follows(recipe("resnet50", seed=7))
    assert named
    assert (named.name, named.departures) == ("resnet50", [])


def test_a_network_that_no_recipe_trains_follows_none() -> None:
    assert follows(replace(Recipe(), model=replace(Recipe().model, name="timm/convnext_small"))) is None


def test_the_images_are_told_from_the_manifests(tmp_path: Path) -> None:
    run = write(tmp_path, recipe())
    keep_manifests(run, broken=2)
    found = read(run)
    assert found.images.data is None
    assert found.images.why == "its 5 classes are those of no published data set"
    assert (found.images.splits["train"].images, len(found.images.splits["val"].broken)) == (10, 2)
    assert len(found.sha256("val") or "") == 64


def test_without_manifests_the_result_says_which_images(tmp_path: Path) -> None:
    found = read(write(tmp_path, recipe(), result=RESULT))
    assert (found.images.data, found.images.splits) == ("imagenet-1k", {})
    assert found.sha256("val") == "v"


def test_a_result_of_before_protocols_had_names_has_its_recipe_s(tmp_path: Path) -> None:
    old = {name: value for name, value in RESULT.items() if name != "data_set"}
    found = read(write(tmp_path, recipe(), result=old))
    assert found.accuracy
    assert (found.accuracy.protocol, found.accuracy.top1, found.images.data) == ("center-224/256", 76.2, None)


def test_evaluations_come_newest_first(tmp_path: Path) -> None:
    run = write(tmp_path, recipe(), result=RESULT)
    for age, top1 in ((20, 75.0), (0, 76.0), (10, 77.0)):
        file = evaluate(run, f"{top1}", top1=top1, broken=3, label_set="real")
        os.utime(file, (1000 - age, 1000 - age))
    found = read(run).evaluations
    assert [score.top1 for score in found] == [76.0, 77.0, 75.0]
    assert (found[0].broken, found[0].labels, found[0].interval) == (3, "real", (75.63, 76.37))


def test_an_accuracy_carries_what_it_is_of(tmp_path: Path) -> None:
    run = write(tmp_path, recipe(seed=3), result=RESULT)
    evaluate(run, "now", protocol="ten-crop-224/256", weights="ema", commit="later", train_sha256="t")
    found = read(run)
    result, later = found.accuracy, found.evaluations[0]
    assert result
    assert (result.images_seen, result.protocol, result.weights) == (115_200_000, "center-224/256", "raw")
    assert (result.commit, result.train_sha256, result.val_sha256) == ("abc", "t", "v")
    assert (later.protocol, later.weights, later.labels, later.commit) == ("ten-crop-224/256", "ema", "val", "later")
    assert (later.train_sha256, later.val_sha256, later.weights_sha256) == ("t", "v", "w")
    for accuracy in (result, later):
        assert (accuracy.seed, accuracy.recipe_sha256) == (3, recipe_hash(found.recipe))


def test_a_result_without_a_field_that_is_reported_is_damaged(tmp_path: Path) -> None:
    torn = {name: value for name, value in RESULT.items() if name not in ("best_top1", "val_images")}
    run = write(tmp_path, recipe(), result=torn)
    with pytest.raises(InvalidConfigError, match=r"result\.json: damaged \(no best_top1, val_images\)"):
        read(run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.yaml", "epochs: many"),
        ("result.json", "{"),
        ("result.json", "{}"),
        ("result.json", '{"top1": "high", "top5": 1}'),
        ("manifest-train.npz", "junk"),
        ("evaluations/now/evaluation.json", "{}"),
        ("evaluations/now/evaluation.json", '{"schema": 9}'),
        ("result.json", '{"schema": 9}'),
        ("metrics.jsonl", '{"kind": "start", "step": 0, "schema": 9}\n'),
        ("evaluations/now/evaluation.json", json.dumps({"top1": 1, "top1_interval": 3})),
        ("model.safetensors", "junk"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: str) -> None:
    run = write(tmp_path, recipe(), result=RESULT)
    keep_manifests(run, broken=0)
    evaluate(run, "now")
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidConfigError, match=name):
        read(run)
