"""The public functions: what a stranger types, and what goes wrong."""

import dataclasses
import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from data.load.backends import UnusableBackendError
from tests.commands import HANGS_S
from tests.limits import full_disk
from trainer import api
from trainer.checkpoint import files
from trainer.checkpoint.holder import Hold
from trainer.engine.build import train_state
from trainer.exits import BAD_INPUT, FAILED
from trainer.failures import raising
from trainer.recipe.config import Recipe, SiteConfig
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "trainer" / "API.md").read_text()
SMALL = {"model.name": "resnet20", "model.num_classes": 4, "global_batch": 16, "micro_batch": 8, "epochs": 2}
SIZES = {"input": {"train_size": 32, "eval_resize": 36, "eval_crop": 32}}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return api.recipe("demo", {**SMALL, **SIZES})


@pytest.fixture(scope="module")
def own(recipe: Recipe, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of a loop of one's own, that has trained nothing."""
    run = tmp_path_factory.mktemp("own") / "run"
    api.loader(recipe, images, run=run).close()
    api.save_state(run, 3, {"model": api.network(recipe).state_dict(), "more": [1, {"a": 2.5}]})
    return run


def rows(title: str) -> dict[str, str]:
    """First and second column of a table of the page."""
    table = PAGE.split(title)[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(.+?)` \| (.*) \|$", table, re.MULTILINE))


def shown(parameter: inspect.Parameter) -> str:
    return str(parameter.replace(annotation=inspect.Parameter.empty))


def test_the_page_lists_every_public_name_with_its_parameters_and_no_other() -> None:
    functions, types = rows("| function | gives |"), rows("| type | has |")
    assert {*(text.split("(")[0] for text in functions), *types} == {*api.__all__}
    for text in functions:
        signature = inspect.signature(getattr(api, text.split("(")[0]))
        plain = signature.replace(
            parameters=[one.replace(annotation=one.empty) for one in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        assert text.split("(", 1)[1] == str(plain)[1:].replace("'", '"')


@pytest.mark.parametrize("name", ["Accuracy", "Answer", "Prediction", "Loader"])
def test_the_page_names_every_field_and_method_of_a_type(name: str) -> None:
    kind = getattr(api, name)
    public = {one for one in (*vars(kind), *kind.__annotations__) if not one.startswith("_")} - {"count", "index"}
    assert {one for one in public if not re.search(rf"`{one}\b", rows("| type | has |")[name])} == set()


def test_a_type_checker_sees_the_types_from_outside_and_takes_the_page_s_code(tmp_path: Path) -> None:
    for room in ("launch", "trainer", "models", "data"):
        assert (ROOT / room / "py.typed").is_file()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = 'import sys\nimport torch\nfrom trainer import api\nrun, data, recipe = "run", "data", api.recipe("demo")\n'
    names += "network = api.network(recipe)\noptimizer = torch.optim.SGD(network.parameters())\n"
    (tmp_path / "page.py").write_text(names + "".join(blocks))
    (tmp_path / "wrong.py").write_text('from trainer import api\nstep: str = api.load_state("run")[0]\n')
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_S, cwd=tmp_path)
    problems = json.loads(done.stdout)["generalDiagnostics"]
    assert [(Path(one["file"]).name, one["rule"]) for one in problems] == [("wrong.py", "reportAssignmentType")]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"name": "resnet5O"}, "recipe: 'resnet5O' is unknown; did you mean resnet50?"),
    "no file": ({"name": "own/short.yaml"}, "recipe: 'own/short.yaml' is unknown; no such file"),
    "field": ({"settings": {"epoch": 2}}, "epoch: unknown; did you mean epochs?"),
    "below a number": ({"settings": {"epochs.x": 2}}, "epochs: {'x': 2}; expected a whole number"),
    "type": ({"settings": {"optimizer.lr": "0.1"}}, "optimizer.lr: '0.1'; expected a number; write 0.1 without quotes"),
    "range": ({"settings": {"optimizer": {"lr": -1.0}}}, "optimizer.lr: -1.0; must be above 0"),
    "network": ({"settings": {"model.name": "resnet5"}}, "model.name: 'resnet5' is unknown"),
    "batches": ({"settings": {"micro_batch": 7}}, "micro_batch: 7 does not divide global_batch: 64"),
}


@pytest.mark.parametrize(("typed", "message"), REFUSED.values(), ids=REFUSED)
def test_a_recipe_is_refused_in_the_words_of_the_command(typed: dict[str, Any], message: str) -> None:
    with pytest.raises(api.ProvenetError, match=re.escape(message)) as refused:
        api.recipe(**{"name": "demo", **typed})
    assert refused.value.code == BAD_INPUT


