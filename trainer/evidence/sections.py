"""What a run's report says, section by section."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from data.catalog.listing import SPLITS
from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.request import own_protocol
from trainer.evidence.cost import cost, figure
from trainer.evidence.page import code, command, facts, plain, section, strong, table
from trainer.evidence.run_record import Account, Departure
from trainer.evidence.targets import Target
from trainer.evidence.verdict import Verdict
from trainer.recipe.config import Recipe
from trainer.recipe.decode import differences as differing
from trainer.recipe.decode import encode
from trainer.recipe.identity import recipe_hash

SHOWN_BROKEN = 20

_SPLITS = {"train": "training images", "val": "evaluation images"}


def verdict(judged: Verdict) -> str:
    """The verdict, and the command after which the run can be compared."""
    text = f"{strong(f'{judged.word.capitalize()}.')} {plain(judged.why)}"
    return f"{text}\n\n{command(judged.fix)}" if judged.fix else text


def result(account: Account) -> str | None:
    """The accuracy with all that it is of."""
    found, accuracy = account.result, account.accuracy
    if not found or not accuracy:
        return None
    raw = found.get("raw_weights")
    rows: list[tuple[str, str | None]] = [
        ("top-1", strong(f"{accuracy.top1:.2f} %")),
        ("top-5", f"{accuracy.top5:.2f} %"),
        ("best top-1 after any epoch", f"{found['best_top1']:.2f} %"),
        ("without averaging", f"top-1 {raw['top1']:.2f} %, top-5 {raw['top5']:.2f} %" if raw else None),
        ("protocol", found["protocol"]),
        ("images evaluated", f"{accuracy.images:,}, each once{left_out(found['val_broken'] + accuracy.broken)}"),
        ("images seen in training", f"{accuracy.images_seen:,} in {account.recipe.epochs} epochs"),
    ]
    return section("Result", facts("result", rows))


def provenance(account: Account) -> str:
    """What the numbers follow from."""
    commits = dict.fromkeys(r["commit"] for r in account.of_kind("start") if r.get("commit"))
    commit = (account.accuracy and account.accuracy.commit) or ", ".join(commits)
    hashes = {split: account.sha256(split) for split in SPLITS}
    rows: list[tuple[str, str | None]] = [
        ("recipe follows", account.named.name if account.named else None),
        ("protocol during training", code(own_protocol(account.recipe).name)),
        ("seed", str(account.recipe.seed)),
        ("commit", code(commit) if commit else None),
        ("recipe (SHA-256)", code(recipe_hash(account.recipe))),
        *((f"{_SPLITS[split]} (SHA-256)", code(value) if value else None) for split, value in hashes.items()),
    ]
    return section("Provenance", facts("this run", rows))


def published(account: Account, targets: Sequence[Target]) -> str | None:
    """The figures that others have of this recipe."""
    if not targets or not account.named:
        return None
    head = ("whose", "top-1, %", "top-5, %", "data", "protocol", "epochs", "source")
    rows = [
        (
            *(target.by, target.figure, "-" if target.top5 is None else f"{target.top5:.2f}", code(target.data)),
            *(code(target.protocol), str(target.epochs), "; ".join(filter(None, (target.source, target.hours)))),
        )
        for target in targets
    ]
    aim = f"The first is what the recipe {account.named.name} aims at; tolerance {targets[0].tolerance:.2f} points."
    return section("Published figures", table(head, rows), plain(aim))


def evaluations(account: Account) -> str | None:
    """Those made during training, and those made later."""
    blocks = [
        *([table(_LATER, list(map(_later, account.evaluations)))] if account.evaluations else []),
        *([table(_DURING, rows)] if (rows := _during(account.records)) else []),
    ]
    return section("Evaluations", *blocks) if blocks else None


_LATER = ("labels", "protocol", "weights", "top-1, %", "95 % interval", "top-5, %", "images")
_DURING = ("epoch", "step", "weights", "top-1, %", "top-5, %", "loss")


def time_and_energy(account: Account) -> str | None:
    """Hours, energy, speed and memory of the whole run."""
    if not account.records:
        return None
    spent = cost(account.records)
    rows: list[tuple[str, str | None]] = [
        ("hours", f"{figure(spent.hours)} from each start to its last record"),
        (spent.device_hour, figure(spent.device_hours)),
        ("energy", _known(spent.energy_kwh, "kWh, estimated from rank 0's device")),
        ("images/s, median", _known(spent.images_per_s)),
        ("waiting for data, median", None if spent.data_wait is None else f"{100 * spent.data_wait:.1f} % of the time"),
        ("most memory, rank 0", _known(spent.memory_gb, "GB")),
        ("most in use on its GPU", _known(spent.device_memory_gb, "GB, DALI and other programs included")),
    ]
    return section("Time, energy, memory", facts("of the whole run", rows))


def images(account: Account) -> str:
    """Which images, and which of them were not used."""
    known, stored = account.images, account.result
    rows: list[tuple[str, str | None]] = [("data set", f"{known.data or 'unknown'}: {known.why}")]
    for split in SPLITS:
        if split in known.splits:
            count, broken = known.splits[split].images, len(known.splits[split].broken)
        elif stored:
            count, broken = stored[f"{split}_images"], stored[f"{split}_broken"]
        else:
            continue
        rows.append((_SPLITS[split], f"{count:,}{left_out(broken)}"))
    counted = [record["broken"] for record in account.of_kind("train") if "broken" in record]
    replaced = stored["train_replaced"] if stored else next(reversed(counted), 0)
    rows.append(("images replaced in training", f"{replaced:,}, which could not be read or decoded"))
    return section("Images", facts("images", rows), *_quarantined(account))


def starts(account: Account) -> str | None:
    """When, where and with what each stretch of the run began."""
    rows = [
        (
            datetime.fromtimestamp(r["time"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            str(r["step"]),
            f"{r['world_size']} x {r['device']} on {r['host']}",
            f"{r['launcher']}, {r['threads']} threads, loader {r['loader']}, Python {r['python']}",
            ", ".join(f"{name} {version}" for name, version in r["packages"].items()),
            _short(r.get("commit")),
        )
        for r in account.of_kind("start")
    ]
    head = ("time (UTC)", "after step", "where", "how", "packages", "commit")
    return section("Starts", table(head, rows)) if rows else None


def departures(account: Account) -> list[str]:
    """Where the recipe differs from the one it follows, and from the defaults."""
    shown: list[str] = []
    if named := account.named:
        same = [plain(f"None: the recipe is {named.name} but for the seed.")]
        shown.append(section(f"Departures from {named.name}", *(_differing(named.name, named.departures) or same)))
    defaults = differing(encode(Recipe()), encode(account.recipe))
    return [*shown, section("Recipe, where it departs from the defaults", *_differing("default", defaults))]


def left_out(broken: int) -> str:
    """How many are missing, to be added to a count."""
    return f"; {broken:,} broken {'is' if broken == 1 else 'are'} left out" if broken else ""


def _differing(name: str, leaves: Sequence[Departure]) -> list[str]:
    rows = [(code(path), *("unset" if value is None else str(value) for value in values)) for path, *values in leaves]
    return [table(("field", name, "this run"), rows)] if rows else []


def _quarantined(account: Account) -> list[str]:
    broken = [(split, image) for split, found in account.images.splits.items() for image in found.broken]
    if not broken:
        return []
    more = [plain(f"and {len(broken) - SHOWN_BROKEN:,} more")] if len(broken) > SHOWN_BROKEN else []
    rows = [(split, code(image.name), image.reason) for split, image in broken[:SHOWN_BROKEN]]
    return [table(("split", "left out", "why"), rows), *more]


def _during(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            *(str(r["epoch"]), str(r["step"]), "averaged" if r["kind"] == "eval_ema" else "raw"),
            *(f"{r['top1']:.2f}", f"{r['top5']:.2f}", f"{r['loss']:.4f}"),
        )
        for r in records
        if r["kind"] in ("eval", "eval_ema")
    ]


def _later(accuracy: Accuracy) -> tuple[str, ...]:
    interval = f"{accuracy.interval[0]:.2f} to {accuracy.interval[1]:.2f}" if accuracy.interval else "-"
    counted = f"{accuracy.images:,}{left_out(accuracy.broken)}"
    weights = "averaged" if accuracy.weights == "ema" else accuracy.weights
    shares = f"{accuracy.top1:.2f}", interval, f"{accuracy.top5:.2f}"
    return accuracy.labels, code(accuracy.protocol), weights, *shares, counted


def _short(commit: str | None) -> str:
    return code(commit.removesuffix("+")[:8] + "+" * commit.endswith("+")) if commit else "-"


def _known(value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{figure(value)} {unit}".strip()
