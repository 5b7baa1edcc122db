import faulthandler
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.catalog.manifest import Manifest
from data.load.note import Note
from data.plan.plan import TrainPlan
from data.types import Shard
from tests.data.load.loading import CONFIG
from trainer import at_work
from trainer.at_work import Death
from trainer.rundir import RunDirectory

NAMES = (b"n1/a.JPEG", b"n1/new\nline.JPEG", b"n2/\xff\x1b[2J.JPEG", "n2/\u732b.JPEG".encode())
IMAGES = "images that it was decoding or would have next"


def listed(names: tuple[bytes, ...]) -> Manifest:
    numbers: dict[str, Any] = {
        name: np.full(len(names), 64) for name in ("widths", "heights", "sizes", "mtimes", "offsets")
    }
    zeros: dict[str, Any] = {
        name: np.zeros(len(names), np.int64) for name in ("targets", "archive", "formats", "modes")
    }
    return Manifest(
        root=Path("nowhere"),
        classes=("n1", "n2"),
        archives=(),
        orientations=zeros["modes"],
        hashes=np.zeros((len(names), 16), np.uint8),
        names=np.frombuffer(b"".join(names), np.uint8),
        ends=np.cumsum([len(name) for name in names]),
        **numbers,
        **zeros,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of four images, to train on and to evaluate."""
    found = RunDirectory(tmp_path)
    for split in ("train", "val"):
        listed(NAMES).save(found.manifest(split))
    return found


def died(run: RunDirectory, rank: int, trace: str = "", split: int = 0) -> None:
    """Leave what a rank leaves that dies with all four images in one batch at work."""
    plan = TrainPlan(manifest=listed(NAMES), config=CONFIG, seed=1, global_batch=4, micro_batch=4, shard=Shard())
    notes = at_work.begin(run, rank, (4, 4), ExitStack())  # never closed
    chosen = notes[split]
    assert isinstance(chosen, Note)
    next(chosen.follow(plan.samples(0, 0)))
    (run.at_work / f"rank{rank}-trace.txt").write_text(trace)


@pytest.fixture(autouse=True)
def pytest_s_own_handler() -> object:
    """Put it back."""
    yield
    faulthandler.enable(sys.__stderr__ or 2)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE])
def test_the_fault_handler_s_words_give_the_signal(number: signal.Signals) -> None:
    code = f"import faulthandler, os; faulthandler.enable(); os.kill(os.getpid(), {number:d})"
    trace = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr
    found = str(Death(rank=3, images=("'train/a'",), trace=trace)).replace("-", " ")
    assert found.startswith(f"rank 3 of the last start died of a signal ({signal.strsignal(number)}); images that")


@pytest.mark.parametrize(
    ("trace", "images", "expected"),
    [
        ("", (), "was killed or lost its machine; it was decoding no image"),
        ("Fatal Python error: Bus error\n", ("a",), f"died of a signal (Bus error); {IMAGES} (1): a"),
        ("", tuple("abcd"), f"was killed or lost its machine; {IMAGES} (4): a, b, c, ..."),
    ],
)
def test_only_what_is_known_is_said(trace: str, images: tuple[str, ...], expected: str) -> None:
    assert str(Death(rank=0, images=images, trace=trace)) == f"rank 0 of the last start {expected}"


def test_images_are_named_whatever_their_names_hold(run: RunDirectory) -> None:
    died(run, 0, split=1)
    (death,) = at_work.deaths(run)
    assert sorted(death.images) == sorted(
        (r"'val/n1/a.JPEG'", r"'val/n1/new\nline.JPEG'", r"'val/n2/\udcff\x1b[2J.JPEG'", "'val/n2/\u732b.JPEG'")
    )


def test_a_start_tells_of_the_deaths_before_it_once_and_keeps_them(run: RunDirectory) -> None:
    died(run, 10)
    died(run, 2, 'Fatal Python error: Bus error\n\nCurrent thread 0x1:\n  File "x"\n')
    said: list[str] = []
    at_work.report(run, said.append)
    (line,) = said
    assert line.startswith(f"rank 2 of the last start died of a signal (Bus error); {IMAGES} (4): 'train/")
    assert line.endswith(f", ...; so did 1 more, or were killed; all are listed in {run.path / at_work.DEATHS}")
    kept = (run.path / at_work.DEATHS).read_text()
    assert kept.count("'train/n1/a.JPEG'\n") == 2
    assert '  File "x"\n' in kept
    at_work.report(run, said.append)
    assert len(said) == 1
    assert not run.at_work.exists()
    died(run, 0)
    at_work.report(run, said.append)
    assert (run.path / at_work.DEATHS).read_text().startswith(kept)


def test_a_clean_end_leaves_nothing_and_a_death_beside_it_stays(run: RunDirectory) -> None:
    with ExitStack() as stack:
        at_work.begin(run, 0, (4, 4), stack)
        assert len(list(run.at_work.iterdir())) == 3
    assert not run.at_work.exists()
    assert faulthandler.is_enabled()
    died(run, 1)
    with ExitStack() as stack:
        at_work.begin(run, 0, (4, 4), stack)
    assert [death.rank for death in at_work.deaths(run)] == [1]


def test_a_folder_that_cannot_be_written_costs_the_notes_alone(run: RunDirectory) -> None:
    run.at_work.write_text("in the way")
    with ExitStack() as stack:
        assert at_work.begin(run, 0, (4, 4), stack) == (None, None)
    assert at_work.deaths(run) == []


@pytest.mark.parametrize("damage", ["note", "manifest", "contents", "no manifest", "other manifest"])
def test_what_the_end_has_damaged_is_no_obstacle(run: RunDirectory, damage: str) -> None:
    died(run, 0, "Fatal Python error: Segmentation fault\n")
    match damage:
        case "note":
            os.truncate(run.at_work / "rank0-train", 9)
        case "manifest":
            os.truncate(run.manifest("train"), 100)
        case "contents":
            content = run.manifest("train").read_bytes()
            place = content.index(b"PK\1\2") + 6  # the version of zip that it needs
            run.manifest("train").write_bytes(content[:place] + b"\xc8" + content[place + 1 :])
        case "no manifest":
            run.manifest("train").unlink()
        case _:
            listed(NAMES[:1]).save(run.manifest("train"))
    (death,) = at_work.deaths(run)
    assert "Segmentation fault" in str(death)
    assert death.images == ()
