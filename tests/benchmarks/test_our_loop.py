from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.benchmarks import bare, our_loop
from tests.benchmarks.tasks import tiny
from trainer.world import World


def test_both_loops_do_the_same_work(tmp_path: Path) -> None:
    task = replace(tiny(tmp_path), batch=8, steps=3)
    with ExitStack() as stack:
        own, other = our_loop.open_loop(task, World(), stack), bare.open_loop(task, World())
        own.turn()
        other.turn()
    expected = other.network.state_dict()
    for name, tensor in own.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)
    assert '"kind": "train", "step": 3,' in (tmp_path / "metrics.jsonl").read_text()


def test_a_silent_loop_trains_the_same_and_writes_nothing(tmp_path: Path) -> None:
    states = []
    for loop in ("ours", "silent"):
        task = replace(tiny(tmp_path / loop), loop=loop, batch=8, steps=3, folder=tmp_path / loop)  # pyright: ignore[reportArgumentType]
        with ExitStack() as stack:
            opened = our_loop.open_loop(task, World(), stack)
            opened.turn()
            states.append({name: value.clone() for name, value in opened.network.state_dict().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not (tmp_path / "silent" / "metrics.jsonl").exists()


def test_the_bare_loop_lets_cudnn_choose_its_algorithms_as_ours_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    bare.open_loop(tiny(tmp_path), World())
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32  # in fp32
