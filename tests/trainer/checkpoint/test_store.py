import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from models import factory, weights
from models.config import ModelConfig
from trainer.checkpoint import files, store
from trainer.checkpoint.files import MODEL, STATE


def tree(step: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((3,), float(step))}, "about": {"model": "resnet18"}, "step": step}


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        store.write(folder, step, tree(step))


def newest(folder: Path) -> int | None:
    state = store.load_newest(folder)
    return state["step"] if state else None


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and bits(left) == bits(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, 9, 10, 100)
    state = store.load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 100
    assert state["model"]["w"].tolist() == [100.0] * 3


def test_a_folder_without_checkpoints_gives_none(tmp_path: Path) -> None:
    assert store.load_newest(tmp_path) is None
    assert store.load_newest(tmp_path / "missing") is None


WEIGHTS = {
    "conv": torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "strange": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    "batches": torch.tensor(7),
    "half": torch.randn(3, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "none": torch.empty(0, 3),
    "flag": torch.tensor([True, False]),
}


@pytest.mark.parametrize("extra", [{}, {"ema": WEIGHTS}, {"ema": {}}], ids=["raw", "ema", "empty ema"])
def test_a_tree_comes_back_bit_for_bit(tmp_path: Path, extra: dict[str, Any]) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "momentum": WEIGHTS["conv"]}}, "groups": [{"lr": 0.1}]}
    rest = {"optimizer": optimizer, "scaler": None, "pair": (1, "a"), "sums": torch.zeros(5, dtype=torch.float64)}
    given = {
        "model": WEIGHTS,
        "about": {"model": json.dumps(asdict(ModelConfig(name="resnet18")))},
        "step": 3,
        **rest,
        **extra,
    }
    store.write(tmp_path, 3, given)
    assert same(store.load_newest(tmp_path), given)


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    files = [store.write(tmp_path / str(number), 1, tree(1)) / MODEL for number in range(8)]
    assert len({file.read_bytes() for file in files}) == 1  # safetensors shuffles metadata anew each time


def test_tied_weights_are_stored_once_each(tmp_path: Path) -> None:
    tied = torch.arange(6.0)
    store.write(tmp_path, 1, {"model": {"a": tied, "b": tied, "part": tied[2:4]}, "about": {}})
    state = store.load_newest(tmp_path)
    assert state is not None
    assert {name: value.tolist() for name, value in state["model"].items()} == {
        "a": [0, 1, 2, 3, 4, 5],
        "b": [0, 1, 2, 3, 4, 5],
        "part": [2, 3],
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """Our resnet18 with statistics that are not the initial ones, channels last, and its checkpoint's weights."""
    config = ModelConfig(name="resnet18", num_classes=10)
    torch.manual_seed(0)
    network = factory.build(config).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    network(torch.randn(4, 3, 64, 64))
    state = {"model": network.state_dict(), "about": {"model": json.dumps(asdict(config))}, "step": 1}
    path = store.write(tmp_path_factory.mktemp("trained"), 1, state)
    return network.eval().to(memory_format=torch.contiguous_format), path / MODEL  # pyright: ignore[reportCallIssue]


def equal_logits(left: nn.Module, right: nn.Module) -> bool:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.equal(left(images), right.eval()(images))


def test_torchvision_loads_the_weights(trained: tuple[nn.Module, Path]) -> None:
    network, file = trained
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.load_state_dict(safetensors.torch.load_file(file), strict=True)
    assert equal_logits(network, theirs)


def test_timm_loads_the_weights(trained: tuple[nn.Module, Path]) -> None:
    network, file = trained
    assert equal_logits(network, timm.create_model("resnet18", num_classes=10, checkpoint_path=file))


def test_our_own_reader_knows_whose_weights_they_are(trained: tuple[nn.Module, Path]) -> None:
    network, file = trained
    again = factory.build(ModelConfig(name="resnet18", num_classes=10))
    weights.load(again, str(file), ModelConfig(name="resnet18", num_classes=10))
    assert equal_logits(network, again)
    other = ModelConfig(name="resnet34", num_classes=10)
    with pytest.raises(ValueError, match="resnet18, not resnet34"):
        weights.load(factory.build(other), str(file), other)


def damage_truncate(path: Path) -> None:
    os.truncate(path / STATE, 100)


def damage_flip_a_byte(path: Path) -> None:
    content = bytearray((path / MODEL).read_bytes())
    content[-1] ^= 1
    (path / MODEL).write_bytes(content)


def damage_no_state(path: Path) -> None:
    (path / STATE).unlink()


def damage_no_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def damage_garbled_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"schema"')


def damage_other_json(path: Path) -> None:
    (path / "manifest.json").write_text("[1]")


def damage_empty_manifest(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "files": {}}))


def damage_other_schema(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))


DAMAGES = [
    damage_truncate,
    damage_flip_a_byte,
    damage_no_state,
    damage_no_manifest,
    damage_garbled_manifest,
    damage_other_json,
    damage_empty_manifest,
    damage_other_schema,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over_for_the_next_older_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    save(tmp_path, 1, 2)
    assert callable(damage)
    damage(tmp_path / "step-0000000002")
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) == 1
    assert "step-0000000002 is skipped" in caplog.text


class Planted:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


@pytest.mark.parametrize("planted", [True, False])
def test_what_another_program_put_there_is_not_run_and_no_one_is_told_how_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, planted: bool
) -> None:
    """Whether it is a pickle that runs a command, or weights that say nothing of their network."""
    save(tmp_path, 1, 2)
    path = tmp_path / "step-0000000002"
    if planted:
        torch.save({"step": 2, "optimizer": Planted(f"touch {tmp_path}/ran")}, path / STATE)
    else:
        safetensors.torch.save_file({"w": torch.zeros(3)}, path / MODEL)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"] = {name: files.describe(path / name) for name in manifest["files"]}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) == 1
    assert f"{path} is skipped: it holds more than tensors" in caplog.text
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in caplog.text.partition("\n")[0]


def test_a_damaged_one_of_the_same_step_is_written_again(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    damage_truncate(tmp_path / "step-0000000002")
    save(tmp_path, 2)
    assert newest(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000001", "step-0000000002"]


def test_one_whose_guard_refuses_gets_no_name_and_leaves_nothing(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InterruptedError("taken over")

    save(tmp_path, 1)
    with pytest.raises(InterruptedError):
        store.write(tmp_path, 2, tree(2), guard=refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]


def test_the_manifest_says_what_there_is(tmp_path: Path) -> None:
    path = store.write(tmp_path, 5, tree(5), top1=71.5, token="abc")
    manifest = json.loads((path / "manifest.json").read_text())
    assert {name: manifest[name] for name in ("schema", "step", "top1", "token")} == {
        "schema": 2,
        "step": 5,
        "top1": 71.5,
        "token": "abc",
    }
    assert sorted(manifest["files"]) == [MODEL, STATE]
    assert manifest["files"][MODEL]["bytes"] == (path / MODEL).stat().st_size
