"""A training loop in processes of its own, as the bench sees it: started, and given turns."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from data.bench.talk import ask, hear
from trainer.bench.config import LoopTask
from trainer.cpu import ALLOCATOR, RESTING

PACKAGES = Path(__file__).parents[2]
EXIT_S = 30.0


class Contestant:
    """One loop, in one process or in several ranks."""

    peak = 0
    """Bytes that rank 0 has held at most."""

    def __init__(self, task: LoopTask, ranks: int = 1) -> None:
        """Start it and wait until it is ready.

        Raises:
            FailedError: It ended.
        """
        self.cpu_ms: list[float] = []  # CPU time of rank 0 for an image, of each turn
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the rest
        # torchrun makes a world of its ranks, also of one
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", *launcher, "trainer.bench.worker", task.encode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(task.threads) | ALLOCATOR,
            start_new_session=True,  # Ctrl-C reaches us alone
        )
        try:
            hear(self._process, self._errors)
        except BaseException:
            self.close()
            raise

    def turn(self) -> float:
        """Let it take its steps; images/s of all ranks.

        Raises:
            FailedError: It ended.
        """
        said = ask(self._process, "turn\n", self._errors)
        self.peak = int(said["peak"])
        self.cpu_ms.append(float(said["cpu_ms"]))
        return float(said["images_per_s"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        end(self._process)
        self._process.stdout.close()
        self._errors.close()


def environment(threads: int) -> dict[str, str]:
    """Of every process that is timed: as many OpenMP threads, asleep while they wait, and this package to import."""
    path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    ours = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)} | RESTING
    return os.environ | ours | {"PYTHONUNBUFFERED": "1"}


def end(process: "subprocess.Popen[str]", patience_s: float = EXIT_S) -> None:
    """Give a process, which leads a session, time to end by itself; then ask it, then kill its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
    process.wait()
    with suppress(ProcessLookupError):  # its workers, where it left any
        os.killpg(process.pid, signal.SIGKILL)
