import math

import pytest
import torch

from trainer import metrics

LOGITS = torch.tensor([[3.0, 1, 2, 0, -1, -2], [0, 5, 1, 2, 3, 4], [9, 8, 7, 6, 5, 4], [1, 0, 0, 0, 0, 2]])
TARGETS = torch.tensor([0, 3, 5, 0])  # first; fourth best; worst; second best


def test_hits_are_counted_over_the_valid_rows() -> None:
    valid = torch.tensor([True, True, True, False])
    _, top1, top5, images, *_ = metrics.totals(LOGITS, TARGETS, valid).tolist()
    assert (top1, top5, images) == (1, 2, 3)


def test_the_loss_is_the_cross_entropy_unless_given() -> None:
    logits, targets = torch.zeros(2, 4), torch.tensor([0, 1])
    valid = torch.ones(2, dtype=torch.bool)
    assert metrics.totals(logits, targets, valid)[0].item() == pytest.approx(2 * math.log(4))
    assert metrics.totals(logits, targets, valid, torch.tensor([1.0, 2.0]))[0].item() == 3


def test_top5_of_fewer_classes_is_top_all() -> None:
    scores = metrics.scores(metrics.totals(torch.eye(3), torch.tensor([1, 1, 1]), torch.ones(3, dtype=torch.bool)))
    assert (scores.top1, scores.top5, scores.images) == (pytest.approx(100 / 3), 100.0, 3)


def test_a_row_that_is_not_valid_adds_nothing_even_where_its_loss_is_not_finite() -> None:
    losses = torch.tensor([1.0, math.nan])
    sums = metrics.totals(torch.eye(2), torch.tensor([0, 0]), torch.tensor([True, False]), losses)
    assert sums.tolist() == [1, 1, 1, 1, 0, 0]


def test_scores_are_means_over_the_images_and_counts_stay_counts() -> None:
    sums = metrics.empty(torch.device("cpu"))
    sums[:5] = torch.tensor([6.0, 1, 3, 4, 2])
    found = metrics.scores(sums)
    assert found == metrics.Scores(loss=1.5, top1=25.0, top5=75.0, images=4, broken=2)
    assert found.finite


def test_no_images_have_no_mean() -> None:
    found = metrics.scores(metrics.empty(torch.device("cpu")))
    assert (found.images, found.broken, found.finite) == (0, 0, False)
    assert all(map(math.isnan, (found.loss, found.top1, found.top5)))
