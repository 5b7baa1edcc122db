"""report.md, report.html and curves.png, made from what the run directory holds. Loads no torch."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from data.catalog.listing import SPLITS
from data.durable import replace
from data.names import shown
from trainer.evaluation.outcome import Accuracy
from trainer.evaluation.request import own_protocol
from trainer.evidence import mistakes, page, plots
from trainer.evidence.cost import cost, figure
from trainer.evidence.history import EVALUATIONS
from trainer.evidence.page import code, command, facts, plain, section, strong, table
from trainer.evidence.run_record import Account, Departure, read
from trainer.evidence.targets import TARGETS, Target
from trainer.evidence.verdict import Verdict, judge
from trainer.recipe.config import Recipe
from trainer.recipe.decode import differences as differing
from trainer.recipe.decode import encode
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RunDirectory, write_text

SHOWN_BROKEN = 20

_SPLITS = {"train": "training images", "val": "evaluation images"}


def write(run: RunDirectory) -> None:
    """Write the report and its plot, of a run that is finished or not.

    Raises:
        InvalidConfigError: A file in the run directory is damaged.
    """
    account = read(run)
    write_files(account, judge([account]))


def summary(account: Account) -> str:
    """Verdict, result and provenance."""
    return "\n\n".join(filter(None, (_verdict(judge([account])), _result(account), _provenance(account))))


def write_files(account: Account, judged: Verdict, targets: Mapping[str, tuple[Target, ...]] = TARGETS) -> None:
    """The same of a run that has been read and judged."""
    title = f"{account.recipe.model.name} in {account.run.path.absolute().name}"
    figures = targets.get(account.named.name, ()) if account.named else ()
    curves, (confused, picture) = plots.png(plots.draw(account.history)), mistakes.written(account)
    drawn = {account.run.curves: curves, **picture}
    sections = [
        f"# {plain(title)}",
        _verdict(judged),
        _gone(account),
        _result(account),
        _published(account, figures),
        section("Curves", f"![{plain(plots.WORDS)}]({account.run.curves.name})"),
        _evaluations(account),
        confused,
        _time_and_energy(account),
        _provenance(account),
        _images(account),
        _starts(account),
        *_differences(account),
    ]
    text = "\n\n".join(filter(None, sections)) + "\n"
    for file, png in drawn.items():
        replace(file, png)
    write_text(account.run.report, text)
    write_text(account.run.page, page.html(title, text, judged.tone, {file.name: png for file, png in drawn.items()}))


def _verdict(judged: Verdict) -> str:
    text = f"{strong(f'{judged.word.capitalize()}.')} {plain(judged.why)}"
    return f"{text}\n\n{command(judged.fix)}" if judged.fix else text


def _gone(account: Account) -> str | None:
    """What was deleted or cut short, before a start of the run or since its end."""
    before = [(start["time"], text) for start in account.history.of_kind("start") for text in start.get("gone", ())]
    rows = [
        *((f"at the start of {_utc(time)}", text) for time, text in before),
        *(("now", text) for text in account.gone),
    ]
    return section("Missing", table(("when", "what"), rows)) if rows else None


def _result(account: Account) -> str | None:
    stored, accuracy = account.result, account.accuracy
    if not stored or not accuracy:
        return None
    raw = stored.get("raw_weights")
    rows: list[tuple[str, str | None]] = [
        ("top-1", strong(f"{accuracy.top1:.2f} %")),
        ("top-5", f"{accuracy.top5:.2f} %"),
        ("best top-1 after any epoch", f"{stored['best_top1']:.2f} %"),
        ("without averaging", f"top-1 {raw['top1']:.2f} %, top-5 {raw['top5']:.2f} %" if raw else None),
        ("protocol", stored["protocol"]),
        ("images evaluated", f"{accuracy.images:,}, each once{_left_out(stored['val_broken'] + accuracy.broken)}"),
        ("images seen in training", f"{accuracy.images_seen:,} in {account.recipe.epochs} epochs"),
    ]
    return section("Result", facts("result", rows))


def _provenance(account: Account) -> str:
    commits = dict.fromkeys(r["commit"] for r in account.history.of_kind("start") if r.get("commit"))
    commit = (account.accuracy and account.accuracy.commit) or ", ".join(commits)
    unknown, init = dict.fromkeys(account.images.splits, "incomplete: not all are hashed"), account.recipe.init
    hashes = {split: account.sha256(split) or unknown.get(split) for split in SPLITS}
    rows: list[tuple[str, str | None]] = [
        ("nearest named recipe", account.named.name if account.named else None),
        ("protocol during training", code(own_protocol(account.recipe).name)),
        ("began from", code(init.weights) if init.weights else None),
        ("began from (SHA-256)", code(init.sha256) if init.sha256 else None),
        ("seed", str(account.recipe.seed)),
        ("commit", code(commit) if commit else None),
        ("recipe (SHA-256)", code(recipe_hash(account.recipe))),
        *((f"{_SPLITS[split]} (SHA-256)", code(value) if value else None) for split, value in hashes.items()),
    ]
    return section("Provenance", facts("this run", rows))


def _published(account: Account, targets: Sequence[Target]) -> str | None:
    if not targets or not account.named:
        return None
    head = ("published by", "top-1, %", "top-5, %", "data", "protocol", "epochs", "source")
    rows = [
        (
            *(target.by, target.figure, "-" if target.top5 is None else f"{target.top5:.2f}", code(target.data)),
            *(code(target.protocol), str(target.epochs), "; ".join(filter(None, (target.source, target.hours)))),
        )
        for target in targets
    ]
    aim = f"aims at the first; a run reproduces it from {targets[0].tolerance:.2f} points below it on."
    return section("Published figures", table(head, rows), plain(f"The recipe {account.named.name} {aim}"))


def _evaluations(account: Account) -> str | None:
    """Those made after training, and those made during it."""
    head = ("labels", "protocol", "weights", "top-1, %", "95 % interval", "top-5, %", "images")
    blocks = [table(head, [_later(accuracy) for accuracy in account.evaluations])] if account.evaluations else []
    during = [
        (
            *(str(r["epoch"]), str(r["step"]), "averaged" if r["kind"] == "eval_ema" else "raw"),
            *(f"{r['top1']:.2f}", f"{r['top5']:.2f}", f"{r['loss']:.4f}"),
        )
        for r in account.history.of_kind(*EVALUATIONS)
    ]
    if during:
        blocks.append(table(("epoch", "step", "weights", "top-1, %", "top-5, %", "loss"), during))
    return section("Evaluations", *blocks) if blocks else None


def _time_and_energy(account: Account) -> str | None:
    if not account.history.records and not account.history.stretches:
        return None
    spent = cost(account.history)
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


def _images(account: Account) -> str:
    known, stored = account.images, account.result
    rows: list[tuple[str, str | None]] = [("data set", f"{known.data or 'unknown'}: {known.why}")]
    for split in SPLITS:
        if split in known.splits:
            count, broken = known.splits[split].images, len(known.splits[split].broken)
        elif stored:
            count, broken = stored[f"{split}_images"], stored[f"{split}_broken"]
        else:
            continue
        rows.append((_SPLITS[split], f"{count:,}{_left_out(broken)}"))
    replaced = stored["train_replaced"] if stored else account.history.replaced
    rows.append(("images replaced in training, as they could not be read", f"{replaced:,}"))
    return section("Images", facts("images", rows), *_quarantined(account))


def _starts(account: Account) -> str | None:
    """When, where and with what each stretch of the run began."""
    rows = [
        (
            _utc(r["time"]),
            str(r["step"]),
            f"{r['world_size']} x {r['device']} on {r['host']}"
            + "".join(f"; {node} has a faulty {what}" for node, what in r.get("gpu_faults", {}).items()),
            f"{r['launcher']}; threads: {r['threads']}; loader: {r['loader']}; Python {r['python']}"
            + "".join(f"; {name}={value}" for name, value in r.get("variables", {}).items()),
            ", ".join(f"{name} {version}" for name, version in r["packages"].items()),
            _short(r.get("commit")),
        )
        for r in account.history.of_kind("start")
    ]
    head = ("time (UTC)", "after step", "devices", "started by", "packages", "commit")
    return section("Starts", table(head, rows)) if rows else None


def _differences(account: Account) -> list[str]:
    """Where the recipe differs from the nearest named one, and from the defaults."""
    defaults = differing(encode(Recipe()), encode(account.recipe))
    sections = [section("Differences from the default settings", *_differing("default", defaults))]
    if named := account.named:
        rows = _differing(named.name, named.departures) or ["None but the seed."]
        sections.insert(0, section(f"Differences from the recipe {named.name}", *rows))
    return sections


def _left_out(broken: int) -> str:
    """How many are missing, to be added to a count."""
    return f"; {broken:,} broken {'is' if broken == 1 else 'are'} left out" if broken else ""


def _differing(name: str, leaves: Sequence[Departure]) -> list[str]:
    rows = [(code(path), *("unset" if value is None else str(value) for value in values)) for path, *values in leaves]
    return [table(("field", name, "this run"), rows)] if rows else []


def _quarantined(account: Account) -> list[str]:
    broken = [(split, image) for split, listed in account.images.splits.items() for image in listed.broken]
    if not broken:
        return []
    more = [plain(f"and {len(broken) - SHOWN_BROKEN:,} more")] if len(broken) > SHOWN_BROKEN else []
    rows = [(split, code(shown(image.name)), image.reason) for split, image in broken[:SHOWN_BROKEN]]
    return [table(("split", "left out", "why"), rows), *more]


def _later(accuracy: Accuracy) -> tuple[str, ...]:
    interval = f"{accuracy.interval[0]:.2f} to {accuracy.interval[1]:.2f}" if accuracy.interval else "-"
    counted = f"{accuracy.images:,}{_left_out(accuracy.broken)}"
    weights = "averaged" if accuracy.weights == "ema" else accuracy.weights
    shares = f"{accuracy.top1:.2f}", interval, f"{accuracy.top5:.2f}"
    return accuracy.labels, code(accuracy.protocol), weights, *shares, counted


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _short(commit: str | None) -> str:
    return code(commit.removesuffix("+")[:8] + "+" * commit.endswith("+")) if commit else "-"


def _known(value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{figure(value)} {unit}".strip()
