import math

import pytest
import torch
from timm.loss.binary_cross_entropy import BinaryCrossEntropy
from torch.nn import functional as F

from trainer.optim.config import LossConfig
from trainer.optim.loss import logits_of, losses

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
TARGETS = torch.tensor([0, 2])
SOFT = torch.tensor([[0.7, 0.0, 0.3], [0.0, 0.0, 1.0]])


def test_cross_entropy_of_equal_logits_is_the_log_of_the_classes() -> None:
    assert losses(torch.zeros(4, 10), torch.arange(4), LossConfig()).tolist() == pytest.approx([math.log(10)] * 4)


@pytest.mark.parametrize("targets", [F.one_hot(TARGETS, 3).float(), SOFT])
def test_label_smoothing_spreads_its_share_over_all_classes(targets: torch.Tensor) -> None:
    """Cross-entropy with targets (1 - s) t + s / C, written out."""
    expected = -((0.9 * targets + 0.1 / 3) * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(losses(LOGITS, targets, LossConfig(label_smoothing=0.1)), expected)


def test_binary_cross_entropy_is_the_mean_over_the_classes() -> None:
    """-ln(sigmoid(x)) where the target is 1, -ln(1 - sigmoid(x)) where it is 0: ln(1 + e^-x) and ln(1 + e^x)."""
    expected = [
        (math.log(1 + math.exp(-2)) + 2 * math.log(2)) / 3,
        (math.log(2) + math.log(1 + math.exp(1)) + math.log(2)) / 3,
    ]
    assert losses(LOGITS, TARGETS, LossConfig(name="bce")).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_timm(smoothing: float, threshold: float | None) -> None:
    ours = LossConfig(name="bce", label_smoothing=smoothing, bce_threshold=threshold)
    theirs = BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    torch.testing.assert_close(losses(LOGITS, TARGETS, ours).mean(), theirs(LOGITS, TARGETS))
    smooth = SOFT * (1 - smoothing) + smoothing / 3  # timm expects its mixup to have done it
    torch.testing.assert_close(losses(LOGITS, SOFT, ours).mean(), theirs(LOGITS, smooth))


@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
def test_a_class_index_is_a_share_of_one(name: str) -> None:
    config = LossConfig(name=name, label_smoothing=0.1)  # type: ignore[arg-type]
    soft = F.one_hot(TARGETS, 3).float()
    torch.testing.assert_close(losses(LOGITS, TARGETS, config), losses(LOGITS, soft, config))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
@pytest.mark.parametrize("targets", [TARGETS, SOFT])
def test_half_precision_ends_at_the_logits(name: str, dtype: torch.dtype, targets: torch.Tensor) -> None:
    config = LossConfig(name=name, label_smoothing=0.1)  # type: ignore[arg-type]
    rough = (LOGITS / 3).to(dtype)
    assert torch.equal(losses(rough, targets, config), losses(rough.float(), targets, config))


def test_an_auxiliary_head_adds_four_tenths_of_its_own_loss() -> None:
    config = LossConfig(label_smoothing=0.1)
    main, auxiliary = losses(LOGITS, TARGETS, config), losses(2 * LOGITS, TARGETS, config)
    torch.testing.assert_close(losses((LOGITS, 2 * LOGITS), TARGETS, config), main + 0.4 * auxiliary)


def test_the_main_head_s_logits_are_the_ones_that_count() -> None:
    assert logits_of(LOGITS) is LOGITS
    assert logits_of((LOGITS, 2 * LOGITS)) is LOGITS
