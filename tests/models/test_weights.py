import dataclasses
import json
import logging
import random
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models import factory, weights
from models.config import ModelConfig

RESNET20 = ModelConfig(name="resnet20", num_classes=10)


def resnet20(seed: int = 0, **settings: object) -> nn.Module:
    torch.manual_seed(seed)
    return factory.build(ModelConfig(name="resnet20", num_classes=10, **settings))  # type: ignore[arg-type]


def same(network: nn.Module, other: nn.Module) -> bool:
    state, expected = network.state_dict(), other.state_dict()
    return all(torch.equal(state[key], expected[key]) for key in expected)


def prefixed(prefix: str) -> Callable[[nn.Module], dict[str, Tensor]]:
    return lambda network: {prefix + key: value for key, value in network.state_dict().items()}


WRAPPED: list[tuple[str, Callable[[nn.Module], object]]] = [
    ("bare", lambda network: network.state_dict()),
    ("DistributedDataParallel", prefixed("module.")),
    ("compiled DistributedDataParallel", prefixed("module._orig_mod.")),
    ("our checkpoint", lambda network: {"model": network.state_dict(), "step": 7, "generators": [torch.zeros(3)]}),
    ("timm's checkpoint", lambda network: {"epoch": 3, "arch": "x", "state_dict": network.state_dict()}),
    ("torchvision's EMA", lambda network: {"model_ema": AveragedModel(network).state_dict(), "epoch": 3}),
    ("a checkpoint with flags", lambda network: {"model": network.state_dict(), "args": Namespace(lr=0.1, data="x")}),
    ("an EMA's holder", prefixed("ema_model.")),
    ("a nested checkpoint", lambda network: {"model": {"state_dict": network.state_dict(), "epoch": 3}}),
    ("DeepSpeed's checkpoint", lambda network: {"module": network.state_dict(), "ds_version": "1"}),
    (
        "without batch counters",
        lambda network: {key: value for key, value in network.state_dict().items() if "num_batches" not in key},
    ),
]


@pytest.mark.parametrize(("content"), [content for _, content in WRAPPED], ids=[name for name, _ in WRAPPED])
def test_weights_are_found_in_whatever_wraps_them(content: Callable[[nn.Module], object], tmp_path: Path) -> None:
    trained, network = resnet20(seed=1), resnet20(seed=2)
    torch.save(content(trained), tmp_path / "w.pt")
    weights.load(network, str(tmp_path / "w.pt"), RESNET20)
    assert same(network, trained)


def test_what_was_stripped_and_taken_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({name: prefixed("module.")(resnet20()) for name in ("model", "model_ema")}, tmp_path / "w.pt")
    with caplog.at_level(logging.INFO):
        weights.load(resnet20(), str(tmp_path / "w.pt"), RESNET20)
    assert caplog.messages == [
        "weights: took 'model_ema.module' of the file, not 'model.module' (the setting entry chooses)",
    ]


def test_safetensors_are_read(tmp_path: Path) -> None:
    trained, network = resnet20(seed=1), resnet20(seed=2)
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "w.safetensors")
    weights.load(network, str(tmp_path / "w.safetensors"), RESNET20)
    assert same(network, trained)


def test_timm_s_names_are_recognised_by_their_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = timm.create_model("ghostnet_050", num_classes=10).eval()
    ours = factory.build(ModelConfig(name="ghostnet_050", num_classes=10)).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    with caplog.at_level(logging.INFO):
        weights.load(ours, str(tmp_path / "w.pt"), ModelConfig(name="ghostnet_050", num_classes=10))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(images), theirs(images))
    assert caplog.messages == ["weights: renamed from timm/ghostnet_050"]


def test_a_file_that_does_not_fit_is_listed_by_module_and_loads_nothing() -> None:
    network, before = resnet20(seed=1), resnet20(seed=1)
    state = resnet20(seed=2).state_dict()
    state["head.weight"] = state.pop("fc.weight")
    state["conv1.weight"] = torch.zeros(16, 4, 3, 3)
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        weights.fit(network, state, RESNET20)
    assert str(error.value).splitlines()[1:] == [
        "conv1: weight is [16, 4, 3, 3], not [16, 3, 3, 3]",
        "fc: weight is missing",
        "head: weight is unexpected",
    ]
    assert same(network, before)


def test_a_quite_different_network_s_file_fills_one_screen_at_most() -> None:
    state = timm.create_model("mobilenetv3_small_050").state_dict()
    with pytest.raises(ValueError, match=r"and \d+ more modules") as error:
        weights.fit(resnet20(), state, RESNET20)
    assert len(str(error.value).splitlines()) < 24


def test_an_auxiliary_head_that_the_network_has_not_is_left_out_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    state = factory.build(ModelConfig(name="inception_v3", num_classes=2)).state_dict()
    config = ModelConfig(name="inception_v3", num_classes=2, aux_logits=False)
    with caplog.at_level(logging.INFO):
        weights.fit(factory.build(config), state, config)
    assert caplog.messages == ["weights: left out the auxiliary head, as this network has none"]


