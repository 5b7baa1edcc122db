import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore

from tests.commands import HANGS_S
from trainer import rendezvous
from trainer.rendezvous import NotMetError, await_all, find_main
from trainer.rundir import RunDirectory
from trainer.stopping import START_AGAIN
from trainer.world import World

IMPATIENT = "from trainer import rendezvous, __main__; rendezvous.PATIENCE_S = 0; __main__.start()"


class Ranks:
    """Ranks that are threads of this process; the store is PyTorch's own."""

    def __init__(self, size: int, launcher: str = "torchrun") -> None:
        self._store, self._size, self._launcher = HashStore(), size, launcher
        self._pool = ThreadPoolExecutor(size)

    def come(self, *ranks: int) -> list["Callable[[], list[bytes]]"]:
        worlds = [World(rank, self._size, address="n1", port=4711, launcher=self._launcher) for rank in ranks]
        return [self._pool.submit(await_all, self._store, world, f"note {world.rank}").result for world in worlds]


def test_processes_that_are_all_there_learn_of_each_other_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    for result in Ranks(3).come(2, 0, 1):
        assert result() == [b"note 0", b"note 1", b"note 2"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("launcher", "advice"), [("torchrun", ""), ("srun", "srun --overlap --ntasks=4 python -m trainer")]
)
def test_the_first_that_is_there_names_the_missing_once(
    launcher: str, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "PATIENCE_S", 0.2)
    ranks, text = Ranks(4, launcher), ""
    early = ranks.come(1, 3)
    while "missing" not in text:
        text += capsys.readouterr().err
    time.sleep(0.8)  # longer than between two looks
    for result in early + ranks.come(0, 2):
        assert result()[3] == b"note 3"
    text += capsys.readouterr().err
    assert text.startswith("missing of 4: rank 0, 2")
    assert text.count("missing") == 1
    assert advice in text


def test_a_rank_that_never_comes_is_named_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "TIMEOUT", timedelta(seconds=0.1))
    (result,) = Ranks(20).come(0)
    with pytest.raises(NotMetError, match=r"missing of 20: rank 1, 2, 3, 4, 5, 6, 7, 8, \.\.\.; the same command"):
        result()


def test_a_rank_waits_until_rank_0_listens_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "PATIENCE_S", 0.05)
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        world = World(1, 2, port=server.getsockname()[1], launcher="torchrun")
        waiting, text = threading.Thread(target=find_main, args=(world,)), ""
        waiting.start()
        while "\n" not in text:
            text += capsys.readouterr().err
        server.listen()
        waiting.join(HANGS_S)
    assert f": rank 0 does not answer at 127.0.0.1:{world.port}\n" in text


def test_a_process_alone_waits_for_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    find_main(World(launcher="torchrun"))
    assert capsys.readouterr().err == ""


def test_ctrl_c_ends_the_first_of_two_that_waits_and_nothing_was_written(images: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    given = {**world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    run = RunDirectory(tmp_path / "run")
    sizes = ("--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "8", "--optimizer.lr", "0.0123")
    command = ["train", "demo", *sizes, "--data", str(images), "--output", str(run.path)]
    with subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *command], stderr=subprocess.PIPE, text=True, env={**os.environ, **given}
    ) as process:
        assert process.stderr
        said = [process.stderr.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)  # whatever it said: it would wait for ever
        _, errors = process.communicate(timeout=HANGS_S)
    assert said == [f"waiting at 127.0.0.1:{port} for 2 processes\n", "missing of 2: rank 1\n"]
    assert process.returncode == START_AGAIN
    assert errors == "stopped by SIGINT before the first step; the same command starts again\n"
    assert not run.path.exists()
