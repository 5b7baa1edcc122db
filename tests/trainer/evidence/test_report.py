import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.types import BrokenImage
from models.config import ModelConfig
from tests.data.making import imagined
from tests.trainer.evidence.runs import EVALUATION, RESULT, START, TARGETS, evaluate, recipe, train_records, write
from trainer.checkpoint import store
from trainer.evidence import report
from trainer.evidence.run_record import read
from trainer.evidence.verdict import judge
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory

AVERAGED = {**EVALUATION, "kind": "eval_ema", "top1": 60.25}
RECORDS = [START, *train_records(6, power_w=500.0), EVALUATION, AVERAGED]


def text_of(run: RunDirectory) -> str:
    report.write(run)
    return run.report.read_text()


def test_a_finished_run_s_report_states_the_accuracy_with_its_protocol(tmp_path: Path) -> None:
    text = text_of(write(tmp_path, recipe(precision="fp32"), RECORDS, RESULT))
    for line in (
        "**Reproduced.** Top-1 76.20 % (center-224/256, raw weights) is 0.07 points above the 76.13 % of torchvision.",
        "| top-1 | **76.20 %** |",
        "| best top-1 after any epoch | 76.25 % |",
        "| without averaging | top-1 75.50 %, top-5 92.25 % |",
        "| protocol | centre crop, in words |",
        "| images evaluated | 49,999, each once; 1 broken is left out |",
        "| data set | imagenet-1k: as the result says; the run directory holds no manifests |",
        "| training images | 1,281,167; 5 broken are left out |",
        "| images replaced in training, as they could not be read | 7 |",
        "| 2 | 6 | raw | 55.50 | 88.25 | 1.5000 |",
        "| 2 | 6 | averaged | 60.25 | 88.25 | 1.5000 |",
        "| hours | 0.111 from each start to its last record |",  # 400 s
        "| GPU-hours | 0.889 |",
        "| energy | 0.400 kWh, estimated from rank 0's device |",
        "| most memory, rank 0 | 1.50 GB |",
        "| waiting for data, median | 12.5 % of the time |",
        "| 1970-01-01 00:00:00 | 0 | 8 x NVIDIA H100 on n1 | srun; threads: 1; loader: dali_gpu; Python 3.12.1 "
        "| torch 2.15.0 | `01234567+` |",
        "| evaluation images (SHA-256) | `v` |",
        "## Differences from the recipe resnet50\n\n| field | resnet50 | this run |",
        "| `precision` | bf16 | fp32 |",
        "](curves.png)",
    ):
        assert line in text


def test_the_published_figures_stand_beside_it(tmp_path: Path) -> None:
    account = read(write(tmp_path, recipe(), RECORDS, RESULT))
    report.write_files(account, judge([account], TARGETS), TARGETS)
    text = account.run.report.read_text()
    assert "| torchvision | 76.13 | 92.86 | `imagenet-1k` | `center-224/256` | 90 | its README |" in text
    assert "| paper | 75.30 | 92.20 | `imagenet-1k` | `ten-crop-224/256` | 90 | its README; 29 h on 8 P100 |" in text
    assert "The recipe resnet50 aims at the first; a run reproduces it from 0.30 points below it on." in text


def test_later_evaluations_are_listed(tmp_path: Path) -> None:
    run = write(tmp_path, recipe(), RECORDS, RESULT)
    evaluate(run, "real", protocol="center-224/236+bicubic", label_set="real", top1=82.0)
    expected = "| real | `center-224/236+bicubic` | raw | 82.00 | 75.63 to 76.37 | 93.00 | 50,000 |"
    assert expected in text_of(run)


def test_the_most_confused_classes_are_listed_and_few_classes_have_a_picture(tmp_path: Path) -> None:
    confused = {**AVERAGED, "confusion": [[0, 1, 1234], [1, 1, 900], [2, 0, 5]]}
    run = write(tmp_path, recipe(), [*RECORDS[:-1], confused], RESULT)
    text = text_of(run)
    assert (
        "## Confusion\n\n| class | taken for | images |\n| ---: | ---: | ---: |\n| 0 | 1 | 1,234 |\n| 2 | 0 | 5 |"
        in text
    )
    assert run.confusion_table.read_text().splitlines()[1] == "0,1,1234"
    assert not run.confusion.exists()
    few = write(
        tmp_path / "few", replace(recipe(), model=ModelConfig(name="resnet50", num_classes=3)), [confused], RESULT
    )
    assert "![confusion matrix](confusion.png)\n\n| class |" in text_of(few)
    assert few.confusion_table.read_text().splitlines() == ["class,0,1,2", "0,0,1234,0", "1,0,900,0", "2,5,0,0"]
    assert few.page.read_text().count("data:image/png;base64") == 2


