"""`provenet models`: list, summary, validate, export. Loads torch once one of them runs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from models import registry
from models.config import ModelConfig
from models.table import TABLE
from trainer.commands.parsing import Imports
from trainer.exits import refuse, say
from trainer.recipe.decode import range_problems
from trainer.sources import PACKAGES, locate, with_code
from trainer.terminal import busy, narrate, progress, show, write

if TYPE_CHECKING:
    from models.weights import Origin

DIFFERENT = 1
_SIDE = {"min": 8, "max": 65_536}


class _Verb(ABC):
    """A verb that may refuse what was typed when it looks closer."""

    __slots__ = ()

    def run(self) -> int:
        """Run the verb; returns the exit code."""
        narrate("models")  # not the exporters, which say more than is needed
        try:
            return self._run()
        except ValueError as error:
            return refuse(str(error).splitlines())

    @abstractmethod
    def _run(self) -> int:
        """Run it; a ValueError says which names or values cannot be used, where nothing was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model(ModelConfig):
    """A network, its name first."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = tyro.MISSING
    """A name of `provenet models list`, or timm/<name> or torchvision/<name>."""
    num_classes: int = 0
    """Classes; 0: as many as the paper's data set has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class List(_Verb):
    """List names with parameters, FLOPs (multiply-adds of one image at the paper's size), paper and reference.

    Example: provenet models list resnet50
    """

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = "*"
    """Part of a name, or a pattern with * and ?."""
    imports: Imports = ()
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def _run(self) -> int:
        names = registry.matching(self.pattern)
        from models.trace import multiply_adds, parameter_count, skeleton

        rows: list[tuple[str, ...]] = []
        for name in progress(names, "counting", "networks"):
            row = TABLE[name]
            network = skeleton(ModelConfig(name=name, num_classes=row.num_classes))
            flops = f"{multiply_adds(network, row.image_size) / 1e9:6.3f} G"
            figures = (f"{parameter_count(network):>10,}", flops, f"{row.image_size}")
            rows.append((name, *figures, row.paper, registry.counterpart(name)))
        show(("name", "parameters", "FLOPs", "pixels", "paper", "reference"), rows)
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary(_Verb):
    """Show a network layer by layer: output shapes, parameters, multiply-adds, memory.

    Example: provenet models summary resnet50 --format keras
    """

    model: Annotated[Model, tyro.conf.arg(name="")]
    imports: Imports = ()
    batch: int = field(default=64, metadata={"min": 1, "max": 65_536})
    """Images; they scale the memory."""
    image_size: int | None = field(default=None, metadata=_SIDE)
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    format: Literal["table", "csv", "keras"] = "table"
    """table and csv as torchsummary counts, keras as Keras does (ResNet family)."""

    def _run(self) -> int:
        config, size = _resolved(self.model, self.image_size)
        _refuse_any(range_problems(self, flags=True))
        from models import keras, summary
        from models.trace import skeleton

        network = skeleton(config)
        try:
            result = summary.summarise(network, (self.batch, config.in_channels, size, size))
        except Exception as error:  # of any kind, of a user's network or a package's, whose least size we do not know
            images = f"{self.batch} images of {size} px (--batch, --image-size)"
            raise ValueError(f"{config.name} does not take {images}: {str(error).partition(chr(10))[0]}") from error
        pages = {"table": summary.as_table, "csv": summary.as_csv, "keras": keras.as_keras}
        write(pages[self.format](result))
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Validate(_Verb):
    """Compare a network with its public counterpart, weight for weight; exit code 1 on a difference.

    Example: provenet models validate resnet50
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A name of `provenet models list`, or all."""
    image_size: int | None = field(default=None, metadata=_SIDE)
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    batch: int = field(default=2, metadata={"min": 2, "max": 65_536})
    """Images; one alone has no variance to normalise by."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def _run(self) -> int:
        _refuse_any(range_problems(self, flags=True))
        names = registry.names() if self.name == "all" else [self.name]
        for name in names:
            size = registry.entry(name).image_size if self.image_size is None else self.image_size
            _refuse_any(registry.problems(ModelConfig(name=name), size, "--image-size"))
        from models.validate import LIMITS, QUANTITIES, compare

        pairs = [(name, dtype) for name in names for dtype in LIMITS]
        equal: list[bool] = []

        def rows() -> Iterator[tuple[str, ...]]:
            for name, dtype in progress(pairs, "validating", "comparisons"):
                result = compare(name, dtype, self.image_size, self.batch)
                equal.append(result.equal)
                counts = (
                    f"{ours:,}" if ours == theirs else f"{ours:,}, not {theirs:,}" for ours, theirs in result.counts
                )
                differences = (f"{result.differences[quantity]:.1e}" for quantity in QUANTITIES)
                verdict = "equal" if result.equal else "DIFFERENT"
                precision = str(dtype).removeprefix("torch.")
                yield name, registry.counterpart(name), precision, *counts, *differences, verdict

        show(("name", "counterpart", "dtype", "parameters", "FLOPs", *QUANTITIES, ""), rows())
        return 0 if all(equal) else DIFFERENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Export(_Verb):
    """Write a trained network as a file, any batch size, and compare the file's logits with the network's.

    Example: provenet models export resnet50 --weights runs/r50/model.safetensors --to onnx
    """

    model: Annotated[Model, tyro.conf.arg(name="")]
    weights: str
    """Run directory, file of weights, timm/NAME[.TAG], torchvision/NAME[.WEIGHTS], hf-hub:OWNER/NAME or
    local-dir:FOLDER; timm or torchvision alone: of the same name."""
    entry: str | None = None
    """Which weights of a file that holds several: raw, ema, or the name of an entry, such as state_dict. None: those
    that fit the network best; of a file with both, the moving average."""
    to: Literal["onnx", "pt2", "safetensors", "hub"]
    """onnx: ONNX program. pt2: torch.export. safetensors: weights alone. hub: a folder that timm loads, with a page."""
    imports: Imports = ()
    output: Path | None = None
    """The file to write, or for hub the new folder. None: NAME with the format as suffix, in the current folder."""
    image_size: int | None = field(default=None, metadata=_SIDE)
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def _run(self) -> int:
        if Path(self.weights).exists():  # a run's, whose network may be its own
            with_code(locate(self.weights, None, self.entry))
        config, size = _resolved(self.model, self.image_size)
        _refuse_any(range_problems(self, flags=True))
        path, hub = self.output or Path(f"{config.name.replace('/', '_')}.{self.to}"), self.to == "hub"
        if not path.parent.is_dir():
            raise ValueError(f"--output: {path.parent} is not a folder")
        if hub and (path.exists() or path.is_symlink()):
            raise ValueError(f"--output: {path} exists; name a new folder")
        if not hub and (path.suffix != f".{self.to}" or path.is_dir()):
            raise ValueError(f"--output: {path}; name a file that ends in .{self.to}")
        from safetensors import SafetensorError

        from models import factory, weights
        from models.export import ParityError, export
        from trainer import initial
        from trainer.evidence import card

        named = f"{self.weights}/{config.name.rpartition('/')[2]}" if self.weights in PACKAGES else self.weights
        source = locate(named, None, self.entry)
        stored, known = initial.read(source)
        origin = replace(stored[1], input={**stored[1].input, **known}) if hub else stored[1]
        page = card.text(config.name, source.run, source.file) if hub else None
        config, size = _resolved(self._as_stored(origin), self.image_size or origin.image_size)
        network = factory.build(config)
        weights.put(network, stored, self.weights, config, source.entry)
        try:
            with busy(f"writing {path}, and comparing it with the network"):
                difference = export(network, config, path, self.to, size, origin)
                card.write(path, page)
        except ParityError as error:
            return say(str(error), DIFFERENT)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"--output: {path} cannot be written: {error}") from error
        write(f"{path}: logits within {difference:.1e} of the network's largest, batches 1 to 8, {size} px\n")
        return 0

    def _as_stored(self, origin: "Origin") -> Model:
        """The network with the classes and the image size that the file says, where the user does not."""
        stored, own = origin.model or self.model, self.model
        values = {name: getattr(own, name) or getattr(stored, name) for name in ("num_classes", "img_size", "options")}
        return replace(own, **values)


def _resolved(model: Model, image_size: int | None) -> tuple[ModelConfig, int]:
    """The config with the classes and the image size of the paper where they are left out.

    Raises:
        ValueError: Something is wrong with either.
    """
    row = TABLE.get(model.name)
    config = ModelConfig(**{own.name: getattr(model, own.name) for own in fields(ModelConfig)})
    config = replace(config, num_classes=model.num_classes or (row.num_classes if row else 1000))
    size = row.image_size if row and image_size is None else image_size
    _refuse_any(range_problems(config, flags=True))
    # nothing is known of the sizes that a package's network takes, so that None is not looked at
    _refuse_any(registry.problems(config, size or 0, "--image-size", training=False))
    if size is None and config.img_size is None:
        from models import reference

        return config, reference.image_size(config.name)
    return config, size or config.img_size or 0


def _refuse_any(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))
