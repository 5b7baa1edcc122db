import pytest
import torch

from data.types import Batch
from trainer.prefetch import on_device


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


@pytest.mark.gpu
@pytest.mark.parametrize("count", [0, 1, 5])
def test_all_batches_arrive_on_the_gpu_in_order(count: int) -> None:
    device = torch.device("cuda", 0)
    found = [
        (batch.images.device.type, int(batch.images[0, 0, 0, 0]), batch.targets.tolist())
        for batch in on_device(iter(batches(count, pinned=True)), device)
    ]
    assert found == [("cuda", number, [number, number]) for number in range(count)]
