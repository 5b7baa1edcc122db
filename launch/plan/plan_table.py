"""A plan as text: the table, one row in detail, and all assumptions."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from launch.plan.forecast import BUCKET, EVAL_DECODING, LINE_SHARE, NETWORK_BOUND, SPREAD, Forecast, Run
from launch.plan.network_size import gradient_bytes, memory_bytes
from launch.plan.speeds import GPUS
from trainer.recipe.config import Recipe
from trainer.terminal import show as show_plain

HEAD = (
    *("GPUs", "nodes", "images/s", "efficiency", "epoch, min", "hours", "GPU-hours", "requeues"),
    *("bound by", "loader cores per GPU"),
)
ERROR = (
    "17 published efficiencies on 8 to 512 GPUs, by which the shares of line rate and of step time were chosen: 14 are "
    "met within 6 %; of 3, each on 8 GPUs of one node, it is 9 to 14 % too high (DeepLearningExamples in AMP is two). "
    "Figures by which nothing was chosen, MLPerf Training from one node to two with half the images a pass: 5 % "
    "(A100), 15 % (H100) and 16 % (L40S) too high"
)
CUDA = 1.0  # GB of a GPU: context, kernels and the libraries' own; grows with their versions


def show(runs: Sequence[Run]) -> None:
    """The table, in 80 columns on a terminal, else one line a row."""
    console = Console()
    if not console.is_terminal:
        show_plain(HEAD, map(_cells, runs))
        return
    table = Table(box=SIMPLE, padding=0)
    for name in HEAD:  # one word a line, as 80 columns are too few for whole names
        table.add_column(name.replace(" ", "\n").replace("-", "-\n"), justify="right", no_wrap=True)
    for run in runs:
        table.add_row(*_cells(run))
    console.print(table)


def _cells(run: Run) -> tuple[str, ...]:
    step = run.step
    return (
        f"{step.gpus:,}",
        f"{step.nodes:,}",
        f"{step.images_per_s:,.0f}",
        f"{100 * step.efficiency:.0f} %",
        _figure(run.epoch_s / 60),
        _figure(run.hours),
        _figure(run.gpu_hours),
        f"{run.requeues:,}",
        step.bound,
        f"{step.cores}",
    )


def head(forecast: Forecast) -> str:
    recipe, network = forecast.recipe, forecast.network
    return (
        f"{recipe.model.name} at {recipe.input.train_size} px: {network.parameters:,} parameters, "
        f"{network.multiply_adds / 1e9:.3g} billion multiply-adds; {recipe.epochs} epochs, "
        f"global_batch {recipe.global_batch:,}, micro_batch {recipe.micro_batch}, {recipe.precision}\n"
    )


def left_out(recipe: Recipe, gpu_counts: Sequence[int]) -> str:
    """Why these GPU counts are not in the table, and what to change; empty for none."""
    if not gpu_counts:
        return ""
    counts, most = ", ".join(f"{gpus:,}" for gpus in gpu_counts), gpu_counts[-1]
    advice = f"--global-batch {recipe.micro_batch * most} reaches {most:,}; it needs a learning rate of its own"
    if recipe.sync_bn:
        advice = "sync_bn requires global_batch = micro_batch x GPUs"
    return (
        f"not on {counts} GPUs: global_batch {recipe.global_batch:,} cannot be divided among them in micro-batches of "
        f"{recipe.micro_batch} ({advice})\n"
    )


def detail(run: Run, forecast: Forecast) -> str:
    """The times and sizes behind one row."""
    step, recipe, config = run.step, forecast.recipe, forecast.config
    rows = {
        "step": f"{_ms(step.seconds)}, of which {recipe.accumulation(step.gpus)} x {recipe.micro_batch} images "
        f"{_ms(step.compute_s)}, slowest GPU {_ms(step.waited_s)}, all-reduce {_ms(step.exposed_s)} "
        f"({_ms(step.reduce_s - step.exposed_s)} more are hidden)",
        "loader": f"{_ms(step.loaded_s)} for a step's images with {config.cpus_per_process} cores a process; "
        f"as fast as the GPU with {step.cores}",
        "memory": _memory(forecast),
        "storage": _storage(run, forecast),
        "epoch": f"{run.steps:,} steps, evaluation {run.evaluation_s:,.1f} s",
        "checkpoint": f"{_bytes(run.checkpoint_bytes)}; training waits {_ms(run.stall_s)}, its write takes "
        f"{run.write_s:,.1f} s behind it",
        "jobs": f"{run.requeues + 1:,} of at most {config.hours:g} h: {_figure(run.hours)} h, "
        f"{_figure(run.gpu_hours)} GPU-hours",
    }
    lines = [f"  {name:<11} {text}\n" for name, text in rows.items()]
    gpus, nodes = f"{step.gpus:,} GPU{'s' * (step.gpus > 1)}", f"{step.nodes:,} node{'s' * (step.nodes > 1)}"
    return f"{gpus} on {nodes}\n{''.join(lines)}"


def _memory(forecast: Forecast) -> str:
    """What a GPU needs beside what it has."""
    config, recipe = forecast.config, forecast.recipe
    batch, kept = (size / 1e9 for size in memory_bytes(forecast.network, recipe))
    needed, has = batch + kept + CUDA, GPUS[config.gpu].memory_gb
    words = (
        f"about {needed:,.1f} GB of the {config.gpu}'s {has}: {batch:,.1f} for {recipe.micro_batch} images, "
        f"{kept:,.1f} for weights and momenta, {CUDA:g} for CUDA"
    )
    return words if needed < has else f"{words}; too much: --accumulate auto finds what fits"


def _storage(run: Run, forecast: Forecast) -> str:
    """What the loaders read, on a run that keeps up."""
    rate = run.step.images_per_s * forecast.config.image_kb * 1e3
    return (
        f"{_bytes(rate)}/s are read, {_bytes(rate / run.step.nodes)}/s a node, until the images "
        f"({_bytes(forecast.config.train_images * forecast.config.image_kb * 1e3)}) are in its memory"
    )


def assumptions(forecast: Forecast, sources: Sequence[str]) -> str:
    """All that the figures are computed from; `sources` of the speeds first."""
    lines = [*sources, *_lines(forecast), f"error: {ERROR}"]
    return "assumed\n" + "".join(f"  - {line}\n" for line in lines)


def _lines(forecast: Forecast) -> Iterator[str]:
    config, recipe, size = forecast.config, forecast.recipe, gradient_bytes(forecast.network, forecast.recipe)
    sizes = f"{config.train_images:,} training and {config.val_images:,} evaluation images"
    yield f"images: {sizes} (--train-images, --val-images), decoded as they are stored"
    if recipe.input.start_size:
        yield f"size: {recipe.input.train_size} px throughout; the epochs from {recipe.input.start_size} px take less"
    yield (
        f"all-reduce: {_bytes(size)} of gradients in a ring over all GPUs, at {100 * LINE_SHARE:.0f} % of its slowest "
        f"link's line rate: {forecast.speeds.link_gb_s:g} GB/s a GPU in a node, "
        f"{config.network_gb_s:g} GB/s a node; {config.latency_us:g} us a message, 2 log2(nodes) for a bucket"
    )
    yield f"overlap: backward, 2/3 of a step, hides all buckets but the last (DDP's, of {BUCKET >> 20} MiB)"
    if recipe.sync_bn:
        yield "sync_bn: its small all-reduces, two for each BatchNorm, are not counted"
    yield f"stragglers: a step waits for the slowest GPU; step times vary by {100 * SPREAD:.0f} % (standard deviation)"
    yield f"evaluation: a third of a training image's time, and {EVAL_DECODING:.1f} times its decoding (RESULTS.md)"
    yield (
        "bound by: the loader, if it is slower than the GPUs; the network, if more than "
        f"{100 * NETWORK_BOUND:.0f} % of a step wait for it"
    )
    yield "cores: those that decode, without the one that drives a GPU"
    yield (
        f"jobs: each takes {config.startup_s:g} s to start and ends with a checkpoint; all but the first wait "
        f"{config.queue_minutes:g} min in the queue; a checkpoint also every {config.save_minutes:g} min and epoch"
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _ms(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 10 else f"{1e3 * seconds:,.1f} ms"


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
