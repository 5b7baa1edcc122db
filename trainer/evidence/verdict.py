"""Whether runs reproduce the published figure that their recipe aims at. Loads no torch."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.evaluation.protocol import parse
from trainer.evaluation.spread import Spread, spread
from trainer.evidence.page import Tone
from trainer.evidence.run_record import Account, Score
from trainer.evidence.targets import TARGETS, Target

Word = Literal["reproduced", "not reproduced", "not comparable", "not finished"]
_TONES: Mapping[Word, Tone] = {"reproduced": "good", "not reproduced": "bad"}
# for the interval of a mean to count; one that is wide enough covers anything
ENOUGH = 3  # seeds
WIDEST = 2  # half of it, in tolerances
_EPSILON = 1e-9  # what decimal figures lose as binary ones


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How one run, or several that differ in their seed alone, stand beside the published figure."""

    word: Word
    why: str
    """A sentence."""
    target: Target | None = None
    """What they are held against; None where nothing is known."""
    scores: Sequence[Score] = ()
    """The accuracies that were compared; none where nothing was."""
    mend: str | None = None
    """The command after which they can be compared."""

    @property
    def tone(self) -> Tone:
        """How it is shown."""
        return _TONES.get(self.word, "open")

    def __str__(self) -> str:
        """For the console."""
        mend = f"\n  {self.mend}" if self.mend else ""
        return f"{self.word}: {self.why}{mend}"


def judge(accounts: Sequence[Account], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> Verdict:
    """The verdict on runs of one recipe, which differ in their seed alone."""
    first = accounts[0]
    target = next(iter(targets.get(first.named.name, ())), None) if first.named else None
    if not all(account.result for account in accounts):
        return Verdict(word="not finished", why=_unfinished(accounts), target=target)
    if not target:
        recipe = f"recipe {first.named.name}" if first.named else f"network {first.recipe.model.name}"
        return Verdict(word="not comparable", why=f"No published figure is known here for the {recipe}.")
    if problem := next(filter(None, (_obstacle(account, target) for account in accounts)), None):
        return Verdict(word="not comparable", why=problem, target=target)
    distinct = {account.recipe.seed: account for account in accounts}.values()
    found = [(account, comparable(account, target)) for account in distinct]
    if missing := [account for account, score in found if not score]:
        return _unmeasured(missing[0], target)
    scores = [score for _, score in found if score]
    word, why = _compared(scores, target)
    return Verdict(word=word, why=f"{why}{_departures(first)}.", target=target, scores=scores)


def comparable(account: Account, target: Target) -> Score | None:
    """The newest accuracy of the result's weights that was measured as the target was."""
    protocol = parse(target.protocol).name
    every = [*filter(account.is_of_result, account.evaluations), *([account.score] if account.score else [])]
    return next((score for score in every if score.protocol == protocol), None)


def _unfinished(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return "The same command goes on from the newest checkpoint."
    count = sum(not account.result for account in accounts)
    return f"{count} of {len(accounts)} runs {'is' if count == 1 else 'are'} under way or aborted."


def _obstacle(account: Account, target: Target) -> str | None:
    """Why no accuracy of this run says anything about the target."""
    images, epochs, figure = account.images, account.recipe.epochs, f"the figure of {_whose(target)}"
    if images.data != target.data:
        what = f"on {images.data}" if images.data else f"on images that are not {target.data}'s ({images.why})"
        return f"The run trained {what}; {figure} is of {target.data}."
    if epochs != target.epochs:
        return f"The run trained for {epochs} epochs; {figure} is after {target.epochs}."
    return None


def _unmeasured(account: Account, target: Target) -> Verdict:
    protocol = parse(target.protocol).name
    return Verdict(
        word="not comparable",
        why=f"Measured is {account.protocol}; the figure of {_whose(target)} is by {protocol}. This measures it:",
        target=target,
        mend=f"provenet evaluate {shlex.quote(str(account.run.path))} --data DATA --protocol {protocol}",
    )


def _compared(scores: Sequence[Score], target: Target) -> tuple[Word, str]:
    found = spread([score.top1 for score in scores])
    low, high = found.interval
    near = found.mean >= target.top1 - target.tolerance - _EPSILON
    if found.count == 1:
        of = f"{scores[0].protocol}, {scores[0].weights} weights"
        return _word(near), f"Top-1 {found} % ({of}) is {_distance(found, target)}{_within(found, target, near)}"
    covers = low <= target.top1 <= high
    sharp = found.count >= ENOUGH and high - found.mean <= WIDEST * target.tolerance
    place = "covers" if covers else f"lies {'above' if low > target.top1 else 'below'}"
    wide = " (too wide to go by: more seeds would narrow it)" if covers and not near and not sharp else ""
    return _word(near or (high >= target.top1 and sharp)), (
        f"Mean top-1 {found} % over {found.count} seeds is {_distance(found, target)}{_within(found, target, near)}; "
        f"its 95 % interval, {low:.2f} to {high:.2f}{wide}, {place} that figure"
    )


def _word(yes: bool) -> Word:
    return "reproduced" if yes else "not reproduced"


def _distance(found: Spread, target: Target) -> str:
    gap = found.mean - target.top1
    words = "equal to" if abs(gap) < 0.005 else f"{abs(gap):.2f} points {'above' if gap > 0 else 'below'}"
    return f"{words} the {target.top1:.2f} % of {_whose(target)}"


def _whose(target: Target) -> str:
    return f"the {target.by}" if target.by.startswith("paper") else target.by


def _within(found: Spread, target: Target, near: bool) -> str:
    if found.mean >= target.top1:
        return ""
    return f", {'within' if near else 'more than'} the tolerance of {target.tolerance:.2f}"


def _departures(account: Account) -> str:
    if not account.named or not account.named.departures:
        return ""
    paths = [path for path, _, _ in account.named.departures]
    more = f" and {len(paths) - 3} more fields" if len(paths) > 3 else ""
    return f". The recipe departs from {account.named.name} in {', '.join(paths[:3])}{more}"
