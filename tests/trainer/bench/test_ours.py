from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from tests.trainer.bench.tasks import tiny
from trainer.bench import bare, ours
from trainer.world import World


def test_both_loops_do_the_same_work(tmp_path: Path) -> None:
    task = replace(tiny(tmp_path), batch=8, steps=3)
    with ExitStack() as stack:
        own, other = ours.open_loop(task, World(), stack), bare.open_loop(task, World())
        own.turn()
        other.turn()
    expected = other.network.state_dict()
    for name, tensor in own.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)
    assert '"kind": "train", "step": 3,' in (tmp_path / "metrics.jsonl").read_text()
