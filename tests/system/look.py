"""Print what a process can tell of itself, as JSON: it is started and forked, and must not tell the difference."""

import json
import os
import resource
import signal
import sys
from pathlib import Path

ITSELF = Path("/proc/self")


def main() -> None:
    status = dict(line.split(":\t") for line in (ITSELF / "status").read_text().splitlines())
    told = {
        "words": [sys.argv, sys.orig_argv, *(part.decode() for part in shown("cmdline"))],
        "environment": [dict(os.environ), sorted(part.decode() for part in shown("environ"))],
        "folder": [str(Path.cwd()), sys.path],
        "leads its session": os.getpid() == os.getpgid(0) == os.getsid(0),
        "parent": os.getppid(),
        "signals": [[str(signal.getsignal(number)) for number in signal.valid_signals()], status["SigBlk"]],
        "ignored": status["SigIgn"],
        "files": {number: str((ITSELF / "fd" / number).readlink()).split(":")[0] for number in "012"},
        "open files": len(list((ITSELF / "fd").iterdir())),
        "limits": [resource.getrlimit(number) for number in range(16)],
        "mask": [status["Umask"], status["Cpus_allowed"]],
        "name": [__name__, __spec__.name if __spec__ else "", Path(__file__).name],
        "ours": sorted(
            name for name in sys.modules if name.partition(".")[0] in ("launch", "trainer", "data", "models")
        ),
        "output": [
            sys.stdout.line_buffering,
            getattr(sys.stdout, "write_through", None),
            sys.stdout.encoding,
            sys.stderr.errors,
        ],
    }
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    if "dies" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(7)


def shown(name: str) -> list[bytes]:
    return (ITSELF / name).read_bytes().rstrip(b"\0").split(b"\0")


if __name__ == "__main__":
    main()
