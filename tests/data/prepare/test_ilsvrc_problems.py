import pytest

from data.prepare.ilsvrc import Devkit, problems

WNIDS = [f"n{number:08d}" for number in range(1000)]
# 1,281,167 images, as many as there are
COUNTS = {wnid: 1281 + (number < 167) for number, wnid in enumerate(WNIDS)}
DEVKIT = Devkit(dict(COUNTS), [WNIDS[number % 1000] for number in range(50_000)])
VAL = range(1, 50_001)
MEND = "to prepare a part of ImageNet all the same, add --partial"


def test_all_of_imagenet_is_complete() -> None:
    assert problems(DEVKIT, COUNTS, VAL, partial=False) == []


def test_the_devkit_s_own_counts_refuse_nothing() -> None:
    other = Devkit(dict.fromkeys(COUNTS, 1300), DEVKIT.truth)
    assert problems(other, COUNTS, VAL, partial=False) == []


LACKING = [
    (
        {**COUNTS, WNIDS[3]: 1280},
        VAL,
        [
            "--train-tar: classes: 1,000, images: 1,281,165; ImageNet has 1,000 and 1,281,167",
            "--train-tar: holds other counts than the devkit: n00000003 (1,280 of 1,282)",
        ],
    ),
    (
        {wnid: COUNTS[wnid] for wnid in WNIDS[2:]},
        VAL,
        [
            "--train-tar: classes: 998, images: 1,278,603; ImageNet has 1,000 and 1,281,167",
            "--train-tar: lacks n00000000, n00000001",
        ],
    ),
    (
        COUNTS,
        range(2, 49_988),
        [
            "--val-tar: lacks ILSVRC2012_val_00000001.JPEG, "
            + ", ".join(f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(49_988, 49_997))
            + " and 4 more",
        ],
    ),
]


@pytest.mark.parametrize(("train", "val", "reasons"), LACKING)
def test_what_is_missing_is_named_and_accepted_as_a_part(train: dict[str, int], val: range, reasons: list[str]) -> None:
    assert problems(DEVKIT, train, val, partial=False) == [*reasons, MEND]
    assert problems(DEVKIT, train, val, partial=True) == []


def test_a_devkit_of_another_size_is_another_devkit() -> None:
    devkit = Devkit(dict(list(COUNTS.items())[:7]), DEVKIT.truth[:7])
    train = {wnid: 1 for wnid in WNIDS[:7]}
    reason = "--devkit: classes: 7, validation images: 7; ImageNet has 1,000 and 50,000"
    assert reason in problems(devkit, train, range(1, 8), partial=False)
    assert problems(devkit, train, range(1, 8), partial=True) == []


@pytest.mark.parametrize(
    ("train", "val", "reason"),
    [
        ({}, VAL, "--train-tar: holds no class"),
        ({"n12345678": 5, **COUNTS}, VAL, "--train-tar: n12345678: no class of the devkit"),
        ({**COUNTS, WNIDS[5]: 0}, VAL, "--train-tar: no image of n00000005"),
        (COUNTS, [*VAL, 50_001], "--val-tar: ILSVRC2012_val_00050001.JPEG: the devkit has the classes of 1 to 50,000"),
        (COUNTS, [0, *VAL], "--val-tar: ILSVRC2012_val_00000000.JPEG: the devkit has the classes of 1 to 50,000"),
        (COUNTS, range(1, 1000), "--val-tar: no image of n00000999, which --train-tar holds"),
    ],
)
def test_what_cannot_be_a_part_is_refused(train: dict[str, int], val: range, reason: str) -> None:
    assert reason in problems(DEVKIT, train, val, partial=True)
    assert reason in problems(DEVKIT, train, val, partial=False)
