"""What a run's report says, section by section."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trainer.evidence.cost import cost, figure
from trainer.evidence.page import code, command, facts, plain, section, strong, table
from trainer.evidence.run_record import Account, Departure, Score
from trainer.evidence.targets import Target
from trainer.evidence.verdict import Verdict
from trainer.recipe.config import Recipe
from trainer.recipe.decode import differences as differing
from trainer.recipe.decode import encode
from trainer.recipe.identity import recipe_hash

SHOWN_BROKEN = 20

_LABELS = {"val": "val", "raw": "raw", "ema": "averaged"}


def verdict(found: Verdict) -> str:
    """How it stands beside the published figure, and the command that mends what keeps it from being compared."""
    said = f"{strong(f'{found.word.capitalize()}.')} {plain(found.why)}"
    return f"{said}\n\n{command(found.mend)}" if found.mend else said


def result(account: Account) -> str | None:
    """The accuracy with all that it is of."""
    found = account.result
    if not found or not account.score:
        return None
    rows: list[tuple[str, str | None]] = [
        ("top-1", strong(f"{found['top1']:.2f} %")),
        ("top-5", f"{found['top5']:.2f} %"),
        ("best top-1 after any epoch", _percent(found.get("best_top1"))),
        ("without averaging", _raw(found.get("raw_weights"))),
        ("protocol", found.get("protocol")),
        ("images evaluated", _evaluated(found)),
        ("images seen in training", _seen(found)),
    ]
    return section("Result", facts("result", rows))


def provenance(account: Account) -> str:
    """What the numbers follow from."""
    commits = dict.fromkeys(r["commit"] for r in account.of_kind("start") if r.get("commit"))
    commit = (account.result or {}).get("commit") or ", ".join(commits)
    rows: list[tuple[str, str | None]] = [
        ("recipe follows", account.named.name if account.named else None),
        ("protocol during training", code(account.protocol)),
        ("seed", str(account.recipe.seed)),
        ("commit", _code(commit)),
        ("recipe (SHA-256)", code(recipe_hash(account.recipe))),
        ("training images (SHA-256)", _code(account.sha256("train"))),
        ("evaluation images (SHA-256)", _code(account.sha256("val"))),
    ]
    return section("Provenance", facts("this run", rows))


def published(account: Account, targets: Sequence[Target]) -> str | None:
    """The figures that others have of this recipe."""
    if not targets or not account.named:
        return None
    head = ("whose", "top-1, %", "top-5, %", "data", "protocol", "epochs", "source")
    rows = [
        (
            *(target.by, target.figure, _or_dash(target.top5, ".2f"), code(target.data)),
            *(
                code(target.protocol),
                str(target.epochs),
                f"{target.source}; {target.hours}" if target.hours else target.source,
            ),
        )
        for target in targets
    ]
    aim = f"The first is what the recipe {account.named.name} aims at; tolerance {targets[0].tolerance:.2f} points."
    return section("Published figures", table(head, rows), plain(aim))


def evaluations(account: Account) -> str | None:
    """Those made during training, and those made later."""
    blocks = [
        *([table(_LATER, [_later(score) for score in account.evaluations])] if account.evaluations else []),
        *([table(_DURING, rows)] if (rows := _during(account.records)) else []),
    ]
    return section("Evaluations", *blocks) if blocks else None


_LATER = ("labels", "protocol", "weights", "top-1, %", "95 % interval", "top-5, %", "images")
_DURING = ("epoch", "step", "weights", "top-1, %", "top-5, %", "loss")


def time_and_energy(account: Account) -> str | None:
    """What it took."""
    if not account.records:
        return None
    found = cost(account.records)
    rows: list[tuple[str, str | None]] = [
        ("hours", f"{figure(found.hours)} from each start to its last record"),
        (found.device_hour, figure(found.device_hours)),
        ("energy", _known(found.energy_kwh, "kWh, estimated from rank 0's device")),
        ("images/s, median", _known(found.images_per_s)),
        ("waiting for data, median", None if found.data_wait is None else f"{100 * found.data_wait:.1f} % of the time"),
        ("most memory, rank 0", _known(found.memory_gb, "GB")),
        ("most in use on its GPU", _known(found.device_memory_gb, "GB, DALI and other programs included")),
    ]
    return section("Time, energy, memory", facts("of the whole run", rows))


def images(account: Account) -> str:
    """Which images, and which of them were not used."""
    found, noted = account.images, account.result or {}
    rows: list[tuple[str, str | None]] = [("data set", f"{found.data or 'unknown'}: {found.why}")]
    for name, split in (("training images", "train"), ("evaluation images", "val")):
        if split in found.splits:
            count, broken = found.splits[split].images, len(found.splits[split].broken)
            rows.append((name, f"{count:,}{left_out(broken)}"))
        elif f"{split}_images" in noted:
            rows.append((name, f"{noted[f'{split}_images']:,}{left_out(noted.get(f'{split}_broken', 0))}"))
    replaced = noted.get(
        "train_replaced", next((r["broken"] for r in account.of_kind("train")[::-1] if "broken" in r), 0)
    )
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
    found: list[str] = []
    if named := account.named:
        same = [plain(f"None: the recipe is {named.name} but for the seed.")]
        found.append(section(f"Departures from {named.name}", *(_differing(named.name, named.departures) or same)))
    defaults = differing(encode(Recipe()), encode(account.recipe))
    return [*found, section("Recipe, where it departs from the defaults", *_differing("default", defaults))]


def left_out(broken: int) -> str:
    """How many are missing, to be added to a count."""
    return f"; {broken:,} broken {'is' if broken == 1 else 'are'} left out" if broken else ""


def _differing(name: str, leaves: Sequence[Departure]) -> list[str]:
    rows = [(code(path), _value(theirs), _value(ours)) for path, theirs, ours in leaves]
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


def _later(score: Score) -> tuple[str, ...]:
    interval = f"{score.interval[0]:.2f} to {score.interval[1]:.2f}" if score.interval else "-"
    return (
        *(score.labels, code(score.protocol), _LABELS.get(score.weights, score.weights)),
        *(f"{score.top1:.2f}", interval, f"{score.top5:.2f}", f"{score.images:,}{left_out(score.broken)}"),
    )


def _evaluated(found: dict[str, Any]) -> str | None:
    if "images" not in found:
        return None
    return f"{found['images']:,}, each once{left_out(found.get('val_broken', 0) + found.get('broken', 0))}"


def _seen(found: dict[str, Any]) -> str | None:
    return f"{found['images_seen']:,} in {found['epochs']} epochs" if "images_seen" in found else None


def _raw(scores: dict[str, float] | None) -> str | None:
    return f"top-1 {scores['top1']:.2f} %, top-5 {scores['top5']:.2f} %" if scores else None


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} %"


def _code(value: str | None) -> str | None:
    return code(value) if value else None


def _short(commit: str | None) -> str:
    return code(commit.removesuffix("+")[:8] + "+" * commit.endswith("+")) if commit else "-"


def _value(value: object) -> str:
    return "unset" if value is None else str(value)


def _known(value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{figure(value)} {unit}".strip()


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