def test_an_unfinished_run_s_report_gives_no_result(tmp_path: Path) -> None:
    text = text_of(write(tmp_path, Recipe(), RECORDS))
    first = "It stopped at step 6. Newest top-1: 60.25 %, after epoch 2. The same command goes on from the newest "
    assert text.splitlines()[2] == f"**Not finished.** {first}checkpoint."
    assert "## Result" not in text
    assert "| commit | `0123456789abcdef+` |" in text


def test_a_run_that_was_stopped_before_its_first_point_has_a_report(tmp_path: Path) -> None:
    assert "**Not finished.**" in text_of(write(tmp_path, Recipe()))


def test_what_is_gone_of_a_run_is_said_and_which_gpus_were_faulty(tmp_path: Path) -> None:
    faulty = {"n2": "GPU 0000:3b:00.0 of rank 5: 2 uncorrected ECC errors"}
    start = {**START, "gone": ["metrics.jsonl lacks 3 of the 9 records"], "gpu_faults": faulty}
    run = write(tmp_path, Recipe(), [start, *train_records(6)])
    store.write(run.checkpoints, 60, {"model": {"w": torch.zeros(1)}, "about": {}, "records": 6})
    text = text_of(run)
    assert f"on {START['host']}; n2 has a faulty {faulty['n2']} |" in text
    assert "## Missing" in text
    assert "| at the start of 1970-01-01 00:00:00 | metrics.jsonl lacks 3 of the 9 records |" in text
    assert "| now |" not in text
    store.write(run.checkpoints, 80, {"model": {"w": torch.zeros(1)}, "about": {}, "records": 8})
    assert "| now | metrics.jsonl lacks 2 of the 8 records that it had up to step 80 |" in text_of(run)
    assert "## Missing" not in text_of(write(tmp_path / "whole", Recipe(), [START, *train_records(6)]))


def test_left_out_images_are_named_the_first_twenty(tmp_path: Path) -> None:
    run = write(tmp_path, Recipe(), [START, *train_records(2, replaced=4)])
    images = imagined(np.full(10, 64), np.full(10, 48))
    broken = tuple(BrokenImage(f"a/{number:02}.JPEG", "truncated | cut") for number in range(19))
    replace(images, broken=broken, hashes=images.hashes[:0]).save(run.manifest("train"))
    replace(images, broken=broken[:3]).save(run.manifest("val"))
    text = text_of(run)
    assert "| training images | 10; 19 broken are left out |" in text
    assert "| training images (SHA-256) | `incomplete: not all are hashed` |" in text
    assert r"| train | `a/18.JPEG` | truncated \| cut |" in text
    assert text.count("truncated") == 20
    assert "and 2 more" in text
    assert "| images replaced in training, as they could not be read | 4 |" in text


def test_a_run_of_another_protocol_says_what_measures_it(tmp_path: Path) -> None:
    text = text_of(write(tmp_path / "run", recipe("plain18"), [], RESULT))
    assert "**Not comparable.** Measured is center-224/256" in text
    assert f"    provenet evaluate {tmp_path / 'run'} --data DATA --protocol ten-crop-224/256" in text


def test_both_files_say_the_same(tmp_path: Path) -> None:
    run = write(tmp_path, recipe(), RECORDS, RESULT)
    report.write(run)
    assert run.curves.read_bytes()[:4] == b"\x89PNG"
    for words in ("76.20 %", "Published figures", "Provenance", "dali_gpu"):
        assert words in run.report.read_text()
        assert words in run.page.read_text()


def test_a_report_loads_no_torch() -> None:
    code = "import sys; from trainer.evidence import report, runs_table; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
