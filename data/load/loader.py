"""The loader of training and evaluation: carries out a plan with a backend."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from data.load.note import Note
from data.plan.evaluation import Plan
from data.plan.samples import Samples
from data.types import Batch, BrokenImage, TooManyBrokenError

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A backend at work: batches in the order of the samples it was opened with."""

    def pull(self) -> Batch: ...

    def close(self) -> None:
        """Stop the threads and free the memory."""
        ...


class PlanLoader:
    """A `data.types.Loader`.

    The stream reads ahead across the ends of epochs, so that no epoch starts with a wait. It is opened again only when
    another batch than the next is requested.
    """

    def __init__(
        self,
        plan: Plan,
        open_stream: Callable[[Iterator[Samples]], Stream],
        max_broken: float,
        note: Note | None = None,
    ) -> None:
        """Prepare; reading starts with the first batch that is requested.

        Args:
            plan: What to do with the images.
            open_stream: Starts the backend.
            max_broken: Share of the split's images that may be broken, 0 to 1.
            note: Records the batches that the backend works on.
        """
        self._plan, self._open, self._note = plan, open_stream, note
        self._tolerance = Tolerance(max_broken, len(plan.manifest))
        self._stream: Stream | None = None
        self._next = (-1, -1)

    @property
    def batches_per_epoch(self) -> int:
        return self._plan.batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on; see `data.types.Loader`."""
        if self._stream is None or self._next != (epoch, first_batch):
            self.close()
            samples = self._plan.samples(epoch, first_batch)
            self._stream = self._open(self._note.follow(samples) if self._note else samples)
        for batch in range(first_batch, self.batches_per_epoch):
            self._next = (-1, -1)  # after an interruption or an error the stream is not used again
            ready = self._stream.pull()
            if self._note:
                self._note.finished()
            self._tolerance.count(ready.broken)
            self._next = (epoch + 1, 0) if batch + 1 == self.batches_per_epoch else (epoch, batch + 1)
            yield ready

    def close(self) -> None:
        """Stop the threads and free the memory."""
        if self._stream:
            self._stream.close()
        self._stream, self._next = None, (-1, -1)


class Tolerance:
    """Counts broken images, up to a limit."""

    def __init__(self, share: float, total: int) -> None:
        """Accept a `share`, 0 to 1, of `total` images."""
        self._limit, self._total = share * total, total
        self._broken = set[str]()

    def count(self, images: Iterable[BrokenImage]) -> None:
        """Log and count each broken image once.

        Raises:
            TooManyBrokenError: There are more than the limit.
        """
        last = None
        for last in images:
            if last.name not in self._broken:
                _log.warning("broken since it was listed, and skipped: %s", last)
                self._broken.add(last.name)
        if last and len(self._broken) > self._limit:
            share = self._limit / self._total
            raise TooManyBrokenError(
                f"{len(self._broken)} of {self._total:,} images broke since they were listed, the last: {last}\n"
                f"  {share:.3%} may break: raise --max-broken, or repair the files and start again"
            )
