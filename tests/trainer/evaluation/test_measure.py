from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data.plan.config import InputConfig
from tests.data.making import picture, scanned
from trainer.evaluation import labels
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.protocol import parse
from trainer.evaluation.request import Request
from trainer.evaluation.trained_network import Subject, UnusableWeightsError
from trainer.runtime import Runtime
from trainer.sources import Source
from trainer.world import World


class Known(nn.Module):
    """Says the same of every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.get_buffer("logits").expand(len(images), -1)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Three images of class b, one of d, for a network of five classes that says b, then e."""
    for place, name in enumerate("bbbd"):
        (tmp_path / "val" / name).mkdir(parents=True, exist_ok=True)
        picture(20, 30, place).save(tmp_path / "val" / name / f"{place}.JPEG", "JPEG")
    images = scanned(tmp_path, "val")
    subject = Subject(
        source=Source(text="known", kind="weights"),
        model="known",
        network=Known([0.0, 3.0, 0.0, 1.0, 2.0]).eval(),
        num_classes=5,
        input=InputConfig(eval_crop=16, eval_resize=16),
        protocol=parse("center-16/16"),
        precision="fp32",
        classes=tuple("abcde"),
        guessed=False,
        weights_sha256="w",
    )
    return Task(
        request=Request(batch=3, loader="threads", max_broken=0.5),
        subject=subject,
        protocol=subject.protocol,
        images=images,
        truth=labels.of(images, "val", 5, subject.classes),
        should_stop=lambda: False,
    )


def test_figures_say_of_what_and_how_they_are(task: Task, runtime: Runtime) -> None:
    found = measure(task, runtime)
    expected = {"top1": 75.0, "top5": 100.0, "images": 4, "broken": 0, "unlabelled": 0, "classes": 2, "num_classes": 5}
    assert expected.items() <= found.about.items()
    assert found.about["protocol"] == "center-16/16"
    assert found.about["val_sha256"] == task.images.fingerprint()
    assert found.answers.tolist() == [[1, 3]] * 4  # there are images of these two alone


def test_images_that_broke_are_counted_once_and_those_without_a_label_apart(task: Task, runtime: Runtime) -> None:
    task.images.path(0).unlink()
    assert task.truth
    truth = replace(task.truth, accepted=[frozenset({1}), frozenset({2}), frozenset(), frozenset({1, 3})])
    found = measure(replace(task, truth=truth), runtime)
    expected = {"top1": 50.0, "images": 2, "broken": 1, "unlabelled": 1}
    assert expected.items() <= found.about.items()


def test_answers_that_are_no_numbers_are_refused(task: Task, runtime: Runtime) -> None:
    wrong = replace(task, subject=replace(task.subject, network=Known([torch.nan] * 5)))
    with pytest.raises(UnusableWeightsError, match="known: its answers are no numbers; try --precision fp32"):
        measure(wrong, runtime)


def test_a_protocol_that_the_network_cannot_follow_is_refused(task: Task, runtime: Runtime) -> None:
    dense = replace(task, protocol=parse("multi-scale-16,24"))
    with pytest.raises(UnusableWeightsError, match="--protocol multi-scale-16,24: known: the network does not end in"):
        measure(dense, runtime)
