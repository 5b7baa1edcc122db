"""What timm's script is told, and what it writes: from a run of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import equivalence_timm
from tests.benchmarks.equivalence_runs import Study
from tests.benchmarks.image_tree import Images

SUMMARY = """\
epoch,train_loss,eval_loss,eval_top1,eval_top5,lr
0,2.290287163949782,2.1567978630065916,22.6,74.19999997965495,0.0010004999999999999
1,2.274810275723857,2.149676872889201,19.1333333307902,73.33333337402344,0.0018660923910825465
"""

FLAGS = """\
--model test_vit --num-classes 2 --model-kwargs img_size=48 --drop-path 0.1 --channels-last --img-size 48
--crop-pct 0.8807339449541285 --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 --interpolation bicubic
--train-interpolation bicubic --aa rand-m7-mstd0.5-inc1 --color-jitter 0 --reprob 0.25 --remode pixel --smoothing 0.1
--mixup 0.8 --cutmix 1.0 --opt adamw --lr 0.001 --weight-decay 0.05 --sched-on-updates --warmup-epochs 2
--warmup-lr 1e-06 --min-lr 1e-06 --epochs 12 --batch-size 32"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
    return Study(
        network="timm/test_vit",
        image_size=48,
        crop="resized",
        epochs=12,
        batch=32,
        images=Images(tmp_path, tmp_path),
        threads=1,
        script=tmp_path / "train.py",
        folder=tmp_path,
    )


def test_the_script_is_told_our_recipe(study: Study) -> None:
    assert equivalence_timm.flags(equivalence_timm.recipe(study)) == FLAGS.split()
    atto = " ".join(equivalence_timm.flags(equivalence_timm.recipe(replace(study, network="timm/convnext_atto"))))
    assert "--model convnext_atto --num-classes 2 --model-kwargs ls_init_value=1e-6 --drop-path 0.1" in atto


def test_what_it_writes_is_read(study: Study, tmp_path: Path) -> None:
    """The script is replaced by one that writes the summary where it is told to, and its arguments."""
    study.script.write_text(
        "import sys; from pathlib import Path\n"
        "given = dict(zip(sys.argv, sys.argv[1:]))\n"
        "folder = Path(given['--output'], given['--experiment']); folder.mkdir()\n"
        f"folder.joinpath('summary.csv').write_text({SUMMARY!r})\n"
        "assert (given['--seed'], given['--val-split'], given['--workers']) == ('7', 'val', '1')\n"
    )
    for number in range(70):
        (tmp_path / "train" / "cat" / f"{number}.JPEG").touch()
    run = equivalence_timm.theirs(study, equivalence_timm.recipe(study), seed=7)
    assert list(run.losses) == [2, 4]  # steps of 32 of the 70 images
    assert run.epoch_losses() == pytest.approx([2.290287, 2.274810], abs=1e-6)
    assert run.top1 == pytest.approx([22.6, 19.13333], abs=1e-5)
    assert run.evaluation_losses == pytest.approx([2.156798, 2.149677], abs=1e-6)
    assert run.seconds > 0
