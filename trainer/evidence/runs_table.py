"""Many runs in one table, beside the published figures: a row for those that differ in their seed alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.statistics import spread
from trainer.evidence import page
from trainer.evidence.cost import Cost, cost, figure
from trainer.evidence.run_record import Account
from trainer.evidence.targets import TARGETS, Target
from trainer.evidence.verdict import Verdict, judge
from trainer.recipe.decode import encode

HEAD = (
    *("recipe", "runs", "top-1, %", "top-5, %", "protocol", "target", "verdict"),
    *("hours", "device-hours", "energy, kWh"),
)
NOTE = (
    "mean +- standard deviation over seeds; hours, device-hours and energy: mean a run, energy estimated from rank 0's "
    "device; device-hours are"
)
_NAMED = 3  # departures that a row names


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that differ in their seed alone."""

    accounts: Sequence[Account]
    verdict: Verdict
    costs: Sequence[Cost]
    """Of each run."""

    @property
    def recipe(self) -> str:
        """The recipe that they follow, and where they depart from it."""
        named = self.accounts[0].named
        if not named:
            return self.accounts[0].recipe.model.name
        shown = [f"{path} {_text(ours)}" for path, _, ours in named.departures[:_NAMED]]
        more = [f"{len(named.departures) - _NAMED} more"] if len(named.departures) > _NAMED else []
        return f"{named.name} with {', '.join([*shown, *more])}" if shown else named.name

    @property
    def scores(self) -> Sequence[Accuracy]:
        """The accuracies that were judged; else the results that there are."""
        return self.verdict.accuracies or [account.accuracy for account in self.accounts if account.accuracy]


def groups(accounts: Sequence[Account], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> list[Group]:
    """The runs by all but their seed: recipe and images; in the order of their first."""
    found: dict[str, list[Account]] = {}
    for account in accounts:
        found.setdefault(_recipe(account), []).append(account)
    return [
        Group(accounts=runs, verdict=judge(runs, targets), costs=[cost(run.records) for run in runs])
        for same in found.values()
        for runs in _by_images(same)
    ]


def rows(found: Sequence[Group], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> list[tuple[str, ...]]:
    """Under `HEAD`, a row for each group, and behind the groups of a recipe one for each published figure of it."""
    names = dict.fromkeys(_name(group) for group in found)
    shown: list[tuple[str, ...]] = []
    for name in names:
        shown += [_row(group) for group in found if _name(group) == name]
        shown += [_published(name, target) for target in targets.get(name, ())]
    return shown


def notes(found: Sequence[Group]) -> list[str]:
    """What the numbers mean, and each verdict in words."""
    units = dict.fromkeys(cost.device_hour for group in found for cost in group.costs)
    return [f"{NOTE} {' or '.join(units)}", *(f"{group.recipe}: {group.verdict}" for group in found)]


def as_markdown(found: Sequence[Group], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> str:
    """Table and notes for a README."""
    lines = [page.plain(line) for line in notes(found)]
    return page.table(HEAD, rows(found, targets)) + "\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _row(group: Group) -> tuple[str, ...]:
    scores, target = group.scores, group.verdict.target
    finished = sum(bool(account.result) for account in group.accounts)
    count = f"{finished} of {len(group.accounts)}" if finished < len(group.accounts) else str(finished)
    energies = [cost.energy_kwh for cost in group.costs if cost.energy_kwh is not None]
    return (
        *(group.recipe, count),
        str(spread([score.top1 for score in scores])) if scores else "-",
        str(spread([score.top5 for score in scores])) if scores else "-",
        ", ".join(dict.fromkeys(score.protocol for score in scores)) or "-",
        *(f"{target.top1:.2f} ({target.by})" if target else "-", group.verdict.word),
        figure(mean(cost.hours for cost in group.costs)),
        figure(mean(cost.device_hours for cost in group.costs)),
        figure(mean(energies)) if energies else "-",
    )


def _published(name: str, target: Target) -> tuple[str, ...]:
    top5 = "-" if target.top5 is None else f"{target.top5:.2f}"
    measured = (target.figure, top5, target.protocol)
    return (name, target.by, *measured, "-", "published", target.hours or "-", "-", "-")


def _name(group: Group) -> str:
    named = group.accounts[0].named
    return named.name if named else group.recipe


def _recipe(account: Account) -> str:
    return json.dumps({name: value for name, value in encode(account.recipe).items() if name != "seed"}, sort_keys=True)


def _by_images(accounts: Sequence[Account]) -> list[list[Account]]:
    """Runs of one recipe by what they train on; one that has not listed its images yet counts to the first."""
    images = [(account.sha256("train"), account.sha256("val")) for account in accounts]
    unknown = (None, None)
    first = next((pair for pair in images if pair != unknown), unknown)
    found: dict[tuple[str | None, str | None], list[Account]] = {}
    for pair, account in zip(images, accounts, strict=True):
        found.setdefault(first if pair == unknown else pair, []).append(account)
    return list(found.values())


def _text(value: object) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)