class Dangerous:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda path: torch.save({"model": Dangerous()}, path), r"holds objects of \S*exec; what makes them"),
        (lambda path: torch.save({"step": 3}, path), "holds no state dict"),
        (lambda path: torch.save([torch.zeros(2)], path), "holds no state dict"),
        (lambda path: torch.save(torch.zeros(2), path), "holds no state dict"),
        (lambda path: torch.save(3, path), "holds no state dict"),
        (lambda path: path.write_bytes(b"\x00" * 64), "is no"),
        (lambda path: path.write_bytes(b""), "is no"),
        (lambda _path: None, "is not a file"),
    ],
    ids=["pickle", "no weights", "a list", "a tensor", "a number", "garbage", "empty", "absent"],
)
def test_a_file_without_weights_is_an_error_and_never_run(
    write: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    write(tmp_path / "w.pt")
    with pytest.raises(ValueError, match=expected):
        weights.load(resnet20(), str(tmp_path / "w.pt"), RESNET20)


def test_a_broken_safetensors_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ValueError, match=r"weights: .* is no torch or safetensors file"):
        weights.read(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
def test_a_file_is_told_by_its_content(tmp_path: Path, suffix: str) -> None:
    trained, network = resnet20(seed=1), resnet20(seed=2)
    safetensors.torch.save_file(trained.state_dict(), tmp_path / f"s{suffix}")
    torch.save(trained.state_dict(), tmp_path / f"t{suffix}")
    for name in ("s", "t"):
        network = resnet20(seed=2)
        weights.load(network, str(tmp_path / f"{name}{suffix}"), RESNET20)
        assert same(network, trained)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"name": "plain20"}, "holds another network: resnet20, not plain20"),
        ({"shortcut": "C"}, "holds another network: shortcut None, not shortcut C"),
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_a_file_of_ours_does_not_go_into_another_network(
    tmp_path: Path, settings: dict, problem: str, kind: str
) -> None:
    described, path = dataclasses.asdict(RESNET20), tmp_path / "w"
    if kind == "safetensors":
        safetensors.torch.save_file(resnet20().state_dict(), path, metadata={"model": json.dumps(described)})
    else:
        torch.save({"model": resnet20().state_dict(), "network": described}, path)
    weights.load(resnet20(), str(path), dataclasses.replace(RESNET20, drop_path=0.1, zero_init_residual=True))
    other = dataclasses.replace(RESNET20, **settings)
    with pytest.raises(ValueError, match=problem):
        weights.load(factory.build(other), str(path), other)


@pytest.mark.parametrize("name", ["timm/resnet50", "torchvision/resnet50"])
def test_a_package_s_network_is_that_of_ours_with_its_name(name: str) -> None:
    theirs = ModelConfig(name=name)
    weights.check("w", theirs, ModelConfig(name="resnet50"))
    for one, other in ((theirs, ModelConfig(name="resnet50_v1")), (ModelConfig(name="resnet50_v1"), theirs)):
        with pytest.raises(ValueError, match=f"holds another network: {one.name}, not {other.name}"):
            weights.check("w", one, other)


def test_a_package_s_network_takes_a_file_under_our_names(tmp_path: Path) -> None:
    ours = factory.build(ModelConfig(name="ghostnet_050", num_classes=10)).eval()
    theirs = timm.create_model("ghostnet_050", num_classes=10).eval()
    torch.save(ours.state_dict(), tmp_path / "w.pt")
    weights.load(theirs, str(tmp_path / "w.pt"), ModelConfig(name="timm/ghostnet_050", num_classes=10))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("content", [b"hello", b"abc", b"X", b"\x80\x02X", b"{" * 64])
def test_bytes_that_are_no_weights_are_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match="weights: "):
        weights.read(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # torch.load's own, of what damage makes a file look like
@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_file_is_an_error_or_still_weights(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(50)}, path, _use_new_zipfile_serialization=not legacy)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(200):
        content = bytearray(whole[: rng.randrange(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
        content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            weights.read(path)
        except ValueError as error:
            assert "weights: " in str(error)


def test_weights_that_diverged_are_named(tmp_path: Path) -> None:
    state = resnet20().state_dict()
    state["fc.bias"][3] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"no numbers, in fc\.bias"):
        weights.load(resnet20(), str(tmp_path / "w.pt"), RESNET20)


def test_integers_are_no_weights() -> None:
    state = {key: value.int() for key, value in resnet20().state_dict().items()}
    with pytest.raises(ValueError, match=r"weight is torch\.int32, not torch\.float32"):
        weights.fit(resnet20(), state, RESNET20)


def test_an_auxiliary_head_that_the_file_has_not_is_told() -> None:
    state = factory.build(ModelConfig(name="inception_v3", num_classes=2, aux_logits=False)).state_dict()
    with pytest.raises(ValueError, match="aux_logits False"):
        weights.fit(factory.build(config := ModelConfig(name="inception_v3", num_classes=2)), state, config)
