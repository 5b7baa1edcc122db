"""What follows a step: stopping, saving, or the end of a run that cannot be saved or has lost its directory."""

from contextlib import suppress
from typing import Any

from torch import Tensor

from models.weights import Origin
from trainer.checkpoint import grace
from trainer.checkpoint.holder import FencedError, Hold
from trainer.checkpoint.saving import Saver
from trainer.checkpoint.snapshot import tree_bytes
from trainer.context import RunContext
from trainer.engine.state import TrainState
from trainer.exits import FAILED, RunEndedError
from trainer.peers import PeerFailedError, agree


class SaveFailedError(RunEndedError):
    """A checkpoint cannot be written; the message says why, and from where the run goes on."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Keeper:
    """Lets all ranks agree on what follows a step, and rank 0 write checkpoints."""

    def __init__(
        self,
        context: RunContext,
        state: TrainState,
        saver: Saver | None,
        hold: Hold | None,
        classes: tuple[str, ...] = (),
    ) -> None:
        """`saver` and `hold` are None on all ranks but 0; `classes` are the names that the files of weights carry."""
        self._setup, self._state, self._saver, self._hold = context, state, saver, hold
        # a file of weights can be used by itself
        ours = context.recipe.input
        images = {name: getattr(ours, name) for name in ("mean", "std", "eval_resize", "eval_crop")}
        images["interpolation"] = ours.eval_interpolation
        self._about = Origin(model=context.recipe.model, classes=classes, input=images).metadata()
        self._said: str | None = None
        self._fault: Exception | None = None
        self._grace_s = grace.grace_s()

    def ask(self) -> None:
        """Begin to exchange what follows the next step, which hides the exchange; see `answer` (collective).

        Call it after saving a checkpoint that is due at this step, or the next step would count as due as well.
        """
        step = self._state.step + 1
        self._answer = self._setup.runtime.vote(
            lambda: self._setup.stop.is_set,
            lambda: self._saver is not None and self._saver.due(step),
            self._is_over,
        )

    def answer(self) -> tuple[bool, bool]:
        """Whether any rank had been asked to stop at `ask`, and whether a checkpoint is due now (collective).

        Raises:
            SaveFailedError: A checkpoint could not be written, and the site wants the run to stop then.
            FencedError: Another process took the run directory over.
            PeerFailedError: Rank 0 raises one of these.
        """
        self._say_failure()
        stop, save, over = self._answer()
        if over:
            raise self._fault or PeerFailedError
        return stop, save

    def boundary(self) -> tuple[bool, bool]:
        """`ask`, then `answer` (collective)."""
        self.ask()
        return self.answer()

    def rows(self) -> dict[str, Tensor]:
        """The state that differs between ranks, of all ranks (collective)."""
        return {name: self._setup.runtime.gather(own) for name, own in self._state.own().items()}

    def save(self, rows: dict[str, Tensor], top1: float | None = None) -> None:
        """Begin to write a checkpoint of `rows`; training may go on at once (rank 0 writes).

        `top1`: of an evaluation of these very weights, percent.
        """
        if self._saver:
            tree = self._state.tree(rows, self._about)
            self._say_slow(self._saver.write_s, tree)
            self._saver.begin(self._state.step, tree, top1)

    def finish(self) -> None:
        """Wait until the last checkpoint is written (collective).

        Raises:
            SaveFailedError: It could not be written (rank 0).
            PeerFailedError: Rank 0 raises that.
        """
        if self._saver:
            self._saver.finish()
        failure = self._saver.failure if self._saver else None
        agree(self._setup.runtime, self._failed(failure) if failure else None)

    def _say_failure(self) -> None:
        failure = self._saver.failure if self._saver else None
        if failure and failure != self._said:
            self._setup.console.say(f"{failure}\n  going on; the next checkpoint is tried again")
        self._said = failure

    def _say_slow(self, write_s: float | None, tree: dict[str, Any]) -> None:
        """Print once if an earlier checkpoint took so long that one at a stop may come too late."""
        if self._grace_s is None or write_s is None:
            return
        if slow := grace.warning(write_s, tree_bytes(tree), self._grace_s):
            self._setup.console.say(slow)
            self._grace_s = None

    def _is_over(self) -> bool:
        """Whether this rank has to end the run; keeps why, as a later write may succeed before the answer."""
        failure = self._saver.failure if self._saver else None
        if failure and self._setup.site.save_failure == "stop":
            self._fault = self._failed(failure)
        if self._hold and self._hold.lost:
            self._fault = _fenced(self._hold)
        return self._fault is not None

    def _failed(self, failure: str) -> SaveFailedError:
        text = f"{failure}\n  the same command goes on from the newest valid checkpoint"
        return SaveFailedError(text, self._saver.failure_code if self._saver else FAILED)


def _fenced(hold: Hold) -> FencedError:
    try:
        hold.check()
    except FencedError as error:
        return error
    return FencedError("another process took over the run directory; this process stops without writing more")


def checkpoint_bytes(state: TrainState, world_size: int) -> int:
    """An upper estimate of a checkpoint's size; before the first step the optimizer may not have its moments yet."""
    weights = [network.state_dict() for network in state.networks]
    moments = 2 * sum(weight.nbytes for weight in state.model.parameters())
    return tree_bytes(weights) + moments + world_size * tree_bytes(state.own())


def advise_grace(context: RunContext, count: int) -> None:
    """Print if a stop would leave too little time to save a checkpoint of `count` bytes here (rank 0 only)."""
    if (grace_s := grace.grace_s()) is None:
        return
    with suppress(OSError):  # the first checkpoint reports it
        if slow := grace.warning(grace.measured_write_s(context.run.path, count), count, grace_s):
            context.console.say(slow)
