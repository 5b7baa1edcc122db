import math

import pytest
import torch
from torch.nn import functional as F

from trainer.loss import cross_entropy, logits_of

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
TARGETS = torch.tensor([0, 2])


def test_cross_entropy_of_equal_logits_is_the_log_of_the_classes() -> None:
    assert cross_entropy(torch.zeros(4, 10), torch.arange(4), 0.0).tolist() == pytest.approx([math.log(10)] * 4)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    """Cross-entropy with targets (1 - s) one-hot + s / C, written out."""
    soft = 0.9 * F.one_hot(TARGETS, 3) + 0.1 / 3
    expected = -(soft * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(cross_entropy(LOGITS, TARGETS, 0.1), expected)


def test_an_auxiliary_head_adds_four_tenths_of_its_own_loss() -> None:
    main, auxiliary = cross_entropy(LOGITS, TARGETS, 0.1), cross_entropy(2 * LOGITS, TARGETS, 0.1)
    torch.testing.assert_close(cross_entropy((LOGITS, 2 * LOGITS), TARGETS, 0.1), main + 0.4 * auxiliary)


def test_the_main_head_s_logits_are_the_ones_that_count() -> None:
    assert logits_of(LOGITS) is LOGITS
    assert logits_of((LOGITS, 2 * LOGITS)) is LOGITS
