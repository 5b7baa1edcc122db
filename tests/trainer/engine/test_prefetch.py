import pytest
import torch
from torch._subclasses import FakeTensorMode

from data.types import Batch
from trainer.engine.prefetch import Lead, _moved, on_device


def batches(count: int, *, pinned: bool = False) -> list[Batch]:
    return [
        Batch(
            images=torch.full((2, 8, 8, 3), number, dtype=torch.uint8, pin_memory=pinned),
            targets=torch.full((2,), number),
            indices=torch.full((2,), number),
            valid=torch.ones(2, dtype=torch.bool),
            mixing=torch.zeros(4),
        )
        for number in range(count)
    ]


def test_batches_for_the_cpu_pass_through() -> None:
    given = batches(3)
    assert [id(batch) for batch in on_device(iter(given), torch.device("cpu"))] == [id(batch) for batch in given]


def test_all_that_is_read_on_a_gpu_is_moved_there_and_what_is_there_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On tensors without memory; page-locked ones are not among them."""
    pinned: list[torch.dtype] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor.dtype) or tensor)
    device = torch.device("cuda", 0)
    with FakeTensorMode():
        given = batches(1)[0]
        moved = _moved(given, device)
        again = _moved(moved, device)
    parts = ("images", "targets", "indices", "valid")
    assert [getattr(moved, part).device for part in parts] == [device] * 4
    assert all(getattr(again, part) is getattr(moved, part) for part in parts)
    assert moved.mixing is given.mixing
    assert pinned == [torch.uint8, torch.int64, torch.int64, torch.bool]


def test_a_host_waits_for_the_step_two_before_the_one_it_has_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking

        def record(self) -> None:
            self.step = sum(event.startswith("launch") for event in events)
            events.append(f"launch {self.step}")

        def synchronize(self) -> None:
            events.append(f"wait for {self.step}")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    lead = Lead(torch.device("cuda", 0))
    for _ in range(4):
        lead.step()
    assert events == ["launch 0", "launch 1", "launch 2", "wait for 0", "launch 3", "wait for 1"]
    Lead(torch.device("cpu")).step()
    assert len(events) == 6


@pytest.mark.gpu
@pytest.mark.parametrize("count", [0, 1, 5])
def test_all_batches_arrive_on_the_gpu_in_order(count: int) -> None:
    device = torch.device("cuda", 0)
    found = [
        (batch.images.device.type, batch.indices.device.type, int(batch.images[0, 0, 0, 0]), batch.targets.tolist())
        for batch in on_device(iter(batches(count, pinned=True)), device)
    ]
    assert found == [("cuda", "cuda", number, [number, number]) for number in range(count)]
