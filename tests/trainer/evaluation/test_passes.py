from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from data.catalog.manifest import Manifest
from data.plan.config import InputConfig
from models import factory
from models.config import ModelConfig
from models.dense import fully_convolutional
from tests.data.making import SIZES, picture, scanned
from trainer.engine.step import Normalize
from trainer.evaluation import passes
from trainer.evaluation.passes import Pass
from trainer.evaluation.predictions import CONFIDENCE, FIRST_ANSWER, INDEX, LOSS, VALID
from trainer.evaluation.protocol import Protocol, parse
from trainer.runtime import Runtime
from trainer.stopping import StopRequestedError
from trainer.world import World

CLASSES = 7
CONFIG = InputConfig(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), eval_crop=32, eval_resize=40)
TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CONFIG.mean, CONFIG.std)])


class Tiny(nn.Module):
    """Random weights, and the end that a fully convolutional form needs; sees where in an image something is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 12, 7, stride=8, padding=3)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, CLASSES)
        nn.init.normal_(self.conv.weight, std=0.3)
        nn.init.normal_(self.fc.weight, std=1.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.conv(images).relu()).flatten(1))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for number, (width, height) in enumerate(SIZES * 2):
        file = root / "val" / "abc"[number % 3] / f"{number:02}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(width, height, number).save(file, "JPEG", quality=95)
    return root


@pytest.fixture(scope="module")
def images(tree: Path) -> Manifest:
    return scanned(tree, "val")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    started = Runtime(World(), "fp32", threads=1)
    yield started
    started.close()


def rows(
    images: Manifest,
    runtime: Runtime,
    name: str,
    *,
    batch: int = 5,
    columns: tuple[int, ...] = tuple(range(CLASSES)),
    max_broken: float = 0.0,
    stop: bool = False,
) -> np.ndarray:
    """The answers by image, of the rows that count."""
    protocol = parse(name)
    work = Pass(
        runtime=runtime,
        network=passes.prepared(Tiny().eval(), protocol, 32),
        normalize=Normalize(CONFIG, runtime.device, channels_last=False),
        protocol=protocol,
        images=images,
        backend="threads",
        batch=batch,
        max_broken=max_broken,
        columns=torch.tensor(columns),
        targets=torch.from_numpy(images.targets),
        should_stop=lambda: stop,
    )
    done: list[tuple[int, int]] = []
    found = passes.rows(work, lambda count, total: done.append((count, total))).numpy()
    assert done[-1] == (len(done) * batch, len(done) * batch)
    found = found[found[:, VALID] > 0]
    return found[np.argsort(found[:, INDEX])]


def resized(image: Image.Image, side: int | tuple[int, int] | None, protocol: Protocol) -> Image.Image:
    assert side is not None
    return transforms.Resize(side, interpolation=InterpolationMode(protocol.squares.interpolation))(image)


def both_sides(views: list[Tensor]) -> list[Tensor]:
    return [*views, *(view.flip(2) for view in views)]


def by_hand(images: Manifest, name: str) -> Tensor:
    """(N, CLASSES) mean of the probabilities, one image after another by torchvision's transforms."""
    protocol, network = parse(name), Tiny().eval()
    if protocol.kind == "multi-scale":
        fully_convolutional(network, 32)
    found = list[Tensor]()
    for index in range(len(images)):
        image = Image.open(images.path(index)).convert("RGB")
        match protocol.kind:
            case "center":
                seen = [transforms.CenterCrop(protocol.squares.side)(resized(image, protocol.squares.resize, protocol))]
            case "resize":
                seen = [resized(image, (protocol.squares.side, protocol.squares.side), protocol)]
            case "ten-crop":
                seen = [*transforms.FiveCrop(protocol.squares.side)(resized(image, protocol.squares.resize, protocol))]
            case "multi-scale":
                seen = [resized(image, scale, protocol) for scale in protocol.scales]
        views: list[Tensor] = list(map(TENSOR, seen))  # pyright: ignore[reportArgumentType]
        views = both_sides(views) if protocol.views > 1 else views
        assert len(views) == protocol.views
        with torch.no_grad():
            found.append(torch.stack([network(view[None])[0].softmax(0) for view in views]).mean(0))
    return torch.stack(found)


