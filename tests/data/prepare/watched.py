from collections.abc import Iterator
from contextlib import contextmanager

from data.types import Progress


class Watched:
    """What a library shows of its work: the phases by name and unit, each with the last that it said."""

    def __init__(self) -> None:
        self.phases: dict[str, tuple[str, int, int]] = {}

    @contextmanager
    def __call__(self, what: str, unit: str) -> Iterator[Progress]:
        def show(done: int, total: int) -> None:
            self.phases[what] = (unit, done, total)

        yield show
