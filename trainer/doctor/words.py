"""Figures in sentences. Standard library only."""

from collections.abc import Callable, Iterator, Mapping

from trainer.doctor import model
from trainer.doctor.advice import Advice
from trainer.doctor.figures import Figures, Kind
from trainer.doctor.model import Bound, Epoch

_HOUR = 3600.0

COSTS: Mapping[Kind, str] = {
    "threads": "without a GPU another number of threads changes the last bits of the results, nothing else",
    "cores": "at best: as if all work could be spread evenly over them",
    "loader": "the crops stay the same; single pixels of training images may differ by a grey level",
    "pack": "pixels change a little, so a result counts as one on other images than the published figure's",
    "precision": "part of the recipe: its arithmetic changes, and the experiment with it; the accuracy may, a little",
    "channels_last": "the same mathematics in another order in memory: the last bits change",
    "compile": "part of the recipe: the last bits change; each start takes a minute or more longer",
    "micro_batch": "part of the recipe: BatchNorm takes its statistics over more images, and the accuracy may change "
    "with them; needs more memory",
    "compression": "part of the recipe: gradients are rounded on their way, and the accuracy may change a little",
    "saving": "a kill loses as much more",
}


def counted(number: int, thing: str, plural: str = "s") -> str:
    """`1 core`, `2 cores`."""
    return f"{number:,} {thing}{'' if number == 1 else plural}"


def headline(figures: Figures) -> str:
    """What bounds the run, and by how much."""
    found = model.diagnosis(figures)
    share, place, job = f"{found.share:.0%}", figures.place, figures.job
    passes = job.global_batch // (job.micro_batch * place.world_size)
    said: dict[Bound, Callable[[], str]] = {
        "loader": lambda: f"loader-bound: {share} of the step is waiting for images",
        "cpu": lambda: (
            f"CPU-bound: decoding and training share {counted(place.own_cores, 'core')}; {share} of the step is what "
            "decoding takes from it"
        ),
        "passes": lambda: (
            f"bound by small passes: {share} of the step is what its {counted(passes, 'pass', 'es')} take whatever "
            f"the number of their images, which is {job.micro_batch}"
        ),
        "reduction": lambda: (
            f"bound by the sum of the gradients over {place.world_size} processes: {share} of the step waits for it"
        ),
        "checkpoints": lambda: (
            f"checkpoint-bound: {share} of the time goes to checkpoints, one each "
            f"{counted(model.interval(figures), 'step')}{_put_off(figures)}"
        ),
        "step": lambda: f"bound by the step itself: training runs at {share} of the rate of the step alone",
    }
    return said[found.bound]()


def whole(figures: Figures) -> str:
    """What an epoch and the run take."""
    epoch = model.epoch(figures)
    parts = {"steps": epoch.training_s, "evaluation": epoch.evaluation_s, "checkpoints": epoch.checkpoints_s}
    shares = ", ".join(f"{name} {seconds / epoch.seconds:.1%}" for name, seconds in parts.items())
    return (
        f"end to end {epoch.images_per_s:,.1f} images/s: an epoch of {epoch.images:,} images takes "
        f"{_duration(epoch.seconds)} ({shares}), all {figures.job.epochs} take {_duration(hours(figures) * _HOUR)}"
    )


def hours(figures: Figures) -> float:
    """Of the whole recipe."""
    return figures.job.epochs * model.epoch(figures).seconds / _HOUR


def evaluation(figures: Figures, epoch: Epoch) -> str:
    """That it takes long, and what would shorten it."""
    share, wait = epoch.evaluation_s / epoch.seconds, figures.evaluation_wait
    mend = "what speeds the loader up helps it as well" if wait > 0.25 else "its network bounds it"
    return f"evaluation takes {share:.0%} of an epoch, {wait:.0%} of it waiting for images: {mend}"


def advised(figures: Figures, advice: Advice) -> Iterator[str]:
    """One advice: what, how much, why, at what cost."""
    change = advice.change
    yield f"  {change.flags}: {advice.gain:.2f} times, {advice.images_per_s:,.1f} images/s; {_why(figures, advice)}"
    yield f"      {COSTS[change.kind]}"


def _why(figures: Figures, advice: Advice) -> str:
    change, place = advice.change, figures.place
    load, step = model.changed(figures, change)
    match change.kind:
        case "threads":
            more = change.site["threads"] - place.threads
            other = f"{counted(abs(more), 'core')} {'more' if more > 0 else 'fewer, which are what there is'}"
            return f"{other} to decode" if place.gpu else f"{other} to decode and train"
        case "cores":
            return f"all {counted(place.own_cores, 'core')} are in use"
        case "loader" | "pack":
            return f"an image takes the loader {_ms(load.cpu_s)} of CPU time instead of {_ms(figures.load.cpu_s)}"
        case "micro_batch":
            assert figures.passes
            return f"each pass takes {_ms(figures.passes.pass_s)} whatever the number of its images"
        case "saving":
            cost, every = model.checkpoint_s(figures), model.interval(figures)
            return f"one each {counted(every, 'step')} takes {_ms(cost)} each time"
        case _:
            return f"the step alone takes {_ms(step.seconds)} an image instead of {_ms(figures.step.seconds)}"


def _put_off(figures: Figures) -> str:
    """That checkpoints are wanted sooner than they can be written."""
    wanted = figures.job.save_steps
    return (
        f", as a write takes longer than {counted(wanted, 'step')}"
        if wanted and wanted < model.interval(figures)
        else ""
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (_HOUR, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:,.1f} seconds"
