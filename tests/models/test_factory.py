import re
from dataclasses import replace
from typing import Any

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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ("init_value=1e-5",),
            "timm cannot build 'test_vit' with options: no argument init_value; did you mean init_v",
        ),
        (("pretrained=True",), "timm cannot build 'test_vit' with options: no argument pretrained; it takes act_layer"),
        (("global_pool=most",), "timm cannot build 'test_vit' with options: Only avg, avgmax, max"),
        (("drop_path_rate=0.1",), "model.options: drop_path_rate is model.drop_path here"),
        (("init_values",), "model.options: 'init_values'; expected NAME=VALUE"),
    ],
)
def test_what_timm_s_network_does_not_take_is_refused(options: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        factory.build(ModelConfig(name="timm/test_vit", options=options))


def test_options_reach_timm_s_network_and_change_no_other_draw() -> None:
    config = ModelConfig(name="timm/test_vit", num_classes=3, drop_path=0.2)
    networks = list[Any]()
    for options in (None, ("init_values=0.01", "attn_drop_rate=0.1")):
        torch.manual_seed(0)
        networks.append(factory.build(replace(config, options=options)))
    plain, scaled = networks
    assert float(scaled.blocks[-1].ls1.gamma.detach()[0]) == pytest.approx(0.01)
    shares = scaled.blocks[0].attn.attn_drop.p, scaled.blocks[-1].drop_path1.drop_prob
    assert shares == pytest.approx((0.1, 0.2))
    weights = scaled.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())