def test_settings_replace_values_of_the_file_alone(recipe: Recipe, tmp_path: Path) -> None:
    assert (recipe.model.name, recipe.input.train_size, recipe.epochs) == ("resnet20", 32, 2)
    plain = api.recipe("demo")
    assert api.recipe("demo", {"epochs": plain.epochs + 1}) == dataclasses.replace(plain, epochs=plain.epochs + 1)
    (tmp_path / "own.yaml").write_text("{optimizer: {name: adamw, lr: 0.1}}")
    own = api.recipe(tmp_path / "own.yaml", {"optimizer.weight_decay": 0.5, "clip_norm": None})
    assert (own.optimizer.name, own.optimizer.lr, own.optimizer.weight_decay) == ("adamw", 0.1, 0.5)
    begun = api.recipe("demo", {"init.weights": "w.pt", "input.mean": [0.485, 0.456, 0.406]})
    assert begun.init.keep == ("mean", "train_size", "eval_resize", "eval_crop")  # which one of both states


def test_the_network_is_the_one_that_a_run_begins_with(recipe: Recipe, images: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    built = api.network(recipe)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert built.training
    site = SiteConfig(data=images, output=tmp_path)
    theirs = train_state(recipe, site, Runtime(World(), "fp32", 1)).model.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in built.state_dict().items())


def test_a_network_begins_from_the_recipe_s_weights(own: Path, recipe: Recipe) -> None:
    init = {"init.weights": str(own), "init.freeze": ["backbone"], "seed": 5}
    built = api.network(api.recipe("demo", {**SMALL, **SIZES, **init}))
    assert all(
        torch.equal(one, other) for one, other in zip(built.parameters(), api.network(recipe).parameters(), strict=True)
    )
    assert [name for name, weight in built.named_parameters() if weight.requires_grad] == ["fc.weight", "fc.bias"]


def test_a_loader_s_shards_and_the_rest_of_an_epoch_are_the_whole_one_s(recipe: Recipe, images: Path) -> None:
    with api.loader(recipe, images, threads=1) as loader:
        whole = [batch.indices for batch in loader.epoch(1)]
        rest = [batch.indices for batch in loader.epoch(1, 8)]
        assert loader.batches_per_epoch == len(whole) == 12
        assert loader.classes == tuple(sorted(path.name for path in (images / "train").iterdir()))
        first = next(loader.epoch(0))
        inputs, targets = loader.inputs(first)
    assert torch.cat(whole).unique().numel() == 96
    assert all(map(torch.equal, rest, whole[8:]))
    assert (inputs.shape, inputs.dtype) == ((8, 3, 32, 32), torch.float32)
    assert torch.equal(targets, first.targets)
    with api.loader(recipe, images, threads=1, shard=(1, 2)) as second:
        assert all(map(torch.equal, [batch.indices for batch in second.epoch(1)], whole[1::2]))


def test_images_are_mixed_where_the_recipe_mixes_them_and_in_training_alone(images: Path) -> None:
    recipe = api.recipe("demo", {**SMALL, **SIZES, "mixing.mixup": 0.8})
    for split, shape in (("train", (8, 4)), ("val", (64,))):
        with api.loader(recipe, images, split=split, threads=1) as loader:  # pyright: ignore[reportArgumentType]
            assert loader.inputs(next(loader.epoch(0)))[1].shape == shape


def test_val_has_each_image_once(recipe: Recipe, images: Path) -> None:
    with api.loader(recipe, images, split="val", threads=1) as loader:
        valid = torch.cat([batch.indices[batch.valid] for batch in loader.epoch(0)])
    assert valid.tolist() == [*range(80)]


LOADERS: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": "nowhere"}, "--data: nowhere does not exist; expected DATA/train/<class>"),
    "setting": ({"save_minutes": 2}, "save_minutes: unknown; known: loader, threads"),
    "typing error": ({"theads": 2}, "theads: unknown; known: loader, threads"),
    "split": ({"split": "test"}, "split: 'test'; known: train, val"),
    "shard": ({"shard": (2, 2)}, "shard: (2, 2); must be a rank from 0, and how many"),
    "shards": ({"shard": (0, 3)}, "micro_batch: 8 images on each of 3 processes"),
    "inside": ({"run": "images/run"}, "lies in the images' folder"),
    "threads": ({"threads": 0}, "threads: 0; must be at least 1"),
}


