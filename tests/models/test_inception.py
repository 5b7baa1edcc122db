import pytest
import torch
import torchvision.models
from torch import nn

from models import factory, inception
from models.config import ModelConfig
from models.trace import parameter_count, skeleton, trace


def build(**settings: object) -> nn.Module:
    return skeleton(ModelConfig(name="inception_v3", **settings))  # type: ignore[arg-type]


def test_training_gives_both_heads_and_evaluation_one() -> None:
    network, images = build(num_classes=7), torch.zeros(2, 3, 299, 299, device="meta")
    output = network.train()(images)
    assert isinstance(output, inception.InceptionOutputs)
    assert output.logits.shape == output.aux_logits.shape == (2, 7)
    assert network.eval()(images).shape == (2, 7)


def test_without_its_auxiliary_head_it_always_gives_logits_and_has_3_million_weights_less() -> None:
    network = build(aux_logits=False)
    assert network.train()(torch.zeros(2, 3, 75, 75, device="meta")).shape == (2, 1000)
    # torchvision's count for its 5 x 5 head: 768 x 128 + 25 x 128 x 768 + two BatchNorms + 769 x 1000
    assert parameter_count(build()) - parameter_count(network) == 768 * 128 + 25 * 128 * 768 + 2 * (128 + 768) + 769_000


def test_it_stays_below_the_abstract_s_25_million_parameters() -> None:
    assert parameter_count(build(aux_logits=False)) == 23_834_568 < 25_000_000


def test_grids_and_widths_are_those_of_table_1() -> None:
    rows = {row.path: row for row in trace(build(), torch.zeros(1, 3, 299, 299, device="meta"))}
    shapes = {
        "Conv2d_1a_3x3": (32, 149),
        "Conv2d_2a_3x3": (32, 147),
        "Conv2d_2b_3x3": (64, 147),
        "maxpool1": (64, 73),
        "Conv2d_4a_3x3": (192, 71),
        "Mixed_5b": (256, 35),  # mixed0 in slim: 64 + 64 + 96 + 32
        "Mixed_5d": (288, 35),
        "Mixed_6a": (768, 17),
        "Mixed_6e": (768, 17),
        "Mixed_7a": (1280, 8),
        "Mixed_7c": (2048, 8),
    }
    assert {path: rows[path].output_shape[1:3] for path in shapes} == shapes


def test_mixed0_has_the_branches_of_slim() -> None:
    rows = trace(build(), torch.zeros(1, 3, 299, 299, device="meta"))
    convolutions = [row for row in rows if row.path.startswith("Mixed_5b.") and row.kind == "Conv2d"]
    widths = {row.path.split(".")[1]: row.output_shape[1] for row in convolutions}
    assert widths == {
        "branch1x1": 64,
        "branch5x5_1": 48,
        "branch5x5_2": 64,
        "branch3x3dbl_1": 64,
        "branch3x3dbl_2": 96,
        "branch3x3dbl_3": 96,
        "branch_pool": 32,
    }


@pytest.mark.slow
def test_the_same_seed_gives_torchvision_s_weights() -> None:
    torch.manual_seed(3)
    ours = factory.build(ModelConfig(name="inception_v3")).state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.inception_v3(init_weights=True).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
