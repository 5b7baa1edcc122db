"""Loads many epochs and prints what the process holds: python -m tests.data.load.long_run BACKEND ROOT EPOCHS."""

import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from data.plan.config import AugmentConfig
from tests.data.load.loading import CONFIG, train_loader
from tests.data.making import scanned

PAGE = 4096


def held() -> dict[str, int]:
    """Resident bytes, open files and threads of this process."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    return {
        "resident": resident,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def main(backend: str, root: str, epochs: int, policy: str) -> None:
    """Print a list of what was held after each tenth of the epochs."""
    config = replace(CONFIG, augment=AugmentConfig(policy=policy))  # pyright: ignore[reportArgumentType]
    curve, batches = [], 0
    with closing(train_loader(backend, scanned(Path(root)), config)) as loader:  # pyright: ignore[reportArgumentType]
        for epoch in range(epochs):
            batches += sum(1 for _ in loader.epoch(epoch))
            if (epoch + 1) % (epochs // 10) == 0:
                curve.append(held() | {"batches": batches})
    sys.stdout.write(json.dumps(curve))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "none")
