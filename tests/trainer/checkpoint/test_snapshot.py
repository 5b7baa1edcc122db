from collections import OrderedDict
from typing import Any

import numpy
import pytest
import torch

from trainer.checkpoint.snapshot import Snapshot, tree_bytes


def tree() -> dict[str, Any]:
    conv = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    return {
        "model": OrderedDict(conv=conv, count=torch.tensor(3)),
        "optimizer": {"state": {0: {"momentum": torch.randn(8)}}, "groups": [{"betas": (0.9, 0.99), "lr": 0.1}]},
        "scaler": None,
    }


def addresses(value: Any) -> list[int]:
    if isinstance(value, torch.Tensor):
        return [value.data_ptr()]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [address for child in children for address in addresses(child)]


def test_a_copy_is_equal_and_later_changes_in_place_do_not_reach_it() -> None:
    given = tree()
    conv, momentum = given["model"]["conv"].clone(), given["optimizer"]["state"][0]["momentum"].clone()
    snapshot = Snapshot()
    copy = snapshot.take(given)
    snapshot.ready()
    given["model"]["conv"].zero_()
    given["model"]["count"] += 1
    given["optimizer"]["state"][0]["momentum"].fill_(9)
    given["optimizer"]["groups"][0]["lr"] = 0.2
    assert torch.equal(copy["model"]["conv"], conv)
    assert copy["model"]["count"].item() == 3
    assert torch.equal(copy["optimizer"]["state"][0]["momentum"], momentum)
    assert copy["optimizer"]["groups"] == [{"betas": (0.9, 0.99), "lr": 0.1}]
    assert copy["scaler"] is None


def test_the_memory_format_stays() -> None:
    assert Snapshot().take(tree())["model"]["conv"].is_contiguous(memory_format=torch.channels_last)


def test_the_second_copy_takes_the_memory_of_the_first() -> None:
    snapshot = Snapshot()
    first = addresses(snapshot.take(tree()))
    given = tree()
    second = snapshot.take(given)
    assert addresses(second) == first
    assert torch.equal(second["model"]["conv"], given["model"]["conv"])


def test_buffers_lie_in_the_reserve_as_long_as_it_lasts_each_in_a_storage_of_its_own() -> None:
    given = {**tree(), "mask": torch.tensor([True, False, True]), "empty": torch.zeros(0), "large": torch.ones(3000)}
    snapshot = Snapshot()
    snapshot.reserve(8_000, torch.device("cpu"))
    reserve = snapshot._reserve
    copy = snapshot.take(given)
    begin, end = reserve.data_ptr(), reserve.data_ptr() + len(reserve)
    assert [begin <= address < end for address in addresses(copy)] == [True, True, True, True, False, False]
    assert copy["model"]["conv"].stride() == given["model"]["conv"].stride()
    assert all(address % 64 == 0 for address in addresses(copy))
    for ours, theirs in ((copy[name], given[name]) for name in ("mask", "empty", "large")):
        assert torch.equal(ours, theirs)
        assert ours.untyped_storage().nbytes() == theirs.untyped_storage().nbytes()
    assert addresses(snapshot.take(given)) == addresses(copy)


def test_what_changes_its_shape_dtype_or_layout_is_copied_all_the_same() -> None:
    snapshot = Snapshot()
    for tensor in (
        torch.randn(2, 3, 4, 4),
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.randn(2, 3, 4, 4).double(),
        torch.randn(5),
        torch.randn(5, 1).expand(5, 3),
        torch.randn(3, requires_grad=True),
    ):
        copy = snapshot.take([tensor])[0]
        assert copy.dtype == tensor.dtype
        assert torch.equal(copy, tensor)
        assert not copy.requires_grad


@pytest.mark.parametrize("value", [numpy.float64(0.5), {1, 2}, object()], ids=["numpy", "set", "object"])
def test_what_could_not_be_loaded_safely_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"sampler\.1: a checkpoint holds tensors and plain values, not"):
        Snapshot().take({"sampler": [1, value]})


def test_the_size_on_disk_is_estimated_from_the_tensors() -> None:
    size = tree_bytes({"a": torch.zeros(250_000), "b": [torch.zeros(100, dtype=torch.int64)], "c": 1})
    assert size == 1_000_000 + 800 + 2 * 1024 + 65_536


@pytest.mark.gpu
def test_from_a_gpu_the_copy_is_that_of_the_moment_it_was_taken() -> None:
    snapshot = Snapshot()
    weight = torch.ones(4096, 4096, device="cuda")
    for value in (1.0, 2.0):
        weight.fill_(value)
        copy = snapshot.take({"w": weight})["w"]
        weight.fill_(-1)
        snapshot.ready()
        assert copy.is_pinned()
        assert copy.eq(value).all()
