import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from data.synth import drawing
from data.synth.config import Scale
from data.synth.shapes import CLASSES, SHAPES, TEXTURES

ROOT = Path(__file__).parents[3]
L2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def draw(scale: Scale, label: int, index: int, split: str = "train") -> bytes:
    return drawing.jpeg(drawing.generator(0, split, label, index), scale, *CLASSES[label])


@pytest.fixture(scope="module")
def full() -> list[bytes]:
    """The first 15 images of each of ten classes."""
    return [draw("full", label, index) for label, index in product(range(10), range(15))]


def sizes(files: list[bytes]) -> NDArray[np.int64]:
    """(N, 2) width, height."""
    return np.array([Image.open(io.BytesIO(file)).size for file in files])


def test_full_images_have_imagenet_s_sizes(full: list[bytes]) -> None:
    pixels = sizes(full)
    width, height = pixels.mean(axis=0)
    assert 450 < width < 540
    assert 350 < height < 440
    shares = {size: (pixels == size).all(axis=1).mean() for size in ((500, 375), (375, 500), (500, 333))}
    assert shares[500, 375] > 0.35
    assert shares[375, 500] > 0.05
    assert shares[500, 333] > 0.1
    assert 0 < (pixels.max(axis=1) > 1000).mean() < 0.05
    assert 0 < (pixels.max(axis=1) < 250).mean() < 0.1


def test_full_files_have_imagenet_s_bytes(full: list[bytes]) -> None:
    lengths = np.array([len(file) for file in full]) / 1000
    assert 99 < lengths.mean() < 121
    low, middle, high = np.percentile(lengths, [5, 50, 95])
    assert low < 50
    assert 70 < middle < 115
    assert high > 180


def test_small_images_are_a_quarter_of_that() -> None:
    files = [draw("small", label, index) for label, index in product(range(10), range(30))]
    width, height = sizes(files).mean(axis=0)
    assert 113 < width < 135
    assert 88 < height < 110
    assert sizes(files).min() >= 48
    assert 4000 < np.mean([len(file) for file in files]) < 9000


@pytest.mark.slow
def test_a_few_files_are_grey_and_a_few_keep_all_colour() -> None:
    files = [Image.open(io.BytesIO(draw("small", index % 40, index))) for index in range(1500)]
    grey = np.mean([file.mode == "L" for file in files])
    whole = np.mean([file.mode == "RGB" and file.layer[0][1:3] == (1, 1) for file in files])  # pyright: ignore[reportAttributeAccessIssue]
    assert 0.005 < grey < 0.03
    assert 0.05 < whole < 0.15
    assert {file.mode for file in files} == {"L", "RGB"}


def test_the_spectrum_falls_as_a_photograph_s(full: list[bytes]) -> None:
    """Amplitude goes as 1/f in photographs: a quarter of the power in each octave further up."""
    images = (Image.open(io.BytesIO(file)) for file in full)
    greys = [np.asarray(image.convert("L"), dtype=float) for image in images if image.size == (500, 375)]
    power = np.mean([np.abs(np.fft.fft2(grey[:256, :256] - grey[:256, :256].mean())) ** 2 for grey in greys], axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))) * 256
    octaves = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (4, 8, 16, 32)]
    slopes = [np.log2(low / high) / 2 for low, high in pairwise(octaves)]
    assert 0.8 < np.mean(slopes) < 1.7  # single photographs lie between these too


def test_neither_shape_nor_texture_tells_the_class() -> None:
    assert len(set(CLASSES)) == 40
    assert set(CLASSES) == set(product(SHAPES, TEXTURES))
    for column in zip(*CLASSES[:10], strict=True):
        assert sorted(column.count(name) for name in set(column)) == [2] * 5


