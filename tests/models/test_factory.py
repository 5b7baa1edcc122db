import pytest
import torch

from models import factory, registry
from models.config import ModelConfig


@pytest.mark.parametrize("name", registry.names())
def test_the_least_size_runs_and_inception_s_is_the_very_least(name: str) -> None:
    row = registry.entry(name)
    with torch.device("meta"):
        network = factory.build(ModelConfig(name=name)).eval()
    network(torch.zeros(1, 3, row.min_size, row.min_size, device="meta"))
    if name == "inception_v3":
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 3, 74, 74, device="meta"))
        with pytest.raises(RuntimeError):
            network.train()(torch.zeros(2, 3, 298, 298, device="meta"))


def test_build_lists_every_option_that_the_network_has_not() -> None:
    with pytest.raises(
        ValueError, match=r"model.deep_stem: plain18 has no such option.*\nmodel.ghost: plain18 has no such"
    ):
        factory.build(ModelConfig(name="plain18", deep_stem=True, ghost=2))
