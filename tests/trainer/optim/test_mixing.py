import math

import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from torch import Tensor
from torchvision.transforms import v2

from trainer.optim.config import MixingConfig
from trainer.optim.mixing import BetaQuantiles, Mixing

TARGETS = torch.tensor([3, 0, 3, 3, 1])
CLASSES = 5
SHARES = [0.0, 1e-9, 0.01, 0.2, 0.5, 0.7, 0.9999]


def images(layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    found = torch.rand(5, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    return found.contiguous(memory_format=layout)


def draws(which: float = 0.0, coefficient: float = 0.3, x: float = 0.0, y: float = 0.0) -> Tensor:
    return torch.tensor([which, coefficient, x, y], dtype=torch.float64)


def test_what_is_not_mixed_stays_as_it_is() -> None:
    given = images()
    found, targets = Mixing(MixingConfig(), CLASSES)(given, TARGETS, draws())
    assert found is given
    assert torch.equal(found, images())
    assert targets is TARGETS


@pytest.mark.parametrize(
    ("config", "which", "expected"),
    [
        (MixingConfig(mixup=1.0), 0.99, "mixup"),
        (MixingConfig(cutmix=1.0), 0.99, "cutmix"),
        (MixingConfig(mixup=1.0, cutmix=1.0), 0.49, "cutmix"),
        (MixingConfig(mixup=1.0, cutmix=1.0), 0.5, "mixup"),
        (MixingConfig(mixup=1.0, cutmix=1.0, switch=0.2), 0.2, "mixup"),
        (MixingConfig(mixup=1.0, cutmix=1.0, switch=0.0), 0.0, "mixup"),
        (MixingConfig(mixup=1.0, cutmix=1.0, switch=1.0), 0.99, "cutmix"),
        (MixingConfig(mixup=1.0, cutmix=1.0, switch=0.2, probability=0.5), 0.09, "cutmix"),
        (MixingConfig(mixup=1.0, cutmix=1.0, switch=0.2, probability=0.5), 0.11, "mixup"),
    ],
)
def test_the_first_draw_says_which(config: MixingConfig, which: float, expected: str) -> None:
    """Cutmix leaves the pixels outside of its rectangle, here around the middle, as they are."""
    found, _ = Mixing(config, CLASSES)(images(), TARGETS, draws(which, 0.3, 0.5, 0.5))
    assert torch.equal(found[..., 0, 0], images()[..., 0, 0]) == (expected == "cutmix")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.75, 0.999])
def test_mixup_is_that_of_torchvision(kept: float, layout: torch.memory_format) -> None:
    """Beta(1, 1) is uniform: the draw is the share of the first image."""
    theirs = v2.MixUp(num_classes=CLASSES)
    params = {"lam": kept, "labels": TARGETS, "batch_size": 5}
    found, targets = Mixing(MixingConfig(mixup=1.0), CLASSES)(images(layout), TARGETS, draws(0.0, kept))
    torch.testing.assert_close(found, theirs.transform(images(), params))
    torch.testing.assert_close(targets, theirs.transform(TARGETS, params))
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kept", "centre", "box"),
    [
        # half a side: int(6 sqrt(1 - kept)) across, int(4 sqrt(1 - kept)) down; box: left, top, right, bottom
        (0.75, (0.5, 0.5), (3, 2, 9, 6)),
        (0.75, (0.0, 0.99), (0, 5, 3, 8)),
        (0.0, (0.5, 0.5), (0, 0, 12, 8)),
        (0.0, (0.99, 0.0), (5, 0, 12, 4)),
        (0.999, (0.5, 0.5), (6, 4, 6, 4)),  # too small for a pixel
    ],
)
def test_cutmix_is_that_of_torchvision(
    kept: float, centre: tuple[float, float], box: tuple[int, int, int, int], layout: torch.memory_format
) -> None:
    left, top, right, bottom = box
    adjusted = 1 - (right - left) * (bottom - top) / 96
    theirs = v2.CutMix(num_classes=CLASSES)
    params = {"box": box, "lam_adjusted": adjusted, "labels": TARGETS, "batch_size": 5}
    found, targets = Mixing(MixingConfig(cutmix=1.0), CLASSES)(images(layout), TARGETS, draws(0.0, kept, *centre))
    assert torch.equal(found, theirs.transform(images(), params))
    torch.testing.assert_close(targets, theirs.transform(TARGETS, params))
    assert found.is_contiguous(memory_format=layout)


def test_targets_are_shares_of_both_classes_and_sum_to_one() -> None:
    _, targets = Mixing(MixingConfig(mixup=1.0), CLASSES)(images(), TARGETS, draws(0.0, 0.75))
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets[0], torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]))  # the last one's class is 1
    assert targets[3].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]  # the same class twice
    assert targets.sum(1).tolist() == pytest.approx([1.0] * 5)
    assert TARGETS.tolist() == [3, 0, 3, 3, 1]


def test_mixup_and_cutmix_each_draw_from_their_own_distribution() -> None:
    """Beta(1/2, 1/2) at 1/4 is sin^2(pi / 8); of 96 pixels, cutmix of Beta(1, 1) then takes 10 x 6."""
    mixing = Mixing(MixingConfig(mixup=0.5, cutmix=1.0), CLASSES)
    _, mixed = mixing(images(), TARGETS, draws(0.9, 0.25))
    assert mixed[0, 3].item() == pytest.approx(math.sin(math.pi / 8) ** 2)
    _, cut = mixing(images(), TARGETS, draws(0.1, 0.25, 0.5, 0.5))
    assert cut[0, 3].item() == pytest.approx(1 - 60 / 96)


