from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from data.catalog.manifest import DamagedManifestError
from data.load.backends import UnusableBackendError
from data.types import BrokenImageError, TooManyBrokenError
from trainer.checkpoint.holder import FencedError, HeldError
from trainer.commands.failures import explain
from trainer.devices import SharedGpuError
from trainer.engine.boundary import SaveFailedError
from trainer.engine.divergence import DivergedError
from trainer.engine.memory import MemoryShortError
from trainer.engine.run_images import UnusableDataError
from trainer.peers import PeerFailedError
from trainer.stopping import StopRequestedError
from trainer.world import World

MAIN, OTHER = World(rank=0, world_size=2), World(rank=1, world_size=2, local_rank=1)
GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:4711. More words"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokenImageError("the image"), 70), (TooManyBrokenError("too many"), 1), (MemoryShortError("of memory"), 1),
        (FencedError("another"), 1), (SaveFailedError("not saved"), 1),
    ],
    ids=lambda value: getattr(type(value), "__name__", value),
)  # fmt: skip
def test_what_a_process_meets_alone_it_says_itself(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for world in (MAIN, OTHER):
        assert explain(error, world) == code
        assert capsys.readouterr().err == f"failed: {error}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnusableBackendError("no DALI"), 1), (UnusableDataError("no images"), 1), (DamagedManifestError("damaged"), 1),
        (DivergedError("not finite"), 1),
    ],
    ids=lambda value: getattr(type(value), "__name__", value),
)  # fmt: skip
def test_what_all_processes_meet_rank_0_says(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(error, OTHER) == code
    assert capsys.readouterr().err == ""
    assert explain(error, MAIN) == code
    assert capsys.readouterr().err == f"failed: {error}\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            OSError(28, "No space left on device", "runs/a/result.json"),
            1,
            "runs/a/result.json: No space left on device",
        ),
        (BrokenProcessPool("terminated abruptly"), 70, "a process that reads images was killed"),
        (OSError(30, "Read-only file system"), 1, "[Errno 30] Read-only file system"),
        (OSError(5, "Input/output error", "runs/a"), 70, "runs/a: Input/output error"),
        (TimeoutError("too slow"), 70, "too slow"),
    ],
)
def test_what_a_disk_the_network_or_a_lack_of_memory_has_ended_goes_on_where_nobody_must_act(
    error: Exception, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error, OTHER) == code
    assert capsys.readouterr().err == ""
    assert explain(error, MAIN) == code
    assert capsys.readouterr().err == f"failed: {text}; once that is fixed, the same command goes on from here\n"


@pytest.mark.parametrize("world", [MAIN, OTHER])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(GLOO), "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10"),
        (torch.distributed.DistBackendError("NCCL error: unhandled system error\nmore lines"), "NCCL error: unhandled"),
        (torch.distributed.DistNetworkError(""), "DistNetworkError"),
    ],
)
def test_a_process_that_lost_the_others_says_its_rank_and_may_start_again(
    error: Exception, words: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error, world) == 70
    text = capsys.readouterr().err
    assert text.startswith(f"rank {world.rank} lost contact with another process: {words}")
    assert "More words" not in text
    assert text.count("\n") == 1


def test_a_stop_before_the_first_step_asks_to_start_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(StopRequestedError("SIGTERM"), MAIN) == 75
    assert capsys.readouterr().err == "stopped by SIGTERM before the first step; the same command starts again\n"


def test_a_shared_gpu_is_bad_input_which_rank_0_says(capsys: pytest.CaptureFixture[str]) -> None:
    for world, said in ((MAIN, "cannot start; nothing was written\n  ranks 0 and 1 ...\n"), (OTHER, "")):
        assert explain(SharedGpuError("ranks 0 and 1 ..."), world) == 2
        assert capsys.readouterr().err == said


def test_a_directory_that_is_held_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(HeldError("--output: held by n7\n  wait for it"), MAIN) == 2
    assert capsys.readouterr().err.startswith("cannot start; nothing was written\n  --output: held by n7\n")
    assert explain(HeldError("--output: held by n7"), OTHER) == 2
    assert capsys.readouterr().err == ""


def test_a_process_whose_peer_has_said_why_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(PeerFailedError(), MAIN) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), ValueError("x"), KeyError("x"), AssertionError()])
def test_what_nobody_foresaw_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(error, MAIN) is None
    assert capsys.readouterr().err == ""
