"""What the peers' scripts print, from runs of theirs, the ends of lines cut off."""

import re
from pathlib import Path

import pytest

from tests.benchmarks import program_peers
from tests.benchmarks.image_tree import Images
from tests.benchmarks.our_program import Work
from tests.benchmarks.programs import Program

TIMM = """\
Training with a single process on 1 device (cpu).
Train: 0 [   0/3 ( 33%)]  Loss: 0.748 (0.748)  Time: 0.262s,   15.29/s  (0.262s,   15.29/s)  LR: 1.000e-05
Train: 0 [   1/3 ( 67%)]  Loss: 0.854 (0.801)  Time: 0.087s,   45.99/s  (0.174s,   22.95/s)  LR: 1.000e-05
Train: 0 [   2/3 (100%)]  Loss: 0.733 (0.778)  Time: 0.082s,   48.61/s  (0.144s,   27.85/s)  LR: 1.000e-05
Test: [   0/0]  Time: 0.087 (0.087)  Loss:   0.695 ( 0.695)  Acc@1:  25.000 ( 25.000)  Acc@5: 100.000 (100.000)
Train: 1 [   0/3 ( 33%)]  Loss: 0.748 (0.748)  Time: 0.262s,   15.29/s  (0.262s,   15.29/s)  LR: 1.000e-05
"""

TORCHVISION = """\
Start training
Epoch: [0]  [ 0/12]  eta: 0:00:01  lr: 0.01  img/s: 17.207765771445413  loss: 1.8495 (1.8495)  acc1: 16.6667 (16.6667)
Epoch: [0]  [ 1/12]  eta: 0:00:00  lr: 0.01  img/s: 41.31830719520845  loss: 1.6761 (1.7628)  acc1: 16.6667 (25.0000)
Epoch: [0]  [11/12]  eta: 0:00:00  lr: 0.01  img/s: 32.532015807210975  loss: 1.8495 (1.8374)  acc1: 16.6667 (22.2222)
Epoch: [0] Total time: 0:00:00
Test:   [0/2]  eta: 0:00:01  loss: 2.3691 (2.3691)  acc1: 33.3333 (33.3333)  acc5: 100.0000 (100.0000)  time: 0.6818
"""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
    images = Images(tmp_path, tmp_path)
    return Work(network="resnet18", images=images, image_size=64, batch=16, threads=2, folder=tmp_path)


def done(program: Program, log: str) -> int:
    return sum(re.search(program.done, line) is not None for line in log.splitlines())


def test_the_steps_of_the_first_epoch_are_read_from_the_peers_logs(work: Work) -> None:
    assert done(program_peers.timm(Path("train.py"), work), TIMM) == 3
    assert done(program_peers.torchvision(Path("train.py"), work), TORCHVISION) == 3


def test_a_peer_trains_the_same_network_on_the_same_images(work: Work) -> None:
    command = " ".join(program_peers.timm(Path("/timm/train.py"), work).command[1:])
    assert command.startswith(f"/timm/train.py --data-dir {work.images.root} --model resnet18 --num-classes 2 ")
    assert "--img-size 64 --batch-size 16 --workers 2 --device cpu" in command
    command = " ".join(program_peers.torchvision(Path("/tv/train.py"), work).command[1:])
    assert (
        f"--data-path {work.images.root} --model resnet18 --train-crop-size 64 --batch-size 16 --workers 2" in command
    )


def test_the_rate_is_that_of_the_steps_after_the_first() -> None:
    assert program_peers.rate([9.0, 10.0, 12.0, 13.0], batch=32) == 3 * 32 / 4