@pytest.mark.parametrize("share", SHARES)
def test_quantiles_are_those_of_the_closed_forms(share: float) -> None:
    """Beta(1, 1) is uniform; of Beta(1/2, 1/2) the arcsine law; Beta(2, 2) has the distribution 3 x^2 - 2 x^3."""
    assert BetaQuantiles(1.0)(share) == pytest.approx(share, abs=1e-6)
    assert BetaQuantiles(0.5)(share) == pytest.approx(math.sin(math.pi * share / 2) ** 2, abs=1e-6)
    x = BetaQuantiles(2.0)(share)
    assert 3 * x**2 - 2 * x**3 == pytest.approx(share, abs=2e-6)


@pytest.mark.parametrize(
    ("a", "share", "expected"),
    [  # by scipy.stats.beta.ppf
        (0.1, 0.05, 0.000000000),
        (0.1, 0.3, 0.005214870),
        (0.1, 0.9, 0.999999911),
        (0.2, 0.05, 0.000007744),
        (0.2, 0.3, 0.057880575),
        (0.2, 0.9, 0.999752235),
        (0.8, 0.05, 0.030014475),
        (0.8, 0.3, 0.273430334),
        (0.8, 0.9, 0.928949557),
        (10.0, 0.05, 0.320086530),
        (10.0, 0.3, 0.440842582),
        (10.0, 0.9, 0.642070120),
        (200.0, 0.05, 0.458922532),
        (200.0, 0.3, 0.486884048),
        (200.0, 0.9, 0.532025892),
    ],
)
def test_quantiles_are_those_of_scipy(a: float, share: float, expected: float) -> None:
    assert BetaQuantiles(a)(share) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("a", [0.1, 0.2, 0.8, 5.0, 1000.0])
def test_quantiles_have_the_moments_of_the_distribution(a: float) -> None:
    """Variance 1 / (4 (2a + 1)); fourth central moment 3 / (16 (2a + 1) (2a + 3))."""
    quantiles = BetaQuantiles(a)
    values = np.array([quantiles((row + 0.5) / 20_000) for row in range(20_000)]) - 0.5
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert (values**2).mean() == pytest.approx(1 / (4 * (2 * a + 1)), rel=1e-3)
    assert (values**4).mean() == pytest.approx(3 / (16 * (2 * a + 1) * (2 * a + 3)), rel=3e-3)


@pytest.mark.parametrize("a", [1e-3, 0.1, 1.0, 10.0, 1e4])
def test_quantiles_rise_and_mirror(a: float) -> None:
    quantiles = BetaQuantiles(a)
    values = [quantiles(share) for share in np.linspace(0, 1, 501)]
    assert values == sorted(values)
    assert [1 - value for value in values] == pytest.approx(values[::-1])
    assert 0 <= values[0] <= values[-1] <= 1


def test_an_image_that_is_repeated_is_mixed_with_another() -> None:
    """Repeats follow each other in a micro-batch; torchvision and timm deal them to different GPUs."""
    repeated = torch.arange(4).repeat_interleave(3)[1:-1]  # a micro-batch may begin within a group
    pixels = repeated.float().view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()
    found, targets = Mixing(MixingConfig(mixup=1.0), CLASSES, shift=3)(pixels, repeated, draws(0.0, 0.75))
    assert ((targets == 0.75).sum(1) == 1).all()
    assert ((targets == 0.25).sum(1) == 1).all()
    partner = (targets == 0.25).float().argmax(1)
    torch.testing.assert_close(found[:, 0, 0, 0], 0.75 * repeated + 0.25 * partner)


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_a_micro_batch_beyond_the_probability_is_left_alone(probability: float) -> None:
    mixing = Mixing(MixingConfig(cutmix=1.0, mixup=1.0, probability=probability), CLASSES)
    found, targets = mixing(images(), TARGETS, draws(0.3, 0.3, 0.5, 0.5))
    assert torch.equal(found, images())
    assert targets is TARGETS


def test_kinds_are_as_frequent_as_timm_s() -> None:
    """0.6 of the micro-batches are mixed, a quarter of these by cutmix, as of mixup_prob and mixup_switch_prob."""
    mixing = Mixing(MixingConfig(mixup=1.0, cutmix=1.0, switch=0.25, probability=0.6), CLASSES)
    theirs = Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, prob=0.6, switch_prob=0.25)
    np.random.seed(0)
    params = [theirs._params_per_batch() for _ in range(4000)]
    expected = [sum(lam != 1 for lam, _ in params) / 4000, sum(cut for _, cut in params) / 4000]
    found = [mixing(images(), TARGETS, draws((row + 0.5) / 400, 0.3, 0.5, 0.5)) for row in range(400)]
    cut = [targets is not TARGETS and torch.equal(seen[..., 0, 0], images()[..., 0, 0]) for seen, targets in found]
    ours = [sum(targets is not TARGETS for _, targets in found) / 400, sum(cut) / 400]
    assert ours == [0.6, 0.15]
    assert expected == pytest.approx(ours, abs=0.03)