@pytest.mark.parametrize(("typed", "message"), LOADERS.values(), ids=LOADERS)
def test_a_loader_is_refused_in_the_words_of_the_command(
    typed: dict[str, Any], message: str, recipe: Recipe, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(api.ProvenetError, match=re.escape(message)):
        api.loader(recipe, **{"data": images, **typed})


def test_a_directory_keeps_its_recipe_and_its_images(own: Path, recipe: Recipe, images: Path) -> None:
    with pytest.raises(api.ProvenetError, match=r"holds a run of another recipe\n.*epochs: 2 there, 3 asked for"):
        api.loader(dataclasses.replace(recipe, epochs=3), images, run=own)
    api.loader(recipe, images, run=own).close()


def test_a_state_comes_back_as_it_was(own: Path, recipe: Recipe) -> None:
    step, state = api.load_state(own)
    assert (step, state["more"], sorted(state)) == (3, [1, {"a": 2.5}], ["model", "more"])
    api.network(recipe).load_state_dict(state["model"])
    assert api.load_state(own / "nowhere") == (0, {})


def test_a_full_disk_leaves_the_older_state(tmp_path: Path) -> None:
    api.save_state(tmp_path, 1, {"model": {"weight": torch.ones(1)}})
    with (
        full_disk(20_000),
        pytest.raises(api.ProvenetError, match="the checkpoint of step 2 was not written: ") as error,
    ):
        api.save_state(tmp_path, 2, {"model": {"weight": torch.ones(100_000)}})
    assert error.value.code == FAILED
    assert api.load_state(tmp_path)[0] == 1


def test_a_newer_version_s_state_is_not_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        api.save_state(tmp_path, step, {"model": {"weight": torch.ones(1)}})
    manifest = files.place(tmp_path / "checkpoints", 2) / files.MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"schema": {files.SCHEMA}', f'"schema": {files.SCHEMA + 1}'))
    with pytest.raises(api.ProvenetError, match=r"schema \d+, this version reads up to"):
        api.load_state(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": {"step": 3}}, "expected tensors by name as model"),
        ({"state": {"model": {"weight": 3}}}, "expected tensors by name as model"),
        ({"state": {"model": {}, "when": Path()}}, "state: when: a checkpoint holds tensors and plain values"),
        ({"step": -1}, "step: -1; must be at least 0"),
        ({"keep": 0}, "keep: 0; must be at least 1"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(api.ProvenetError, match=message):
        api.save_state(**{"run": tmp_path, "step": 1, "state": {"model": {}}, **given})
    assert api.load_state(tmp_path) == (0, {})


def test_the_newest_states_are_kept(tmp_path: Path) -> None:
    for step in range(4):
        api.save_state(tmp_path, step, {"model": {"weight": torch.tensor([step])}}, keep=2)
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["step-0000000002", "step-0000000003"]


def test_a_loop_s_directory_is_evaluated_and_predicts(
    own: Path, images: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = api.evaluate(own, images, threads=1)
    assert (found.images, found.facts["model"], found.facts["broken"]) == (80, "resnet20", 0)
    assert (own / "evaluations").is_dir()

    paths = sorted((images / "val").glob("*/*"))[:2]
    (broken := tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(api.ProvenetError, match=r"broken\.jpg: not an image"):
        api.predict(own, [*paths, broken], threads=1)
    (first, classes), second, (last, none) = api.predict(own, [*paths, broken], topk=2, threads=1, max_broken=0.5)
    assert [first, second.image, last] == [*map(str, paths), str(broken)]
    assert [len(classes), none] == [2, ()]
    assert classes[0].name.startswith("n0")
    assert 1 >= classes[0].probability >= classes[1].probability > 0
    assert api.predict(own, str(paths[0]), topk=2, threads=1) == [(first, classes)]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"weights": "runs/none"}, "WEIGHTS: 'runs/none' names no weights; name a run directory"),
        ({"images": "nowhere.jpg"}, "IMAGES: nowhere.jpg does not exist"),
        ({"topk": 0}, "topk: 0; must be at least 1"),
        ({"labels": "real"}, "labels: does not apply to images without labels"),
        ({"protocol": "centre"}, "--protocol: 'centre' is unknown"),
    ],
)
def test_a_prediction_is_refused_in_the_words_of_the_command(words: dict[str, Any], message: str, own: Path) -> None:
    with pytest.raises(api.ProvenetError, match=re.escape(message)):
        api.predict(**{"weights": own, "images": "nowhere.jpg", **words})


def test_train_is_refused_in_the_words_of_the_command(recipe: Recipe, images: Path, tmp_path: Path) -> None:
    refused = {
        "--data: .*nowhere does not exist": {"data": tmp_path / "nowhere"},
        "thread: unknown; did you mean threads": {"thread": 2},
        "log_every: 'x'; expected a whole number": {"log_every": "x"},
    }
    for message, given in refused.items():
        with pytest.raises(api.ProvenetError, match=message) as error:
            api.train(recipe, **{"data": images, "output": tmp_path / "run", **given})
        assert error.value.code == BAD_INPUT
    assert not (tmp_path / "run").exists()


def test_train_names_who_uses_its_directory(recipe: Recipe, images: Path, tmp_path: Path) -> None:
    held = Hold.take(RunDirectory(tmp_path).holder, print, StopFlag().check)
    with held, pytest.raises(api.ProvenetError, match=r"^--output: .* is in use by process \d+") as refused:
        api.train(recipe, images, tmp_path, threads=1, quiet=True)
    assert refused.value.code == BAD_INPUT


def test_an_expected_error_becomes_one_type_and_others_pass() -> None:
    with pytest.raises(api.ProvenetError, match=r"^no DALI$") as error, raising():
        raise UnusableBackendError("no DALI")
    assert error.value.code == FAILED
    with pytest.raises(KeyError), raising():
        raise KeyError("a bug")
    other = pickle.loads(pickle.dumps(api.ProvenetError("stopped", 75)))
    assert (str(other), other.code) == ("stopped", 75)
