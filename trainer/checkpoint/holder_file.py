"""The file that names the holder of a run directory, and whether that process is alive. Standard library only."""

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from data import schema
from data.durable import opened

SCHEMA = 1
FRESH_S = 60.0  # a live holder touches its file every few seconds

_RECORD = 1024  # bytes: records of one size replace each other in a single write


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The process that holds a run directory."""

    token: str
    """Random for each process; the run directory belongs to the process whose token is in the file."""
    host: str
    """Host name, for messages."""
    machine: str
    """Boot id and process namespace of `pid`: two machines may have one host name, and a reboot keeps it."""
    pid: int
    started: str
    """The kernel's start time of that process; a later one of the same id has another."""
    job: str
    """Slurm job id, or empty."""
    restart: int
    """How often Slurm had started that job again."""
    since: str
    """When the directory was taken, by the holder's clock, for messages."""

    @property
    def lives_here(self) -> bool:
        """Whether this is a live process of this machine."""
        return self.machine == _machine() and self.started == _started(self.pid)

    @property
    def died_here(self) -> bool:
        """Whether this was a process of this machine that is gone."""
        return self.machine == _machine() and self.started != _started(self.pid)

    def __post_init__(self) -> None:
        if not isinstance(self.token, str) or not isinstance(self.pid, int) or not isinstance(self.restart, int):
            raise TypeError(f"not a holder: {self}")

    def precedes(self, other: "Holder") -> bool:
        """Whether Slurm started this process's job again as the other."""
        return self.job != "" and self.job == other.job and self.restart < other.restart

    def __str__(self) -> str:
        job = f" of Slurm job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The file at one moment; equal to a later look if it was not touched between."""

    holder: Holder | None = None
    """None: no file, or a damaged one."""
    touched: tuple[int, ...] = ()
    """Inode and time of change, by the file server's clock."""

    @property
    def live(self) -> Holder | None:
        """The holder, where it is another process than this one and lives here or has touched the file lately."""
        holder = self.holder
        if holder is None or holder.died_here or (holder.lives_here and holder.pid == os.getpid()):
            return None
        return holder if holder.lives_here or time.time() - self.touched[1] / 1e9 < FRESH_S else None


def look(file: Path) -> Look:
    """Read the file as it is now."""
    try:
        # opened each time: NFS asks its server only then; and a pipe under this name is not waited for
        with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            stat = os.fstat(stream.fileno())
            text = stream.read(4 * _RECORD)
    except FileNotFoundError:
        return Look()
    touched = (stat.st_ino, stat.st_mtime_ns)
    try:
        content = schema.parse(text)
        known = schema.known_fields(Holder, content)
        schema.check(content.get("schema"), SCHEMA, file)
        return Look(holder=Holder(**known), touched=touched)
    except (ValueError, TypeError):  # newer than this version, or damaged, by a person or a crash
        return Look(touched=touched)


def open_file(file: Path) -> int:
    """Open the file to lock it and to write in place: after a rename the lock would stay with the old inode."""
    return opened(file, os.O_RDWR)


def write(descriptor: int, holder: Holder) -> None:
    text = json.dumps({"schema": SCHEMA, **asdict(holder)})
    os.pwrite(descriptor, text.encode().ljust(_RECORD - 1) + b"\n", 0)
    os.ftruncate(descriptor, _RECORD)
    os.fsync(descriptor)  # NFS sends it to its server only now


def is_at(descriptor: int, file: Path) -> bool:
    """Whether the open file still has that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def ourselves() -> Holder:
    """This process, with a new token."""
    return Holder(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        job=os.environ.get("SLURM_JOB_ID", ""),
        restart=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        since=datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    )


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return socket.gethostname()


def _started(pid: int) -> str:
    """The start time of a process in the kernel's ticks; empty if it does not exist or is a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may hold anything
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
