from itertools import pairwise

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from models import factory
from models.blocks import BasicBlock, Bottleneck
from models.config import ModelConfig
from models.design import Design
from models.layers import DropPath, GhostModule, PadShortcut
from models.resnet import ResNet

# Parameters of ResNet-34 by shortcut: Table 2's network (A), with 3 projections (B), with 16 (C); hand-computed.
PROJECTIONS = 64 * 128 + 2 * 128 + 128 * 256 + 2 * 256 + 256 * 512 + 2 * 512
SAME_WIDTH = sum(blocks * (planes**2 + 2 * planes) for blocks, planes in ((3, 64), (3, 128), (5, 256), (2, 512)))
RESNET34 = {"A": 21797672 - PROJECTIONS, "B": 21797672, "C": 21797672 + SAME_WIDTH}

# Options that make a network of timm, and its name there.
AS_IN_TIMM = [
    ({"name": "resnet18", "deep_stem": True, "avg_down": True}, "resnet18d"),
    ({"name": "resnet50", "deep_stem": True, "avg_down": True}, "resnet50d"),
    ({"name": "resnet50", "deep_stem": True}, "resnet50c"),
    ({"name": "resnet18", "blur_pool": "after"}, "resnetblur18"),
    ({"name": "resnet50", "blur_pool": "after"}, "resnetblur50"),
    ({"name": "resnet50", "blur_pool": "after", "deep_stem": True, "avg_down": True}, "resnetblur50d"),
    ({"name": "resnext50_32x4d", "deep_stem": True, "avg_down": True}, "resnext50d_32x4d"),
]


def build(**settings: object) -> nn.Module:
    return factory.build(ModelConfig(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
@pytest.mark.parametrize("zero_init_residual", [False, True])
def test_the_same_seed_gives_torchvision_s_weights(name: str, zero_init_residual: bool) -> None:
    torch.manual_seed(3)
    ours = build(name=name, zero_init_residual=zero_init_residual).state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, zero_init_residual=zero_init_residual).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("settings", "name"), AS_IN_TIMM)
def test_options_make_the_network_that_timm_has_under_its_own_name(settings: dict, name: str) -> None:
    ours, theirs = build(**settings).eval().double(), timm.create_model(name).eval().double()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)  # odd: where paddings and ceilings show
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("shortcut", "expected"), RESNET34.items())
def test_shortcuts_cost_the_parameters_of_section_3_3(shortcut: str, expected: int) -> None:
    network = build(name="resnet34", shortcut=shortcut)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_shortcut_a_has_no_parameters_and_pads_only_where_shapes_differ() -> None:
    network = build(name="resnet34", shortcut="A")
    blocks = [module for module in network.modules() if isinstance(module, BasicBlock)]
    padded = [index for index, block in enumerate(blocks) if isinstance(block.downsample, PadShortcut)]
    assert padded == [3, 7, 13]  # the first blocks of stages 2 to 4
    assert not [key for key in network.state_dict() if "downsample" in key]


@pytest.mark.parametrize(("name", "strided"), [("resnet50", "conv2"), ("resnet50_v1", "conv1")])
def test_v1_strides_in_the_first_1x1_and_v1_5_in_the_3x3(name: str, strided: str) -> None:
    network = build(name=name)
    firsts = [network.get_submodule(f"layer{stage}.0") for stage in (2, 3, 4)]
    for block in firsts:
        strides = {key: block.get_submodule(key).stride[0] for key in ("conv1", "conv2", "conv3")}  # type: ignore[index]
        assert strides == {"conv1": 1, "conv2": 1, "conv3": 1} | {strided: 2}


@pytest.mark.parametrize("name", ["resnet20", "resnet50"])
def test_zero_initialised_blocks_start_as_the_identity(name: str) -> None:
    network = build(name=name, zero_init_residual=True).eval()
    block = network.get_submodule("layer1.2")
    channels = 256 if name == "resnet50" else 16
    images = torch.rand(2, channels, 8, 8)
    assert torch.equal(block(images), images)


def test_stochastic_depth_grows_linearly_to_the_rate_of_the_last_block() -> None:
    network = build(name="resnet50", drop_path=0.16)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert len(rates) == 16
    assert rates[0] == pytest.approx(0.01)  # l / L of the last: 1603.09382 equation (4)
    assert rates[-1] == pytest.approx(0.16)
    assert all(second - first == pytest.approx(0.01) for first, second in pairwise(rates))


