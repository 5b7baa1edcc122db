from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from data.plan.config import InputConfig
from models.config import ModelConfig
from trainer.engine import memory
from trainer.engine.memory import MemoryShortError, advising, fitted, is_short
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime
from trainer.world import World

# 65,498 images of 1,024 px are 824 GB, half of them 412 GB, which no allocator promises; the next divisor is 2
RECIPE = Recipe(
    model=ModelConfig(name="ghostnet_100", num_classes=4),
    input=InputConfig(train_size=1024, eval_resize=1024, eval_crop=1024),
    global_batch=65_498,
    micro_batch=65_498,
    precision="fp32",
)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


@pytest.mark.slow
def test_the_greatest_divisor_that_fits_is_found(runtime: Runtime) -> None:
    assert fitted(RECIPE, runtime, channels_last=True) == replace(RECIPE, micro_batch=2)


def test_a_micro_batch_that_fits_stays(runtime: Runtime) -> None:
    small = replace(RECIPE, input=InputConfig(train_size=32), global_batch=8, micro_batch=4)
    assert fitted(small, runtime, channels_last=False) == small


def test_where_nothing_fits_the_message_says_so(runtime: Runtime) -> None:
    with pytest.raises(MemoryShortError, match="a micro_batch of 1 images of 1024 px does not fit"):
        fitted(replace(RECIPE, micro_batch=32_749, global_batch=65_498), runtime, channels_last=True)


def test_a_trial_on_a_gpu_leaves_room_for_what_it_lacks_and_is_no_part_of_the_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[str, object]] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: calls.append(("share", share)))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: calls.append(("reset", None)))
    with pytest.raises(MemoryShortError), memory._reserve(torch.device("cuda", 0)):
        calls.append(("trial", None))
        raise MemoryShortError
    assert calls == [("share", 0.85), ("trial", None), ("share", 1.0), ("reset", None)]


def test_memory_that_runs_out_names_the_settings_to_lower() -> None:
    recipe = Recipe(micro_batch=64, global_batch=256)
    with pytest.raises(MemoryShortError) as caught, advising(recipe):
        torch.empty(2**60, dtype=torch.uint8)
    assert "--micro-batch 32 keeps global_batch 256" in str(caught.value)
    assert "--accumulate auto" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 6.00 TiB for an array"),
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("NCCL error: unhandled cuda error. Last error:\nFailed to CUDA calloc async 4 bytes"),
        RuntimeError(
            "ncclUnhandledCudaError: Call to CUDA function failed. Last error: Cuda failure 2 'out of memory'"
        ),
        RuntimeError("Error in MIXED operator `nvidia.dali.fn.resize`: Can't allocate 150528 bytes on device 0."),
        RuntimeError("Critical error in pipeline: CUDA allocation failed"),
    ],
    ids=str,
)
def test_every_library_s_words_for_memory_that_ran_out_are_known(error: Exception) -> None:
    assert is_short(error)
    with pytest.raises(MemoryShortError) as raised, advising(Recipe()):
        raise error
    assert ("--loader threads" in str(raised.value)) == ("nvidia.dali" in str(error))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "Failed to decode sample #1 : ",
    ],
)
def test_other_failures_of_a_device_are_none_of_memory(message: str) -> None:
    assert not is_short(RuntimeError(message))


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="inconsistent"), advising(Recipe()):
        raise RuntimeError("inconsistent")
