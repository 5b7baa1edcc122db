from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from data.load.dali_pipeline import QUEUE, insert, number, own, pipeline, refusal
from trainer.engine.memory import is_short

SIDE = 40


def source(brightness: Callable[[], int], side: int = SIDE, damage: int = 0) -> Callable[[], Any]:
    """Two images of one colour, to be resized to `side`; `damage` bytes are cut off the second."""

    def batch() -> tuple[Any, ...]:
        pixels = np.full((SIDE, SIDE, 3), brightness(), np.uint8)
        encoded = np.frombuffer(simplejpeg.encode_jpeg(pixels), np.uint8)
        corner, whole = np.zeros((2, 2)), np.full((2, 2), SIDE)
        columns = (corner.astype(np.int32), whole.astype(np.int32), corner.astype(np.float32), whole.astype(np.float32))
        return (
            [encoded, encoded[: len(encoded) - damage]],
            *columns,
            np.full(2, side, np.float32),
            np.zeros(2, np.int32),
        )

    return batch


def failure(side: int = SIDE, damage: int = 0) -> RuntimeError:
    with pytest.raises(RuntimeError) as raised:
        pipeline(source(lambda: 0, side, damage), 2, 1, gpu=None, padded=False).run()
    return raised.value


def test_batches_in_host_memory_are_never_written_again() -> None:
    """Though they are not copied, and even where their pipeline is gone."""
    numbers = iter(range(100))
    graph = pipeline(source(lambda: next(numbers)), 2, 2, gpu=None, padded=False)
    held = [own(*graph.run(), on_gpu=False, pinned=False) for _ in range(8 * QUEUE)]
    del graph
    assert [batch.unique().tolist() for batch in held] == [[number] for number in range(8 * QUEUE)]
    held[0][0] = 255  # rows are replaced and augmented in place
    assert held[1].unique().tolist() == [1]


def test_what_a_decoder_refuses_is_told_from_all_else_that_fails() -> None:
    assert "Failed to decode sample #1" in str(refusal(failure(damage=20)))
    assert "nvImageCodec failure" in str(refusal(failure(damage=200)))
    assert refusal(RuntimeError("any other")) is None
    short = failure(side=30_000_000)
    assert refusal(short) is None
    assert is_short(short)


@pytest.mark.parametrize(
    "operator",
    ["CPU operator `nvidia.dali.fn.decoders.image_slice`", "MIXED operator `nvidia.dali.fn.decoders.image_slice`"],
)
@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("CUDA allocation failed", True),
        ("Can't allocate 150528 bytes on device 0.", True),
        ("std::bad_alloc", True),
        ("nvImageCodec failure: '#5'", True),
        ("nvImageCodec failure: '#15'", True),
        ("nvImageCodec failure: '#21'", False),
        ("CUDA runtime API error cudaErrorIllegalAddress (700):\nan illegal memory access was encountered", False),
        ("CUDA driver API error CUDA_ERROR_INVALID_CONTEXT (201)", False),
    ],
)
def test_a_decoder_that_fails_for_its_device_is_not_repaired(operator: str, said: str, short: bool) -> None:
    where = f"Critical error in pipeline:\nError in {operator},\nwhich was used in CUDA/pipeline.py\n\nencountered:\n\n"
    error = RuntimeError(f"{where}{said}\nCurrent pipeline object is no longer valid.")
    assert refusal(error) is None
    assert is_short(error) == short
    assert refusal(RuntimeError(f"{where}Failed to decode sample #3 : ")) == "Failed to decode sample #3 :"


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert [number(torch.device(name)) for name in ("cpu", "cuda", "cuda:1")] == [None, 3, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("padded", [False, True])
def test_the_graph_of_a_gpu_lacks_nothing_but_the_gpu(padded: bool) -> None:
    """DALI checks operators, arguments and where each lies before it looks for the GPU."""
    with pytest.raises(RuntimeError, match="CUDA is not available") as raised:
        pipeline(lambda: None, 4, 2, gpu=0, padded=padded)
    assert "build" in {entry.name for entry in raised.traceback}


def test_rows_decoded_elsewhere_take_their_places() -> None:
    images = torch.zeros((3, 2, 2, 3), dtype=torch.uint8)
    insert(images, {2: torch.full((2, 2, 3), 7, dtype=torch.uint8), 0: torch.full((2, 2, 3), 5, dtype=torch.uint8)})
    assert images[:, 0, 0, 0].tolist() == [5, 0, 7]
    insert(images, {})
    assert images[:, 0, 0, 0].tolist() == [5, 0, 7]
