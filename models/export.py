"""A network as a file for other programs, checked against the network before the file gets its name."""

import importlib.util
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor, nn

from models import factory, hub, weights
from models.config import ModelConfig
from models.weights import Origin

Format = Literal["onnx", "pt2", "safetensors", "hub"]
Forward = Callable[[Tensor], Tensor]

LIMIT = 1e-4  # of the largest logit: float32 rounds at 1e-7, and other kernels add in another order
BATCHES = (1, 3, 8)  # none is the batch of the example below: the batch of the file must be free
EXAMPLE_BATCH = 2  # 0 and 1 would be taken for constants


class ParityError(RuntimeError):
    """The exported network computes something else."""


def export(
    network: nn.Module, config: ModelConfig, path: Path, to: Format, image_size: int, origin: Origin | None = None
) -> float:
    """Writes a network in evaluation mode, any batch size, images of one size; then compares file and network.

    Args:
        network: Ours or a reference's, float32.
        config: What it was built from; goes into a safetensors file.
        path: Where the file goes; one that is there is replaced. Of hub a folder that is not there.
        to: onnx (ONNX program), pt2 (`torch.export`), safetensors (weights alone) or hub (a folder as timm loads it).
        image_size: Side of the images, pixels.
        origin: Where the weights come from; a safetensors file keeps its classes and input settings.

    Returns:
        The largest difference of a logit, as a fraction of the largest logit.

    Raises:
        ParityError: The difference is beyond rounding; no file is left.
        ValueError: A package that the format needs is missing, or timm has no such network.
    """
    network.eval()
    partial = path.with_name(f"partial-{path.name}")  # keeps the suffix, which torch.export insists on
    if partial.is_dir():  # of an export that was killed, or somebody's own
        raise ValueError(f"to: {to} is written to {partial} first, which is there; delete it")
    example = torch.zeros(EXAMPLE_BATCH, config.in_channels, image_size, image_size)
    try:
        forward = _WRITERS[to](network, replace(origin or Origin(), model=config), partial, example)
        difference = _difference(network, forward, example.shape[1:])
        if not difference <= LIMIT:
            raise ParityError(
                f"{path}: logits differ from the network's by {difference:.1e} of the largest; not written"
            )
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return difference


def _difference(network: nn.Module, forward: Forward, shape: Iterable[int]) -> float:
    generator = torch.Generator().manual_seed(0)
    differences: list[float] = []
    for batch in BATCHES:
        images = torch.randn(batch, *shape, generator=generator)
        with torch.no_grad():
            expected, logits = network(images), forward(images)
        largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)  # weights of zero give zeros
        differences.append(((logits - expected).abs().max() / largest).item())
    return torch.tensor(differences).max().item()  # unlike Python's max, NaN where one is


def _write_hub(network: nn.Module, origin: Origin, path: Path, example: Tensor) -> Forward:
    from models import reference  # imports timm and torchvision

    hub.write(network, origin, path, example.shape[-1])
    return reference.published("timm", f"local-dir:{path}").network.eval()


def _write_safetensors(network: nn.Module, origin: Origin, path: Path, _example: Tensor) -> Forward:
    config = origin.model
    assert config
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(state, path, metadata=origin.metadata())
    again = factory.build(config).eval()
    weights.load(again, str(path), config)
    return again


def _write_pt2(network: nn.Module, _origin: Origin, path: Path, example: Tensor) -> Forward:
    program = torch.export.export(network, (example,), dynamic_shapes=_free_batch())
    torch.export.save(program, path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11's own loader
        return torch.export.load(path).module()


def _write_onnx(network: nn.Module, _origin: Origin, path: Path, example: Tensor) -> Forward:
    needed = ("onnx", "onnxscript", "onnxruntime")
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"to: onnx needs {', '.join(missing)}: install Provenet's extra: pip install -e '.[export]'")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # torch 2.11's own exporter
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=_free_batch(),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    program.save(path)
    return _onnx_session(path)


def _onnx_session(path: Path) -> Forward:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _free_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1)},)


_WRITERS: dict[Format, Callable[[nn.Module, Origin, Path, Tensor], Forward]] = {
    "hub": _write_hub,
    "onnx": _write_onnx,
    "pt2": _write_pt2,
    "safetensors": _write_safetensors,
}
