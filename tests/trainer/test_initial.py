import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from data.plan.config import InputConfig
from launch.array import sweep
from models import export, factory, fitting, weights
from models.config import ModelConfig
from models.trace import skeleton
from models.weights import Origin
from tests.trainer.engines import RECIPE, built, context, together
from trainer import initial, preflight, sources
from trainer.checkpoint import store
from trainer.commands import cli
from trainer.engine.loop import fit
from trainer.initial import OtherWeightsError
from trainer.optim.config import EmaConfig
from trainer.recipe import recipes
from trainer.recipe.config import InitConfig, Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError, encode
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RunDirectory
from trainer.sources import locate
from trainer.train import OtherRecipeError, own_recipe
from trainer.world import World

SIX = ModelConfig(name="resnet20", num_classes=6)
SETTINGS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "eval_resize": 40, "eval_crop": 32}
PLAIN = Recipe(model=RECIPE.model, input=InputConfig())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights of six classes."""
    torch.manual_seed(7)
    network = factory.build(SIX)
    path = tmp_path / "six.safetensors"
    export.export(network, SIX, path, "safetensors", 32, Origin(input=SETTINGS))
    return path


def stored(file: Path) -> dict[str, Tensor]:
    return weights.read(file)[0]


def beginning(recipe: Recipe, file: Path | str, **init: str) -> Recipe:
    return replace(recipe, init=InitConfig(weights=str(file), **init))  # pyright: ignore[reportArgumentType]


def begun(file: Path, recipe: Recipe = RECIPE) -> Recipe:
    return initial.resolved(beginning(recipe, file))[0]


def test_a_run_begins_from_the_weights_but_for_a_classifier_of_other_classes(
    images: Path, file: Path, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    theirs = factory.build(SIX).state_dict()
    with built(images, tmp_path / "run", begun(file)) as one, built(images, tmp_path / "other") as other:
        ours, fresh = one.state.model.state_dict(), other.state.model.state_dict()
        assert one.state.ema
        averaged = one.state.ema.network.state_dict()
        for name, value in ours.items():
            expected = fresh[name] if name.startswith("fc.") else theirs[name]
            assert torch.equal(value, expected), name
            assert torch.equal(averaged[name], value), name


def test_a_frozen_backbone_is_that_of_the_weights_after_the_run_too(images: Path, file: Path, tmp_path: Path) -> None:
    recipe = begun(file)
    recipe = replace(recipe, init=replace(recipe.init, freeze=("backbone",)), global_batch=24, micro_batch=12)
    with built(images, tmp_path / "run", recipe) as training:
        before = {name: value.clone() for name, value in training.state.model.state_dict().items()}
        assert fit(training)
        after = training.state.model.state_dict()
    theirs = stored(file)
    assert {name for name in after if not torch.equal(after[name], before[name])} == {"fc.weight", "fc.bias"}
    assert all(torch.equal(after[name], theirs[name]) for name in after if not name.startswith("fc."))


def test_a_classifier_of_as_many_classes_is_kept_or_made_new(file: Path) -> None:
    torch.manual_seed(3)
    own, state = factory.build(SIX), stored(file)
    before = own.get_parameter("fc.weight").clone()
    assert not fitting.fit(own, state, SIX, None)
    assert torch.equal(own.get_parameter("fc.weight"), state["fc.weight"])
    fresh = factory.build(SIX)
    with torch.no_grad():
        fresh.get_parameter("fc.weight").copy_(before)
    assert fitting.fit(fresh, state, SIX, "new")
    assert torch.equal(fresh.get_parameter("fc.weight"), before)
    assert torch.equal(fresh.get_parameter("conv1.weight"), state["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["fc"]),
        ("inception_v3", ["fc", "AuxLogits.fc"]),
        ("ghostnet_100", ["fc"]),
        ("timm/deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
        ("torchvision/vgg11", ["classifier.6"]),
        ("torchvision/squeezenet1_1", ["classifier.1"]),
    ],
)
def test_the_classifier_of_every_kind_of_network_is_known(name: str, layers: list[str]) -> None:
    assert sorted(fitting.classifiers(skeleton(ModelConfig(name=name)))) == sorted(layers)


def test_what_the_recipe_leaves_at_its_defaults_follows_the_weights(file: Path) -> None:
    found, notes = initial.resolved(beginning(PLAIN, file))
    assert (found.input.mean, found.input.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert (found.input.train_size, found.input.eval_resize, found.input.eval_crop) == (32, 40, 32)
    assert re.match(r"begins from .*six.safetensors \(SHA-256 [0-9a-f]{12}\), with a new classifier of 4", notes[0])
    assert "train_size 32" in notes[1]
    sized, _ = initial.resolved(beginning(RECIPE, file))  # which states its sizes
    assert (sized.input.mean, sized.input.eval_resize) == ((0.5, 0.5, 0.5), 36)


def test_the_weights_content_and_not_their_path_is_part_of_the_experiment(file: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(file, tmp_path / "moved.safetensors"))
    first, second = begun(file), begun(moved)
    assert first.init.weights != second.init.weights
    assert first.init.sha256 == second.init.sha256 == initial.fingerprint(stored(file))
    assert recipe_hash(first) == recipe_hash(second) != recipe_hash(replace(first, init=InitConfig()))
    assert "init" not in encode(RECIPE)  # so that recipes without it keep their hash


def test_the_raw_weights_or_the_average_of_a_file_and_of_a_run_may_be_begun_from(tmp_path: Path, file: Path) -> None:
    raw, ema = stored(file), {name: value * 2 for name, value in stored(file).items()}
    torch.save({"model": raw, "model_ema": {f"module.{name}": value for name, value in ema.items()}}, tmp_path / "w")
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.begin(replace(PLAIN, model=SIX, ema=EmaConfig(decay=0.9)))
    store.write(run.checkpoints, 5, {"model": raw, "ema": ema, "about": {}})
    hashes = set[tuple[str, str]]()
    for source in (tmp_path / "w", run.path):
        for entry, expected in ((None, ema), ("ema", ema), ("raw", raw)):
            asked = replace(PLAIN, init=InitConfig(weights=str(source), entry=entry))
            found, notes = initial.resolved(asked)
            network = factory.build(PLAIN.model)
            initial.load(network, found)
            assert torch.equal(network.get_parameter("conv1.weight"), expected["conv1.weight"])
            assert found.init.sha256 == initial.fingerprint(expected)
            assert sources.adopted(asked, found) == found
            hashes.add((entry or "ema", recipe_hash(found)))
            taken = {"raw": "'model' of the file", "ema": "'model_ema.module' of the file"}[entry or "ema"]
            words = "its moving average" if source == run.path else taken
            assert any(f"took {words}" in note for note in notes) == (source != run.path or entry != "raw")
    assert len(hashes) == 2  # the weights count, and not how they were named


def test_an_entry_of_one_network_alone_is_refused(tmp_path: Path) -> None:
    init = InitConfig(weights="timm/resnet18", entry="raw")
    found = preflight.problems(
        replace(PLAIN, init=init),
        SiteConfig(data=tmp_path / "images", output=tmp_path / "run"),
        World(),
        with_data=False,
    )
    assert found == ["init.entry: timm/resnet18 is one network alone; leave it out"]


def test_the_next_start_needs_the_weights_no_more(images: Path, file: Path, tmp_path: Path) -> None:
    asked = beginning(PLAIN, file)
    first = begun(file, PLAIN)
    file.unlink()
    assert sources.adopted(asked, first) == first
    other = beginning(PLAIN, tmp_path / "other.safetensors")
    assert sources.adopted(other, first) == other
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.begin(first)
    site = SiteConfig(data=images, output=run.path)
    assert preflight.adopted(asked, site) == first
    assert preflight.begun(first, site) == (first, [])


def test_a_run_without_a_checkpoint_refuses_weights_that_have_changed(images: Path, file: Path, tmp_path: Path) -> None:
    recipe = begun(file)
    torch.manual_seed(8)
    export.export(factory.build(SIX), SIX, file, "safetensors", 32)
    with pytest.raises(OtherWeightsError, match=r"six\.safetensors, from which this run begins, has changed: its SHA"):
        initial.load(factory.build(RECIPE.model), recipe)
    file.unlink()
    with pytest.raises(OtherWeightsError, match="has changed"), built(images, tmp_path / "run", recipe):
        pass


@pytest.mark.parametrize(
    ("recipe", "init", "reason"),
    [
        (PLAIN, {"head": "keep"}, "fc: weight is [6, 64], not [4, 64]"),
        (
            replace(PLAIN, model=ModelConfig(name="torchvision/resnet18")),
            {},
            "another network: resnet20, not torchvision/resnet18",
        ),
        (PLAIN, {"sha256": "0" * 64}, "init.sha256: 000000"),
        (
            replace(PLAIN, model=ModelConfig(name="plain20", num_classes=4)),
            {},
            "another network: resnet20, not plain20",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(file: Path, recipe: Recipe, init: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidConfigError, match=re.escape(reason)) as refused:
        initial.resolved(beginning(recipe, file, **init))
    assert all(problem.startswith("init.") for problem in refused.value.problems)


def agreed(world: World, output: Path, recipes: list[list[Recipe]]) -> list[str]:
    said, made = list[str](), context(output, output, PLAIN, world)
    for each in recipes:
        try:
            own_recipe(each[world.rank], made.runtime, made.site)
            said.append("agreed")
        except OtherRecipeError as error:
            said.append(str(error).partition(",")[0])
    made.runtime.close()
    return said


def test_processes_that_read_other_weights_under_one_name_do_not_train_together(tmp_path: Path) -> None:
    one, other = (replace(PLAIN, init=InitConfig(weights="w.pth", sha256=64 * digit)) for digit in "01")
    moved = replace(PLAIN, init=replace(one.init, weights="/mnt/w.pth"))
    refused = "recipe: rank 1 has another one than rank 0"
    assert together(agreed, tmp_path, [[one, moved], [one, other]]) == [["agreed", refused]] * 2


@pytest.mark.parametrize("init", [InitConfig(weights=""), InitConfig(weights="w.pth", freeze=())])
def test_what_a_shell_has_left_empty_is_refused(init: InitConfig, tmp_path: Path) -> None:
    site = SiteConfig(data=tmp_path / "images", output=tmp_path / "run")
    found = preflight.problems(replace(PLAIN, init=init), site, World(), with_data=False)
    assert [problem.partition(": ")[2] for problem in found] == ["empty; leave it out or give a value"]


def test_a_run_from_timm_s_weights_trains_at_their_training_size(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **_: create(name))  # without a network to the hub
    recipe = Recipe(model=ModelConfig(name="timm/convnext_atto", num_classes=4))
    found, _ = initial.resolved(beginning(recipe, "timm/convnext_atto.d2_in1k"))
    assert (found.input.train_size, found.input.eval_crop) == (224, 288)


def test_a_run_at_another_image_size_resamples_position_embeddings_and_takes_its_sizes(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=64).state_dict(), tmp_path / "w.pth")
    model = ModelConfig(name="timm/vit_tiny_patch16_224", num_classes=4, img_size=32)
    found, notes = initial.resolved(beginning(Recipe(model=model), tmp_path / "w.pth"))
    assert notes[1] == "position embeddings resampled: pos_embed from 4x4 to 2x2"
    assert (found.input.train_size, found.input.eval_crop, found.input.eval_resize) == (32, 32, 32)
    assert preflight.size_problems(found) == []
    native = replace(found, model=replace(model, img_size=None))
    assert all("model.img_size builds it" in problem for problem in preflight.size_problems(native))
    assert len(preflight.size_problems(native)) == 2


def test_smoke_begins_from_random_weights_where_a_package_s_would_be_downloaded(tmp_path: Path) -> None:
    site = SiteConfig(data=tmp_path / "images", output=tmp_path / "run", smoke=True)
    asked = preflight.adopted(replace(recipes.load("linear_probe"), model=RECIPE.model), site)
    assert preflight.problems(asked, site, World(), with_data=False) == []
    found, notes = preflight.begun(asked, site)
    assert (found.init, len(notes)) == (InitConfig(freeze=("backbone",)), 1)
    RunDirectory(site.output).make()
    RunDirectory(site.output).begin(found)
    assert preflight.adopted(asked, site) == found  # the next start, which finds its own run
    assert preflight.problems(found, site, World(), with_data=False) == []


def test_smoke_refuses_what_the_run_would(tmp_path: Path) -> None:
    site = SiteConfig(data=tmp_path / "images", output=tmp_path / "run", smoke=True)
    for init in (InitConfig(weights="timm/resnet5O"), InitConfig(head="new")):
        assert preflight.problems(replace(PLAIN, init=init), site, World(), with_data=False)


@pytest.mark.parametrize(
    ("yaml", "flags", "mean", "eval_crop"),
    [
        ("", (), 0.5, 32),
        ("", ("--input.mean", "0.485", "0.456", "0.406"), 0.485, 32),
        ("", ("--input.eval_crop=224",), 0.5, 224),
        ("input: {mean: [0.485, 0.456, 0.406]}", (), 0.485, 32),
        ("init: {keep: [eval_resize]}", (), 0.5, 224),
    ],
)
def test_what_a_file_or_a_flag_states_wins_over_the_weights_though_it_is_the_default(
    file: Path, tmp_path: Path, yaml: str, flags: tuple[str, ...], mean: float, eval_crop: int
) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(f"model: {{name: resnet20, num_classes: 4}}\n{yaml}")
    words = ("train", str(recipe), "--data", "images", "--output", str(tmp_path / "run"), "--init.weights", str(file))
    asked = cli.parse([*words, *flags]).settings
    found, _ = initial.resolved(asked)
    assert (found.input.mean[0], found.input.eval_crop, found.init.keep) == (mean, eval_crop, None)
    assert sources.adopted(asked, found) == found
    (tmp_path / "sweep.yaml").write_text(
        f"recipe: own.yaml\nlist:\n- init: {{weights: {file}, keep: {[*(asked.init.keep or ())]}}}\n"
    )
    assert initial.resolved(sweep.load(tmp_path / "sweep.yaml")[0].recipe)[0] == found


def test_a_sweep_keeps_what_it_states(file: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        f"recipe: linear_probe\ngrid:\n  init.weights: [{file}]\n  input: [{{std: [0.229, 0.224, 0.225]}}]\n"
    )
    (task,) = sweep.load(tmp_path / "sweep.yaml")
    assert task.recipe.init.keep == ("std",)


def test_torchvision_s_inception_was_trained_on_other_pixels_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It scales those that it takes, where it has trained weights, which no other network of these weights does."""
    network = torchvision.models.resnet18()
    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, weights: network)  # noqa: ARG005 - no hub here
    for scales, mean in ((True, (0.5, 0.5, 0.5)), (False, (0.485, 0.456, 0.406))):
        network.transform_input = scales  # pyright: ignore[reportArgumentType]
        (_, origin), known = initial.read(locate("torchvision/inception_v3", None))
        assert known["mean"] == origin.input["mean"] == mean
        assert (known["eval_crop"], known["eval_resize"]) == (299, 342)
