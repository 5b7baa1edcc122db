"""`python -m models`: list, summary, validate, export. Torch is loaded by a command that runs, not by `--help`."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import tyro

from models import registry
from models.commandline import BAD_INPUT, hush, plain_refusals, union
from models.commands import Export, List, Model, Summary, Validate
from models.config import ModelConfig
from models.console import busy, progress, show
from models.table import TABLE

DIFFERENT = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 a difference was found, 2 bad input and nothing was written.
    """
    logging.basicConfig(format="%(message)s")  # to stderr
    logging.getLogger("models").setLevel(logging.INFO)  # not the exporters, which narrate
    command = parse(sys.argv[1:] if arguments is None else arguments)
    hush(not isinstance(command, Summary) and command.quiet)
    try:
        return _COMMANDS[type(command)](command)
    except ValueError as error:
        return refuse(str(error).splitlines())
    except BrokenPipeError:  # the reader has seen enough
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


def parse(arguments: Sequence[str]) -> List | Summary | Validate | Export:
    """The command that was asked for."""
    with plain_refusals(arguments):
        return tyro.cli(commands(arguments), args=arguments, prog="python -m models")


def commands(arguments: Sequence[str]) -> Any:
    """The type of all commands, as the parser takes it."""
    return union({kind.__name__.lower(): kind for kind in _COMMANDS}, arguments)


def refuse(problems: Sequence[str]) -> int:
    """Say on one screen why nothing was done."""
    sys.stderr.write("cannot start; nothing was written\n" + "".join(f"  {problem}\n" for problem in problems))
    return BAD_INPUT


def list_networks(command: List) -> int:
    names = registry.matching(command.pattern)
    from models.trace import multiply_adds, parameter_count, skeleton

    rows: list[tuple[str, ...]] = []
    for name in progress(names, "networks"):
        row = TABLE[name]
        network = skeleton(ModelConfig(name=name, num_classes=row.num_classes))
        flops = f"{multiply_adds(network, row.image_size) / 1e9:6.3f} G"
        parameters = f"{parameter_count(network):>10,}"
        rows.append((name, parameters, flops, f"{row.image_size}", row.paper, registry.counterpart(name)))
    show(("name", "parameters", "FLOPs", "pixels", "paper", "reference"), rows)
    return 0


def summarise(command: Summary) -> int:
    _at_least(1, command.batch)
    config, size = _resolved(command.model, command.image_size)
    from models import keras, summary
    from models.trace import skeleton

    network = skeleton(config)
    try:
        result = summary.summarise(network, (command.batch, config.in_channels, size, size))
    except (RuntimeError, AssertionError) as error:  # a package's network, whose least size we do not know
        images = f"{command.batch} images of {size} px (--batch, --image-size)"
        raise ValueError(f"{config.name} does not take {images}: {str(error).splitlines()[0]}") from error
    pages = {"table": summary.as_table, "csv": summary.as_csv, "keras": keras.as_keras}
    sys.stdout.write(pages[command.format](result))
    return 0


def validate(command: Validate) -> int:
    _at_least(2, command.batch)  # a batch of one has no variance to normalise by
    names = registry.names() if command.name == "all" else [command.name]
    for name in names:
        size = registry.entry(name).image_size if command.image_size is None else command.image_size
        _refuse_any(registry.problems(ModelConfig(name=name), size, "--image-size"))
    from models.validate import LIMITS, QUANTITIES, compare

    pairs = [(name, dtype) for name in names for dtype in LIMITS]
    equal: list[bool] = []

    def rows() -> Iterator[tuple[str, ...]]:
        for name, dtype in progress(pairs, "comparisons"):
            result = compare(name, dtype, command.image_size, command.batch)
            equal.append(result.equal)
            counts = (f"{ours:,}" if ours == theirs else f"{ours:,}, not {theirs:,}" for ours, theirs in result.counts)
            differences = (f"{result.differences[quantity]:.1e}" for quantity in QUANTITIES)
            verdict = "equal" if result.equal else "DIFFERENT"
            precision = str(dtype).removeprefix("torch.")
            yield name, registry.counterpart(name), precision, *counts, *differences, verdict

    show(("name", "counterpart", "dtype", "parameters", "FLOPs", *QUANTITIES, ""), rows())
    return 0 if all(equal) else DIFFERENT


def export(command: Export) -> int:
    config, size = _resolved(command.model, command.image_size)
    path = command.output or Path(f"{config.name.replace('/', '_')}.{command.to}")
    if not path.parent.is_dir():
        raise ValueError(f"--output: {path.parent} is not a folder")
    if path.suffix != f".{command.to}" or path.is_dir():
        raise ValueError(f"--output: {path}; name a file that ends in .{command.to}")
    from safetensors import SafetensorError

    from models import factory, weights
    from models.export import ParityError
    from models.export import export as write

    network = factory.build(config)
    weights.load(network, command.weights, config)
    try:
        with busy(f"writing {path}, and comparing it with the network"):
            difference = write(network, config, path, command.to, size)
    except ParityError as error:
        sys.stderr.write(f"{error}\n")
        return DIFFERENT
    except (OSError, SafetensorError) as error:
        raise ValueError(f"--output: {path} cannot be written: {error}") from error
    sys.stdout.write(f"{path}: logits within {difference:.1e} of the network's largest, batches 1 to 8, {size} px\n")
    return 0


_COMMANDS: Mapping[type, Callable[[Any], int]] = {
    List: list_networks,
    Summary: summarise,
    Validate: validate,
    Export: export,
}


def _resolved(model: Model, image_size: int | None) -> tuple[ModelConfig, int]:
    """The config with the classes and the image size of the paper where none were given.

    Raises:
        ValueError: Something is wrong with either.
    """
    row = TABLE.get(model.name)
    values = {field.name: getattr(model, field.name) for field in fields(ModelConfig)}
    values["num_classes"] = model.num_classes or (row.num_classes if row else 1000)
    config = ModelConfig(**values)
    size = row.image_size if row and image_size is None else image_size
    # a package's network takes what it takes: None is not looked at
    _refuse_any(registry.problems(config, size or 0, "--image-size", training=False))
    return config, _package_image_size(config.name) if size is None else size


def _package_image_size(name: str) -> int:
    from models import reference

    return reference.image_size(name)


def _at_least(least: int, batch: int) -> None:
    if batch < least:
        raise ValueError(f"--batch: {batch} is below {least}")


def _refuse_any(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))
