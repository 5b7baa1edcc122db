from collections.abc import Iterator

import pytest
import torch

from data.types import Batch
from trainer.runtime import Runtime
from trainer.telemetry.mistakes import Answers, Mistakes
from trainer.world import World


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


def batch(indices: list[int], targets: list[int], valid: list[bool] | None = None) -> Batch:
    rows = torch.tensor(indices)
    images = rows.view(-1, 1, 1, 1).expand(-1, 4, 4, 3).to(torch.uint8)
    return Batch(images, torch.tensor(targets), rows, torch.tensor(valid or [True] * len(rows)), torch.zeros(4))


def logits(*answers: tuple[int, float]) -> torch.Tensor:
    """So sure of a class, of three."""
    rows = torch.zeros(len(answers), 3)
    for row, (answer, strength) in zip(rows, answers, strict=True):
        row[answer] = strength
    return rows


def test_the_surest_of_the_wrong_answers_come_first_over_all_batches(runtime: Runtime) -> None:
    found = Mistakes(3)
    found.look(batch([10, 11, 12], [0, 0, 0]), logits((1, 2.0), (0, 9.0), (2, 5.0)))
    found.look(batch([13, 14], [1, 1], [True, False]), logits((2, 3.0), (0, 9.0)))  # the last only fills up
    found.look(batch([15], [2]), logits((1, 1.0)))
    worst = found.worst(runtime)
    assert [(mistake.index, mistake.target, mistake.answer) for mistake in worst] == [
        (12, 0, 2),
        (13, 1, 2),
        (10, 0, 1),
    ]
    assert worst[0].confidence == pytest.approx(torch.tensor([0, 0, 5.0]).softmax(0)[2].item())
    assert [mistake.image.mean() for mistake in worst] == [12, 13, 10]
    assert worst[0].image.shape == (4, 4, 3)


def test_answers_are_counted_by_class_without_rows_that_fill_up(runtime: Runtime) -> None:
    found = Answers(3)
    found.look(batch([10, 11, 12], [0, 0, 2]), logits((1, 2.0), (0, 9.0), (2, 5.0)))
    found.look(batch([13, 14], [0, 1], [True, False]), logits((1, 3.0), (0, 9.0)))
    assert found.counts(runtime) == [[0, 1, 2], [0, 0, 1], [2, 2, 1]]


def test_fewer_mistakes_than_wanted_are_all_there_are(runtime: Runtime) -> None:
    found = Mistakes(16)
    found.look(batch([1, 2], [0, 1]), logits((0, 2.0), (0, 2.0)))
    assert [mistake.index for mistake in found.worst(runtime)] == [2]


def test_an_evaluation_without_mistakes_has_none(runtime: Runtime) -> None:
    found = Mistakes(4)
    found.look(batch([1], [0]), logits((0, 2.0)))
    assert found.worst(runtime) == []
