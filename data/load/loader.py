"""A plan carried out by a backend: the loader that training and evaluation see."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from data.load.note import Note
from data.plan.samples import Plan, Samples
from data.types import Batch, BrokenImage, TooManyBrokenError

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A backend at work: batches in the order of the samples it was opened with."""

    def pull(self) -> Batch:
        """The next batch."""
        ...

    def close(self) -> None:
        """Stop the threads and free the memory."""
        ...


class PlanLoader:
    """A `data.types.Loader`.

    The stream runs ahead across the ends of epochs, so that no epoch starts with a wait. It is opened anew only when
    asked for another batch than the next.
    """

    def __init__(
        self,
        plan: Plan,
        open_stream: Callable[[Iterator[Samples]], Stream],
        max_broken: float,
        note: Note | None = None,
    ) -> None:
        """Prepare; reading starts with the first batch asked for.

        Args:
            plan: What to do with the images.
            open_stream: The backend.
            max_broken: Share of the split's images that may turn out to be broken, 0 to 1.
            note: Where to write down what the backend has in hand.
        """
        self._plan, self._open, self._note = plan, open_stream, note
        self._tolerance = Tolerance(max_broken, len(plan.manifest))
        self._stream: Stream | None = None
        self._next = (-1, -1)

    @property
    def batches_per_epoch(self) -> int:
        """Batches this process gets in one epoch."""
        return self._plan.batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on; see `data.types.Loader`."""
        if self._stream is None or self._next != (epoch, first_batch):
            self.close()
            samples = self._plan.samples(epoch, first_batch)
            self._stream = self._open(self._note.follow(samples) if self._note else samples)
        for batch in range(first_batch, self.batches_per_epoch):
            self._next = (-1, -1)  # what an interruption or an error leaves is not gone on with
            ready = self._stream.pull()
            if self._note:
                self._note.came_out()
            self._tolerance.bear(ready.broken)
            self._next = (epoch + 1, 0) if batch + 1 == self.batches_per_epoch else (epoch, batch + 1)
            yield ready

    def close(self) -> None:
        """Stop the threads and free the memory."""
        if self._stream:
            self._stream.close()
        self._stream, self._next = None, (-1, -1)


class Tolerance:
    """How many images may turn out to be broken."""

    def __init__(self, share: float, total: int) -> None:
        """None so far.

        Args:
            share: Of the images, 0 to 1.
            total: Images in all.
        """
        self._bearable, self._total = share * total, total
        self._broken = set[str]()

    def bear(self, images: Iterable[BrokenImage]) -> None:
        """Say of each once that it is broken.

        Raises:
            TooManyBrokenError: There are more than can be borne.
        """
        last = None
        for last in images:
            if last.name not in self._broken:
                _log.warning("broken since it was listed, and passed over: %s", last)
                self._broken.add(last.name)
        if last and len(self._broken) > self._bearable:
            share = self._bearable / self._total
            raise TooManyBrokenError(
                f"{len(self._broken)} of {self._total:,} images broke since they were listed, the last: {last}\n"
                f"  {share:.3%} may break: raise --max-broken, or repair the files and start again"
            )