def test_ghost_replaces_every_1x1_and_nothing_else() -> None:
    network = build(name="resnet50", ghost=2)
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    assert all(isinstance(block.conv1, GhostModule) and isinstance(block.conv3, GhostModule) for block in blocks)
    assert all(isinstance(block.conv2, nn.Conv2d) for block in blocks)
    assert sum(isinstance(module, GhostModule) for module in network.modules()) == 16 * 2 + 4


def test_ghost_resnet50_replaces_every_convolution_but_the_first() -> None:
    network = build(name="ghost_resnet50")
    assert sum(isinstance(module, GhostModule) for module in network.modules()) == 16 * 3 + 4
    assert isinstance(network.conv1, nn.Conv2d)


def test_cifar_networks_keep_the_image_until_the_second_stage() -> None:
    network = build(name="resnet20", num_classes=10)
    sizes: list[torch.Size] = []
    for stage in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(stage).register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape))
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    # section 4.2: 16, 32, 64 filters on 32, 16, 8 pixels
    assert [tuple(size) for size in sizes] == [(2, 16, 32, 32), (2, 16, 32, 32), (2, 32, 16, 16), *[(2, 64, 8, 8)] * 2]


@pytest.mark.parametrize(
    ("name", "layers"), [("resnet20", 20), ("resnet110", 110), ("plain56", 56), ("resnet1202", 1202)]
)
def test_a_name_counts_the_layers_with_weights(name: str, layers: int) -> None:
    with torch.device("meta"):
        network = build(name=name)
    counted = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(counted) == layers


def test_other_channels_and_classes_change_the_ends_alone() -> None:
    network = build(name="resnet18", in_channels=4, num_classes=7)
    assert network(torch.zeros(2, 4, 32, 32)).shape == (2, 7)


def test_a_design_can_be_smaller_than_any_named_network() -> None:
    network = ResNet(Design(block="basic", depths=(1, 1, 1), planes=4, small_images=True, num_classes=3))
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 3)


class FfcvBlurPoolConv2d(nn.Module):
    """As in ffcv-imagenet's train_imagenet.py: the filter at full size, zeros around, then the convolution."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.filter = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).div(16).repeat(convolution.in_channels, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        filtered = nn.functional.conv2d(x, self.filter.to(x.dtype), padding=1, groups=x.shape[1])
        return self.convolution(filtered)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_blur_pool_before_is_what_ffcv_makes_of_torchvision_s_network(name: str) -> None:
    theirs = factory.build(ModelConfig(name=f"torchvision/{name}", num_classes=10)).double().eval()
    ours = factory.build(ModelConfig(name=name, num_classes=10, blur_pool="before")).double().eval()
    ours.load_state_dict(theirs.state_dict())
    strided = [
        path for path, module in theirs.named_modules() if isinstance(module, nn.Conv2d) and module.stride[0] > 1
    ]
    for path in strided[1:]:  # the stem has 3 channels: below 16, ffcv leaves it alone
        parent, _, leaf = path.rpartition(".")
        setattr(theirs.get_submodule(parent), leaf, FfcvBlurPoolConv2d(theirs.get_submodule(path)))  # type: ignore[arg-type]
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert len(strided) == 7
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-12, atol=1e-12)


OPTIONS = [
    {"blur_pool": "after"},
    {"blur_pool": "before"},
    {"ghost": 2},
    {"shortcut": "A"},
    {"drop_path": 0.2, "zero_init_residual": True},
    {"deep_stem": True, "avg_down": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options))
def test_an_option_keeps_layout_compilation_and_export(options: dict) -> None:
    torch.manual_seed(0)
    design = Design(block="bottleneck", depths=(1, 1, 1), planes=16, num_classes=3, **{"ghost": 0, **options})
    network, images = ResNet(design).double().eval(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        logits = network(images)
        laid_out = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(laid_out(images), logits)
        torch.testing.assert_close(torch.compile(network, fullgraph=True, backend="eager")(images), logits)
        free = ({0: torch.export.Dim("batch", min=1)},)
        program = torch.export.export(network, (images,), dynamic_shapes=free).module()
        torch.testing.assert_close(program(images[:1].repeat(5, 1, 1, 1)), logits[:1].repeat(5, 1))
    torch.compiler.reset()
