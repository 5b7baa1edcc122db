from unittest.mock import Mock

import pytest
import torch

from trainer.telemetry.device import usage


def test_a_process_on_a_cpu_tells_its_most_memory_and_no_power() -> None:
    before = usage(torch.device("cpu"))
    held = torch.ones(60_000_000)  # 240 MB
    after = usage(torch.device("cpu"))
    assert 0.05 < before.memory_gb <= after.memory_gb < 1000
    assert after.memory_gb > held.nbytes / 1e9
    assert (after.power_w, after.device_memory_gb) == (None, None)


@pytest.mark.parametrize(("answer", "watts"), [(431_500, 431.5), (ModuleNotFoundError("no pynvml"), None)])
def test_a_gpu_tells_its_own_memory_and_its_power_where_it_can_and_says_once_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: int | Exception, watts: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "power_draw", Mock(side_effect=[answer, answer]))  # raises what is an exception
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", Mock(return_value=1_500_000_000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", Mock(return_value=(6_000_000_000, 8_000_000_000)))
    for _ in range(2):
        found = usage(torch.device("cuda:0"))
        assert (found.memory_gb, found.device_memory_gb, found.power_w) == (1.5, 2.0, watts)
    said = [record.getMessage() for record in caplog.records]
    why = "power and energy are not recorded (ModuleNotFoundError: no pynvml); they need the package nvidia-ml-py"
    assert said == ([] if watts else [why])
