from contextlib import ExitStack
from pathlib import Path

import torch

from trainer.bench import bare, ours
from trainer.bench.config import LoopTask
from trainer.world import World


def test_both_loops_do_the_same_work(tmp_path: Path) -> None:
    task = LoopTask(
        loop="ours",
        network="resnet20",
        num_classes=10,
        image_size=32,
        batch=8,
        steps=3,
        precision="fp32",
        channels_last=True,
        threads=1,
        folder=tmp_path,
    )
    with ExitStack() as stack:
        own, other = ours.open_loop(task, World(), stack), bare.open_loop(task, World())
        own.turn()
        other.turn()
    expected = other.network.state_dict()
    for name, tensor in own.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)
    assert '"kind": "train", "step": 3,' in (tmp_path / "metrics.jsonl").read_text()
