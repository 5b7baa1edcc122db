"""What a container or a job may take, as its control groups say, in both versions. Standard library only."""

from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")

_NO_LIMIT = 1 << 60  # version 1 writes a number of pages that no machine has


def quota_cores(membership: str, groups: Path = GROUPS) -> float | None:
    """The least CPUs' worth of time that a group of this process is given; None: no limit.

    Args:
        membership: What /proc/self/cgroup says.
        groups: Where the groups are mounted.
    """
    found: list[float] = []
    for folder in _folders(membership, "cpu", groups):
        quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
        if not quota:
            quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit():  # max and -1: no limit
            found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_left(membership: str, groups: Path = GROUPS) -> int | None:
    """The least bytes that a group of this process can still have; None: no limit."""
    found: list[int] = []
    for folder in _folders(membership, "memory", groups):
        limit = _text(folder / "memory.max").strip() or _text(folder / "memory.limit_in_bytes").strip()
        used = _text(folder / "memory.current").strip() or _text(folder / "memory.usage_in_bytes").strip()
        if limit.isdigit() and used.isdigit() and int(limit) < _NO_LIMIT:
            found.append(int(limit) - int(used) + _given_back(_text(folder / "memory.stat")))
    return max(0, min(found)) if found else None


def _given_back(stat: str) -> int:
    """Bytes of files that the kernel keeps for a group only as long as nobody wants the room."""
    rows = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    return int(rows.get("total_inactive_file", rows.get("inactive_file", "0")))


def _folders(membership: str, controller: str, groups: Path) -> Iterator[Path]:
    """The folders of a process's group and of those above it; inside a container only the topmost may be there."""
    for line in membership.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            yield from _upwards(groups, path)
        elif controller in controllers.split(","):
            for name in dict.fromkeys((controllers, controller)):
                yield from _upwards(groups / name, path)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    folder = root / path.lstrip("/")
    yield from (folder, *(above for above in folder.parents if above.is_relative_to(root)))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