@pytest.mark.slow
def test_another_processor_gives_the_same_bytes() -> None:
    """One without this one's vector instructions, so that numpy computes sines and roots in other ways."""
    code = "import sys; from tests.data.synth.test_drawing import digest; sys.stdout.write(digest())"
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    bare = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    done = subprocess.run([sys.executable, "-c", code], env=bare, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == digest()


def digest() -> str:
    """Hash of one image of each class."""
    files = [draw("small", label, 3) for label in range(40)]
    return hashlib.sha256(b"".join(files)).hexdigest()


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_its_own_mirror_image(name: str) -> None:
    x, y = np.meshgrid(np.linspace(-1.2, 1.2, 50), np.linspace(-1.2, 1.2, 50))
    shape = SHAPES[name](x, y)
    assert np.allclose(shape, shape[:, ::-1], atol=1e-5)
    assert 0.2 < (shape < 0).mean() < 0.6


@dataclass(frozen=True, slots=True)
class Split:
    features: Tensor
    """(N, D) standardised."""
    targets: Tensor
    """(N,) int64."""


def pixels(files: list[bytes], side: int, mode: str) -> Tensor:
    """(N, side * side * channels), the central square of each image."""
    images = (Image.open(io.BytesIO(file)).convert(mode) for file in files)
    crops = (image.resize((side, side), Image.Resampling.BOX, box=central_square(image)) for image in images)
    return torch.from_numpy(np.stack([np.asarray(crop, dtype=np.float32).ravel() for crop in crops]))


def central_square(image: Image.Image) -> tuple[float, float, float, float]:
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return left, top, left + short, top + short


def linear_accuracies(train: Split, val: Split) -> Iterator[tuple[float, float]]:
    """Multinomial logistic regression with each L2 penalty, the strongest first: accuracy on train and on val."""
    classes = int(train.targets.max()) + 1
    # a row a class: as columns, their gradient takes MKL ten times as long
    weights = torch.zeros(classes, train.features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)

    def scores(split: Split) -> Tensor:
        return F.linear(split.features, weights, bias)

    for penalty in reversed(L2):
        optimizer = torch.optim.LBFGS([weights, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

        def loss(penalty: float = penalty, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(scores(train), train.targets) + penalty * weights.square().sum()
            value.backward()
            return value

        optimizer.step(loss)  # pyright: ignore[reportArgumentType] - torch asks for a float, its examples give tensors
        with torch.no_grad():
            yield tuple((scores(split).argmax(1) == split.targets).float().mean().item() for split in (train, val))  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="module")
def demo() -> dict[str, tuple[list[bytes], Tensor]]:
    """The files and the targets of each split of the default data set, half of each class."""
    places = {split: list(product(range(10), range(count))) for split, count in (("train", 200), ("val", 50))}
    return {
        split: ([draw("small", *place, split=split) for place in some], torch.tensor([label for label, _ in some]))
        for split, some in places.items()
    }


def splits(demo: dict[str, tuple[list[bytes], Tensor]], side: int, mode: str) -> tuple[Split, Split]:
    train, val = (pixels(files, side, mode) for files, _ in demo.values())
    mean, std = train.mean(dim=0), train.std(dim=0)
    return Split((train - mean) / std, demo["train"][1]), Split((val - mean) / std, demo["val"][1])


@pytest.mark.slow
def test_a_linear_model_on_pixels_cannot_tell_the_classes(demo: dict[str, tuple[list[bytes], Tensor]]) -> None:
    for side, mode in product((24, 48), ("RGB", "L")):
        accuracies = list(linear_accuracies(*splits(demo, side, mode)))
        assert max(val for _, val in accuracies) < 0.4, (side, mode, accuracies)
        if (side, mode) == (48, "RGB"):
            assert accuracies[-1][0] > 0.9  # it does learn: its own training set, by heart


@pytest.mark.slow
def test_the_same_linear_model_tells_what_is_linear(demo: dict[str, tuple[list[bytes], Tensor]]) -> None:
    """Light images from dark ones: the test above is no proof if its model learns nothing."""
    train, val = (Split(split.features, (split.features.mean(dim=1) > 0).long()) for split in splits(demo, 24, "RGB"))
    assert max(accuracy for _, accuracy in linear_accuracies(train, val)) > 0.9
