"""Two of a kind, measured in turns within one run, and their ratio. Standard library only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

HEAD = ("what", "ours", "theirs", "unit", "ratio", "middle half", "goal")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be."""

    side: Literal["at least", "at most"]
    bound: float

    def is_met(self, ratio: float) -> bool:
        """Whether it is."""
        return ratio >= self.bound if self.side == "at least" else ratio <= self.bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Ours beside theirs."""

    what: str
    """What was measured, on what, and beside what."""
    unit: str
    """Of the two figures."""
    ours: float
    """Median over the turns."""
    theirs: float
    """Median over the turns."""
    ratio: float
    """Median of ours / theirs within a turn."""
    spread: tuple[float, float]
    """The middle half of those ratios."""
    goal: Goal | None
    """None: shown beside a pair that has one."""


def in_turns(contestants: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """What each said in each round, in the order given: first to last, then last to first, and so on.

    A machine that slows down in the middle of a round slows each of them equally often.
    """
    said: list[list[float]] = [[] for _ in contestants]
    places = range(len(contestants))
    for number in range(rounds):
        for place in places[:: -1 if number % 2 else 1]:
            said[place].append(contestants[place]())
    return said


def compare(what: str, unit: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> Pair:
    """The pair of two that were measured in the same turns."""
    ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
    return Pair(
        what=what,
        unit=unit,
        ours=median(ours),
        theirs=median(theirs),
        ratio=median(ratios),
        spread=middle_half(ratios),
        goal=goal,
    )


def middle_half(rising: Sequence[float]) -> tuple[float, float]:
    """Of rising values, those at a quarter from either end."""
    return rising[len(rising) // 4], rising[-1 - len(rising) // 4]


def cells(pair: Pair) -> tuple[str, ...]:
    """A pair as text, under HEAD."""
    low, high = pair.spread
    verdict = ""
    if pair.goal:
        verdict = f"{pair.goal.side} {pair.goal.bound:g}: {'met' if pair.goal.is_met(pair.ratio) else 'missed'}"
    figures = _figure(pair.ours), _figure(pair.theirs)
    return pair.what, *figures, pair.unit, f"{pair.ratio:.3f}", f"{low:.3f} to {high:.3f}", verdict


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
