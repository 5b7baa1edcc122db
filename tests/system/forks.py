"""Whole runs as forks of a process that has imported what a run imports, each without four seconds of imports.

Only packages of others are imported beforehand: our own code is run from its first line, by the name of its module, as
`python -m` does. A fork has its own arguments and environment in /proc too, and is a child of the process that asked
for it. torchrun is forked in the same way, and its workers by a server of its own.
"""

import atexit
import ctypes
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.system.crash.trials import preload
from trainer.cpus import ALLOCATOR, SLEEPING

_OURS = ("launch", "trainer", "models", "data", "tests")
_BEFORE_START = ("GLIBC_", "LD_", "MALLOC_", "OMP_", "MKL_", "PYTHON")  # act at the start of a process, or of torch
_ROOT = Path(__file__).parents[2]
_TORCHRUN = "torch.distributed.run"
_LONG = 1 << 17
"""Bytes of arguments and environment that a fork may have: those of its server lie there until then."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True, slots=True)
class _Start:
    """What a fork becomes."""

    module: str
    words: Sequence[str]
    """Its arguments, from `python` on, as a new process would have them."""
    environment: Mapping[str, str]
    folder: str


class Forked(subprocess.Popen[str]):
    """`python -m MODULE ...` or `torchrun ...` in a session of its own, forked from the server of this process."""

    def _execute_child(self, args: Sequence[str], *more: Any) -> None:
        folder, environment, pipes = more[4], more[5], more[9:15]
        module = _TORCHRUN if Path(args[0]).name == "torchrun" else args[args.index("-m") + 1]
        words = args if module != _TORCHRUN else [sys.executable, *args]
        child_ends = [pipe if pipe != -1 else number for number, pipe in enumerate((pipes[0], pipes[3], pipes[5]))]
        about = _Start(module, list(map(str, words)), environment or {**os.environ}, str(folder or Path.cwd()))
        try:
            self.pid = _ask(about, child_ends)
        finally:
            self._close_pipe_fds(*pipes)  # pyright: ignore[reportAttributeAccessIssue]
        self._child_created = True


def begin(command: Sequence[str], environment: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
    """Fork a command, or start it where its environment acts at the start of a process."""
    kind = Forked if possible(environment) else subprocess.Popen[str]
    return kind(command, env=environment, text=True, start_new_session=True, **options)


def possible(environment: Mapping[str, str]) -> bool:
    """Whether all variables that act at the start of a process are those that the server began with."""
    return _early(environment) == _EARLY


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_BEFORE_START)}


_EARLY = _early(os.environ)


@cache
def _server() -> socket.socket:
    """Start the server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    long = {**os.environ, **ALLOCATOR, **SLEEPING, "ROOM": "." * (_LONG - 1000)}
    command = [sys.executable, "-m", "tests.system.forks", str(theirs.fileno()), "." * (_LONG - 1000)]
    process = subprocess.Popen(command, cwd=_ROOT, env=long, pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    atexit.register(_end, ours, process)
    return ours


def _end(channel: socket.socket, server: subprocess.Popen[bytes]) -> None:
    channel.close()
    server.wait()


def _ask(about: _Start, files: Sequence[int]) -> int:
    """Have the server fork, as a child of this process; gives the child's id."""
    server, system = _server(), ctypes.CDLL(None, use_errno=True)
    system.prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        socket.send_fds(server, [json.dumps(asdict(about)).encode()], files)
        return int(server.recv(64))
    finally:
        system.prctl(_SUBREAPER, 0, 0, 0, 0)


def _serve(channel: socket.socket) -> _Start:
    """Fork for each who asks; returns in each fork, with what it is to become."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, _LONG, 3)
        if not message:
            os._exit(0)
        reader, writer = os.pipe()
        if (middle := _fork()) == 0:
            _fork_once_more(writer)
            for target, file in enumerate(files):
                os.dup2(file, target)
            _close(reader, writer, *files, channel.detach())
            return _Start(**json.loads(message))
        os.waitpid(middle, 0)
        channel.send(os.read(reader, 64))
        _close(reader, writer, *files)


def _fork_once_more(report: int) -> None:
    """Go on as a child of whoever asked, which a process becomes when its parent ends; its id goes to `report`."""
    middle = os.getpid()
    if child := _fork():
        os.write(report, str(child).encode())
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(0.0005)


def _close(*files: int) -> None:
    for file in files:
        os.close(file)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy's threads, which it ends at a fork
        return os.fork()


def _become(about: _Start) -> None:
    """Run the module as a process of its own would."""
    os.setsid()
    os.chdir(about.folder)
    if about.module == _TORCHRUN:
        _fork_workers()
    at = 1 if about.module == _TORCHRUN else about.words.index("-m") + 1
    # as the program would, which starts itself again where they are missing
    allocator = ALLOCATOR if {*about.words[at + 1 : at + 2]} & {"train", "doctor"} else {}
    _rename(about.words, {**allocator, **about.environment})
    sys.argv, sys.orig_argv = list(about.words[at:]), list(about.words)
    sys.path[0] = about.folder
    if "-u" in about.words[:at]:
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), sys.stdout.encoding, sys.stdout.errors, write_through=True)
    runpy.run_module(about.module, run_name="__main__", alter_sys=True)


def _fork_workers() -> None:
    """Give the torchrun that this process becomes a server for its workers."""
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    import tests.system.forks as ours

    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if _fork() == 0:
        mine.close()
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for file in (0, 1, 2):
            os.dup2(null, file)
        _become(_serve(theirs))
        raise SystemExit
    theirs.close()
    ours._server = lambda: mine
    setattr(subprocess_handler, "Popen", ours.Forked)  # noqa: B010  # it imports the name from subprocess


def _rename(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Take arguments and environment, and show them in /proc, where the kernel reads them from where they lay first."""
    os.environ.clear()
    places = list(map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:49]))
    variables = [f"{name}={value}" for name, value in environment.items()]
    for (begin, end), texts in zip((places[:2], places[2:]), (words, variables), strict=True):
        content = b"".join(os.fsencode(text) + b"\0" for text in texts)
        assert len(content) < end - begin
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, content, len(content))
    os.environ.update(environment)


def _preload() -> None:
    """Import what a run and torchrun import of others, and forget our own."""
    preload()
    import PIL.Image
    import tensorboard.backend.event_processing.event_accumulator
    import torch.distributed.elastic.multiprocessing.subprocess_handler
    import torch.distributed.run
    import tyro._backends._tyro_backend

    assert tensorboard and torch and tyro
    PIL.Image.preinit()
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]


if __name__ == "__main__":
    _preload()
    _become(_serve(socket.socket(fileno=int(sys.argv[1]))))
