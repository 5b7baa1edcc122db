"""Whether runs reproduce the published figure that their recipe aims at. Loads no torch."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.request import own_protocol
from trainer.evaluation.statistics import spread
from trainer.evidence.page import Tone
from trainer.evidence.run_record import Account
from trainer.evidence.targets import TARGETS, Target

Word = Literal["reproduced", "not reproduced", "not comparable", "not finished", "diverged"]
_TONES: Mapping[Word, Tone] = {"reproduced": "good", "not reproduced": "bad", "diverged": "bad"}
# conditions for the interval of a mean to decide: a wide one covers any figure
ENOUGH = 3  # seeds
WIDEST = 2  # half its width, in tolerances
_EPSILON = 1e-9  # rounding of decimal figures in binary


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether one run, or several that differ in their seed alone, reproduce the published figure."""

    word: Word
    why: str
    """A sentence."""
    target: Target | None = None
    """The published figure; None where none is known."""
    accuracies: Sequence[Accuracy] = ()
    """The accuracies that were compared; none where nothing was."""
    fix: str | None = None
    """The command after which they can be compared."""

    @property
    def tone(self) -> Tone:
        return _TONES.get(self.word, "open")

    def __str__(self) -> str:
        return f"{self.word}: {self.why}" + (f"\n  {self.fix}" if self.fix else "")


def judge(accounts: Sequence[Account], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> Verdict:
    """The verdict on runs of one recipe, which differ in their seed alone."""
    verdict, init = _judged(accounts, targets), accounts[0].recipe.init
    if not init.weights:
        return verdict
    begun = f" It was fine-tuned: it began from {init.weights} (SHA-256 {str(init.sha256)[:12]})."
    return replace(verdict, why=verdict.why + begun)


def _judged(accounts: Sequence[Account], targets: Mapping[str, tuple[Target, ...]]) -> Verdict:
    first = accounts[0]
    target = next(iter(targets.get(first.named.name, ())), None) if first.named else None
    if not all(account.result for account in accounts):
        all_diverged = all(account.stage == "diverged" for account in accounts)
        return Verdict(word="diverged" if all_diverged else "not finished", why=_unfinished(accounts), target=target)
    if not target:
        recipe = f"recipe {first.named.name}" if first.named else f"network {first.recipe.model.name}"
        return Verdict(word="not comparable", why=f"No published figure is known here for the {recipe}.")
    if problem := next(filter(None, (_obstacle(account, target) for account in accounts)), None):
        return Verdict(word="not comparable", why=problem, target=target)
    accuracies = list[Accuracy]()
    for account in {account.recipe.seed: account for account in accounts}.values():
        if not (accuracy := comparable(account, target)):
            return _unmeasured(account, target)
        accuracies.append(accuracy)
    reproduced, why = _compared(accuracies, target)
    word: Word = "reproduced" if reproduced else "not reproduced"
    return Verdict(word=word, why=f"{why}{_departures(first)}.", target=target, accuracies=accuracies)


def comparable(account: Account, target: Target) -> Accuracy | None:
    """The newest accuracy of the result's weights that was measured as the target was."""
    every = [*filter(account.is_of_result, account.evaluations), *filter(None, [account.accuracy])]
    return next((accuracy for accuracy in every if accuracy.protocol == target.protocol), None)


def _unfinished(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return _stage(accounts[0])
    stages = Counter(account.stage for account in accounts)
    return f"Of {len(accounts)} runs, {', '.join(f'{count} {stage}' for stage, count in stages.items())}."


def _stage(account: Account) -> str:
    """How far a run is that is not finished, and what happens next."""
    past, starts = account.history, account.history.of_kind("start")
    total = f" of {starts[-1]['total_steps']:,}" if starts and "total_steps" in starts[-1] else ""
    where = f"step {int(past.steps[-1]):,}{total}" if past.steps else "its first step"
    newest = next(reversed(past.evaluated), None)
    so_far = f" Newest top-1: {newest['top1']:.2f} %, after epoch {newest['epoch']}." if newest else ""
    if account.stage == "running":
        return f"The run was at {where} when this was written, and went on: {account.holder}.{so_far}"
    if account.stage == "diverged":
        end = past.events[-1]
        fix = "The same command would diverge again: lower optimizer.lr and name another --output."
        return f"At step {end['first']:,}, learning rate {end['lr']:.3g}: {end['why']}. {fix}{so_far}"
    return f"It stopped at {where}.{so_far} The same command goes on from the newest checkpoint."


def _obstacle(account: Account, target: Target) -> str | None:
    """Why no accuracy of this run says anything about the target."""
    images, epochs, figure = account.images, account.recipe.epochs, f"the figure of {_whose(target)}"
    if images.data != target.data:
        trained = f"on {images.data}" if images.data else f"on images that are not {target.data}'s ({images.why})"
        return f"The run trained {trained}; {figure} is of {target.data}."
    if account.recipe.init.weights:
        return f"{figure[0].upper()}{figure[1:]} is of a network that began from random weights."
    if epochs != target.epochs:
        return f"The run trained for {epochs} epochs; {figure} is after {target.epochs}."
    return None


def _unmeasured(account: Account, target: Target) -> Verdict:
    own = own_protocol(account.recipe).name
    return Verdict(
        word="not comparable",
        why=f"Measured is {own}; the figure of {_whose(target)} is by {target.protocol}. This measures it:",
        target=target,
        fix=f"provenet evaluate {shlex.quote(str(account.run.path))} --data DATA --protocol {target.protocol}",
    )


def _compared(accuracies: Sequence[Accuracy], target: Target) -> tuple[bool, str]:
    mean = spread([accuracy.top1 for accuracy in accuracies])
    low, high = mean.interval
    near = mean.mean >= target.top1 - target.tolerance - _EPSILON
    within = f", {'within' if near else 'more than'} the tolerance of {target.tolerance:.2f}"
    distance = f"{_distance(mean.mean - target.top1, target)}{within if mean.mean < target.top1 else ''}"
    if mean.count == 1:
        of = f"{accuracies[0].protocol}, {accuracies[0].weights} weights"
        return near, f"Top-1 {mean} % ({of}) is {distance}"
    covers = low <= target.top1 <= high
    sharp = mean.count >= ENOUGH and high - mean.mean <= WIDEST * target.tolerance
    where = "covers" if covers else f"lies {'above' if low > target.top1 else 'below'}"
    wide = " (too wide to go by: more seeds would narrow it)" if covers and not near and not sharp else ""
    return near or (high >= target.top1 and sharp), (
        f"Mean top-1 {mean} % over {mean.count} seeds is {distance}; its 95 % interval, {low:.2f} to {high:.2f}{wide}, "
        f"{where} that figure"
    )


def _distance(gap: float, target: Target) -> str:
    words = "equal to" if abs(gap) < 0.005 else f"{abs(gap):.2f} points {'above' if gap > 0 else 'below'}"
    return f"{words} the {target.top1:.2f} % of {_whose(target)}"


def _whose(target: Target) -> str:
    return f"the {target.by}" if target.by.startswith("paper") else target.by


def _departures(account: Account) -> str:
    if not account.named or not account.named.departures:
        return ""
    paths = [path for path, _, _ in account.named.departures]
    more = f" and {len(paths) - 3} more fields" if len(paths) > 3 else ""
    return f". The run differs from the recipe {account.named.name} in {', '.join(paths[:3])}{more}"
