"""What the file of a run directory's holder says, and whether that process is still there. Standard library only."""

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from data import schema

SCHEMA = 1

_RECORD = 1024  # bytes: of one size, a record replaces another in a single write, with nothing left over to cut off


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """What the file says of the process that wrote it."""

    token: str
    """Drawn anew by each process; the run directory belongs to whose token the file holds."""
    host: str
    """Host name, for people."""
    machine: str
    """Boot and process namespace in which `pid` counts: a name can be that of two machines, and outlives a reboot."""
    pid: int
    """Process id."""
    started: str
    """The kernel's start time of that process, which tells it from a later one of the same id."""
    job: str
    """Slurm job id, or empty."""
    restart: int
    """How often Slurm had started that job again."""
    since: str
    """When the directory was taken, by the holder's clock, for people."""

    @property
    def lives_here(self) -> bool:
        """Whether this is a process of this machine, and still there."""
        return self.machine == _machine() and self.started == _started(self.pid)

    @property
    def died_here(self) -> bool:
        """Whether this was a process of this machine, and is gone."""
        return self.machine == _machine() and self.started != _started(self.pid)

    def __post_init__(self) -> None:
        """Take no damaged record for a holder."""
        if not isinstance(self.token, str) or not isinstance(self.pid, int) or not isinstance(self.restart, int):
            raise TypeError(f"not a holder: {self}")

    def precedes(self, other: "Holder") -> bool:
        """Whether Slurm gave this process up and started its job again as the other."""
        return self.job != "" and self.job == other.job and self.restart < other.restart

    def __str__(self) -> str:
        job = f" of Slurm job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The file at one moment; equal to a later one if nobody touched it."""

    holder: Holder | None = None
    """None: no file, or nothing in it that makes sense."""
    touched: tuple[int, ...] = ()
    """Inode and time of change, as the file's server counts it."""


def look(file: Path) -> Look:
    """Read the file as it is now."""
    try:
        with file.open("rb") as stream:  # opened anew each time: NFS asks its server only then
            stat = os.fstat(stream.fileno())
            text = stream.read(4 * _RECORD)
    except FileNotFoundError:
        return Look()
    touched = (stat.st_ino, stat.st_mtime_ns)
    try:
        content = json.loads(text)
        known = schema.known_fields(Holder, content)
        schema.check(content.get("schema"), SCHEMA, file)
        return Look(holder=Holder(**known), touched=touched)
    except (ValueError, TypeError):  # newer than this version, or damaged, by a person or a crash
        return Look(touched=touched)


def open_file(file: Path) -> int:
    """Open the file to lock and write it in place: after a rename the lock would stay with the old inode."""
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o644)


def write(descriptor: int, holder: Holder) -> None:
    """Replace what the file holds."""
    text = json.dumps({"schema": SCHEMA, **asdict(holder)})
    os.pwrite(descriptor, text.encode().ljust(_RECORD - 1) + b"\n", 0)
    os.ftruncate(descriptor, _RECORD)
    os.fsync(descriptor)  # NFS sends nothing to its server before


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
    """The start time of a process in the kernel's ticks; empty where there is none, or only what its parent left."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may hold anything
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
