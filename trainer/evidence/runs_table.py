"""Many runs in one table, beside the published figures: a row for those that differ in their seed alone."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.statistics import spread
from trainer.evidence import page
from trainer.evidence.cost import Cost, cost, figure
from trainer.evidence.run_record import Account
from trainer.evidence.targets import TARGETS, Target
from trainer.evidence.verdict import Verdict, judge
from trainer.recipe.identity import recipe_hash

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
    label: str = ""
    """Name in a table; if empty, that of the recipe, and where they depart from it."""

    @property
    def name(self) -> str:
        """The recipe that they follow, or their network."""
        named = self.accounts[0].named
        return named.name if named else self.accounts[0].recipe.model.name

    @property
    def recipe(self) -> str:
        """The label, or the same and where they depart from it."""
        if self.label:
            return self.label
        named = self.accounts[0].named
        departures = named.departures if named else ()
        shown = [f"{path} {text(ours)}" for path, _, ours in departures[:_NAMED]]
        more = [f"{len(departures) - _NAMED} more"] if len(departures) > _NAMED else []
        return f"{self.name} with {', '.join([*shown, *more])}" if shown else self.name

    @property
    def accuracies(self) -> Sequence[Accuracy]:
        """The accuracies that were judged; else the results that there are."""
        return self.verdict.accuracies or [account.accuracy for account in self.accounts if account.accuracy]


def groups(accounts: Sequence[Account], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> list[Group]:
    """The runs by all but their seed: recipe and images; in the order of their first."""
    by_recipe: dict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        by_recipe[recipe_hash(replace(account.recipe, seed=0))].append(account)
    return [
        Group(accounts=runs, verdict=judge(runs, targets), costs=[cost(run.history) for run in runs])
        for same in by_recipe.values()
        for runs in _by_images(same)
    ]


def rows(shown: Sequence[Group], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> list[tuple[str, ...]]:
    """Under `HEAD`, a row for each group, and behind the groups of a recipe one for each published figure of it."""
    table: list[tuple[str, ...]] = []
    for name in dict.fromkeys(group.name for group in shown):
        table += [_row(group) for group in shown if group.name == name]
        table += [_published(name, target) for target in targets.get(name, ())]
    return table


def notes(shown: Sequence[Group]) -> list[str]:
    """What the numbers mean, and each verdict in words."""
    units = dict.fromkeys(cost.device_hour for group in shown for cost in group.costs)
    return [f"{NOTE} {' or '.join(units)}", *(f"{group.recipe}: {group.verdict}" for group in shown)]


def as_markdown(shown: Sequence[Group], targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> str:
    lines = [f"- {page.plain(line)}\n" for line in notes(shown)]
    return f"{page.table(HEAD, rows(shown, targets))}\n\n{''.join(lines)}"


def _row(group: Group) -> tuple[str, ...]:
    accuracies, target = group.accuracies, group.verdict.target
    finished = sum(bool(account.result) for account in group.accounts)
    count = f"{finished} of {len(group.accounts)}" if finished < len(group.accounts) else str(finished)
    energies = [cost.energy_kwh for cost in group.costs if cost.energy_kwh is not None]
    return (
        *(group.recipe, count),
        str(spread([accuracy.top1 for accuracy in accuracies])) if accuracies else "-",
        str(spread([accuracy.top5 for accuracy in accuracies])) if accuracies else "-",
        ", ".join(dict.fromkeys(accuracy.protocol for accuracy in accuracies)) or "-",
        *(f"{target.top1:.2f} ({target.by})" if target else "-", group.verdict.word),
        figure(mean(cost.hours for cost in group.costs)),
        figure(mean(cost.device_hours for cost in group.costs)),
        figure(mean(energies)) if energies else "-",
    )


def _published(name: str, target: Target) -> tuple[str, ...]:
    top5 = "-" if target.top5 is None else f"{target.top5:.2f}"
    return (name, target.by, target.figure, top5, target.protocol, "-", "published", target.hours or "-", "-", "-")


def _by_images(accounts: Sequence[Account]) -> list[list[Account]]:
    """Runs of one recipe by what they train on; one that has not listed its images yet counts to the first."""
    images = [(account.sha256("train"), account.sha256("val")) for account in accounts]
    first = next((pair for pair in images if any(pair)), images[0])
    grouped: dict[tuple[str | None, str | None], list[Account]] = defaultdict(list)
    for pair, account in zip(images, accounts, strict=True):
        grouped[pair if any(pair) else first].append(account)
    return list(grouped.values())


def text(value: object) -> str:
    """A setting as a recipe has it."""
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value)
