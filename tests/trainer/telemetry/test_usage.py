from unittest.mock import Mock

import pytest
import torch

from trainer.telemetry.usage import usage


def test_a_process_on_a_cpu_tells_its_most_memory_and_no_power() -> None:
    before = usage(torch.device("cpu"))
    held = torch.ones(60_000_000)  # 240 MB
    after = usage(torch.device("cpu"))
    assert 0.05 < before.memory_gb <= after.memory_gb < 1000
    assert after.memory_gb > held.nbytes / 1e9
    assert after.power_w is None


@pytest.mark.parametrize(("answer", "watts"), [(431_500, 431.5), (ModuleNotFoundError("pynvml"), None)])
def test_a_gpu_tells_its_own_memory_and_its_power_where_it_can(
    monkeypatch: pytest.MonkeyPatch, answer: int | Exception, watts: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "power_draw", Mock(side_effect=[answer]))  # raises what is an exception
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", Mock(return_value=1_500_000_000))
    found = usage(torch.device("cuda:0"))
    assert (found.memory_gb, found.power_w) == (1.5, watts)
