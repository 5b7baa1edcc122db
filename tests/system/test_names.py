"""Names of files and classes that are no text, or act on terminals, pages and spreadsheets, through every verb."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.catalog import manifest
from tests.commands import HANGS_S
from tests.data.making import picture

CLASSES = sorted(
    map(
        os.fsdecode,
        (
            *(b"caf\xe9", b"new\nline", b"=1+1", b"a|b`*<i>", b"\x1b[31mred\x1b]0;owned\x07", b"   ", b"n" * 255),
            "right\u202egpj".encode(),
        ),
    )
)
SHOWN = {"caf\\xe9", "new\\nline", "'=1+1", "a|b`*<i>", "\\x1b[31mred\\x1b]0;owned\\x07", "   ", "n" * 255}
BROKEN = os.fsdecode(b"caf\xe9/bro\x1b[2Jken\xff\n|`*<b>.JPEG")
BROKEN_SHOWN = "caf\\xe9/bro\\x1b[2Jken\\xff\\n|`*<b>.JPEG"


def write(root: Path) -> None:
    for number, split in enumerate(("train", "val")):
        for target, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for image in range(2):
                file = folder / os.fsdecode(b"\x1b[2J\xff%d\n.JPEG" % image)
                picture(40, 40, 100 * number + 10 * target + image).save(file, "JPEG")
        (root / split / BROKEN).write_bytes(b"nothing")


@pytest.mark.slow
def test_hostile_names_are_shown_escaped_and_stored_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "tree")
    work = tmp_path / "a\x1b[31m\nfolder"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.hostile_names", str(tmp_path / "tree"), str(work)],
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "ACCELERATE_USE_CPU": "true"},
        timeout=HANGS_S,
    )
    output = done.stdout + done.stderr
    assert (work / "codes").read_text() == "verify 1\ntrain 0\nevaluate 0\nreport 0\nstatus 0\n", output.decode()
    assert not re.findall(rb"[^\n\x20-\x7e]", output)
    assert output.count(f"{BROKEN_SHOWN}: not an image".encode()) == 4  # of each split in verify and in train
    assert b"Traceback" not in output
    assert output.count(b"/a\\x1b[31m\\nfolder/run/report.md\n") == 2  # of train and report

    images = manifest.load(work / "run" / "manifest-val.npz", tmp_path / "tree" / "val")
    assert images.classes == tuple(CLASSES)
    assert [image.name for image in images.broken] == [BROKEN]
    assert all(images.path(row).is_file() for row in range(len(images)))
    stored = np.load(work / "evaluation" / "predictions.npz")
    assert stored["names"].tolist() == [images.name(row) for row in range(len(images))]
    assert json.loads(str(stored["about"])) == {
        key: value
        for key, value in json.loads((work / "evaluation" / "evaluation.json").read_text()).items()
        if key != "schema"
    }

    with (work / "evaluation" / "classes.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["name"] for row in csv.DictReader(stream)} == SHOWN | {"right\\u202egpj"}
    report, page = ((work / "run" / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    cell = BROKEN_SHOWN.replace("`", "'").replace("|", "\\|")
    assert report.count(f"| `{cell}` | not an image") == 2
    assert "| training images | 16; 1 broken is left out |" in report
    assert "| images evaluated | 16, each once; 1 broken is left out |" in report
    assert page.count("<code>caf\\xe9/bro\\x1b[2Jken\\xff\\n|'*&lt;b&gt;.JPEG</code>") == 2
    board = EventAccumulator(str(work / "run"), size_guidance={"images": 0}).Reload()
    assert {"images/training", "images/mistakes"} <= set(board.Tags()["images"])
