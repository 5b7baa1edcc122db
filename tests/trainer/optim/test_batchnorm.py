from copy import deepcopy

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.factory import build
from trainer.optim.batchnorm import Accumulated, buffers, flat, put, recalibrate


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double()


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_buffers_are_the_means_and_variances_of_the_state_dict() -> None:
    made = build(ModelConfig(name="resnet20", num_classes=4, blur_pool=None))
    found, state = buffers(made), made.state_dict()
    assert found.keys() == {name for name in state if name.endswith(("running_mean", "running_var"))}
    assert all(buffer.data_ptr() == state[name].data_ptr() for name, buffer in found.items())


def test_what_is_put_back_is_what_was_taken() -> None:
    first, second = network(), network()
    for images in batches(2):
        first(images)
    values = flat([first, second])
    assert len(values) == 2 * 2 * (3 + 4)
    put([second, first], values)
    assert torch.equal(flat([second, first]), values)


def test_a_network_without_batchnorm_has_none() -> None:
    plain = nn.Linear(2, 2)
    assert flat([plain]).numel() == 0
    put([plain], flat([plain]))


def stepped(made: nn.Module, steps: list[list[Tensor]]) -> nn.Module:
    statistics = Accumulated(made, len(steps[0]))
    for micro_batches in steps:
        statistics.begin()
        for images in micro_batches:
            made(images)
            statistics.add()
        statistics.end()
    return made


def test_the_mean_over_two_processes_is_what_one_process_has() -> None:
    """Three steps of four micro-batches: all on one process, or every other one on each of two."""
    images = batches(12)
    steps = [images[start : start + 4] for start in (0, 4, 8)]
    alone = stepped(network(), steps)
    ranks = [stepped(network(), [step[rank::2] for step in steps]) for rank in (0, 1)]
    torch.testing.assert_close(torch.stack([flat([rank]) for rank in ranks]).mean(0), flat([alone]))
    counters = [made.state_dict()["0.num_batches_tracked"].item() for made in (alone, *ranks)]
    assert counters == [3, 3, 3]


def test_a_step_of_one_micro_batch_is_pytorch_s_own() -> None:
    images = batches(3)
    plain = network()
    for batch in images:
        plain(batch)
    assert torch.equal(flat([stepped(network(), [[batch] for batch in images])]), flat([plain]))


def test_a_step_that_is_skipped_leaves_the_statistics_of_before() -> None:
    made = network()
    made(batches(1)[0])
    before = flat([made])
    for micro_batches in (1, 2):
        for back in (True, False):
            tried = deepcopy(made)
            statistics = Accumulated(tried, micro_batches)
            statistics.begin()
            for images in batches(micro_batches):
                tried(images * torch.nan if back else images)
                statistics.add()
            statistics.end(torch.tensor(back))
            assert torch.equal(flat([tried]), before) == back
            assert flat([tried]).isfinite().all()


def test_recalibrated_statistics_are_the_plain_mean_over_the_batches() -> None:
    made = network().eval()
    images = batches(5)
    recalibrate(made, images)
    found = buffers(made)
    torch.testing.assert_close(found["0.running_mean"], torch.cat(images).mean((0, 2, 3)))
    torch.testing.assert_close(found["0.running_var"], torch.stack([i.var((0, 2, 3)) for i in images]).mean(0))
    assert not made.training
    norm = made.get_submodule("0")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.momentum == 0.1