@pytest.mark.parametrize(
    "name",
    [
        "center-32/40",
        "center-32/40+bicubic+flip",
        "resize-48",
        "ten-crop-32/40",
        "ten-crop-32/40+bicubic",
        "multi-scale-32,40,57",
    ],
)
def test_every_protocol_is_the_mean_of_the_probabilities_of_its_views(
    images: Manifest, runtime: Runtime, name: str
) -> None:
    found, expected = rows(images, runtime, name), by_hand(images, name)
    best = expected.topk(5)
    assert found[:, INDEX].tolist() == list(range(16))
    assert found[:, FIRST_ANSWER:].tolist() == best.indices.tolist()
    assert found[:, CONFIDENCE] == pytest.approx(best.values[:, 0].numpy(), abs=1e-5)
    right = expected.gather(1, torch.from_numpy(images.targets)[:, None])[:, 0]
    assert found[:, LOSS] == pytest.approx(-right.log().numpy(), abs=1e-4)
    assert len(set(found[:, FIRST_ANSWER].tolist())) > 1  # answers that tell images apart


@pytest.mark.parametrize("name", ["center-32/40", "ten-crop-32/40", "multi-scale-32,40"])
def test_each_image_counts_once_at_any_batch_size(images: Manifest, runtime: Runtime, name: str) -> None:
    whole = rows(images, runtime, name, batch=16)
    for batch in (1, 3, 100):
        found = rows(images, runtime, name, batch=batch)
        assert np.array_equal(found[:, [INDEX, VALID]], whole[:, [INDEX, VALID]])
        assert np.array_equal(found[:, FIRST_ANSWER:], whole[:, FIRST_ANSWER:])
        assert np.allclose(found, whole, atol=1e-5)


def test_classes_without_images_are_no_answers(images: Manifest, runtime: Runtime) -> None:
    """The logits of the others are left out before the softmax, as ImageNet-A and -R are evaluated."""
    found = rows(images, runtime, "center-32/40", columns=(1, 4, 6))
    expected = by_hand(images, "center-32/40")[:, [1, 4, 6]]
    expected /= expected.sum(1, keepdim=True)
    assert found.shape == (16, FIRST_ANSWER + 3)
    assert found[:, FIRST_ANSWER].tolist() == torch.tensor([1, 4, 6])[expected.argmax(1)].tolist()
    assert found[:, CONFIDENCE] == pytest.approx(expected.max(1).values.numpy(), abs=1e-5)
    right = expected.gather(1, torch.from_numpy(images.targets)[:, None])[:, 0]
    assert found[:, LOSS] == pytest.approx(-right.log().numpy(), abs=1e-4)


@pytest.mark.parametrize("lost", [0, 6])
@pytest.mark.parametrize("name", ["center-32/40", "ten-crop-32/40", "multi-scale-32,40"])
def test_an_image_that_broke_is_left_out(tree: Path, runtime: Runtime, tmp_path: Path, name: str, lost: int) -> None:
    """The first image also stands in the rows that fill the last batch up."""
    root = tmp_path / "copy"
    (root / "val").mkdir(parents=True)
    for folder in (tree / "val").iterdir():
        (root / "val" / folder.name).mkdir()
        for file in folder.iterdir():
            (root / "val" / folder.name / file.name).write_bytes(file.read_bytes())
    images = scanned(root, "val")
    whole = rows(images, runtime, name)
    images.path(lost).unlink()
    found = rows(images, runtime, name, max_broken=0.1)
    kept = np.delete(np.arange(16), lost)
    assert found[:, INDEX].tolist() == kept.tolist()
    assert np.allclose(found, whole[kept], atol=1e-5)


@pytest.mark.parametrize("name", ["center-32/40", "multi-scale-32,40"])
def test_a_stop_is_heard(images: Manifest, runtime: Runtime, name: str) -> None:
    with pytest.raises(StopRequestedError):
        rows(images, runtime, name, stop=True)


def test_a_scale_smaller_than_the_network_s_crops_is_refused() -> None:
    with pytest.raises(ValueError, match="its crops have 64 px; name scales that are no smaller"):
        passes.prepared(Tiny(), parse("multi-scale-48,64"), 64)


def test_only_a_fully_convolutional_pass_changes_the_network() -> None:
    network = Tiny()
    assert passes.prepared(network, parse("ten-crop"), 32) is network
    assert isinstance(network.avgpool, nn.AdaptiveAvgPool2d)


def test_a_network_that_is_built_for_one_size_is_refused_another() -> None:
    built = factory.build(
        ModelConfig(name="timm/vit_tiny_patch16_224", num_classes=2, img_size=64, options=("depth=1",))
    )
    assert passes.prepared(built, parse("center-64/72"), 64) is built
    with pytest.raises(ValueError, match=r"is not built for images of 224 px: Input height \(224\) doesn't match"):
        passes.prepared(built, parse("center-224/256"), 64)
