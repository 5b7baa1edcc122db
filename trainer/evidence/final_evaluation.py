"""A finished run's accuracy under the protocol of the figure that its recipe aims at."""

import copy
from collections.abc import Mapping

from data.catalog.known import recognise
from data.catalog.manifest import Manifest
from trainer.context import RunContext
from trainer.engine.state import TrainState
from trainer.evaluation import labels, outcome
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.labels import UnknownLabelsError
from trainer.evaluation.measure import Task, measure
from trainer.evaluation.protocol import Protocol, parse
from trainer.evaluation.request import Request, Source, own_protocol
from trainer.evaluation.trained_network import UnusableWeightsError, subject
from trainer.evidence.run_record import follows
from trainer.evidence.targets import TARGETS, Target
from trainer.recipe.config import Recipe
from trainer.stopping import StopRequestedError

VIEWS = 64  # squares per process and pass: the run's weights and optimizer are in memory too


def protocol(
    recipe: Recipe,
    images: tuple[Manifest, Manifest],
    targets: Mapping[str, tuple[Target, ...]] = TARGETS,
    *,
    smoke: bool = False,
) -> Protocol | None:
    """How the published figure was measured, where that is otherwise than the run measures and can be compared.

    Args:
        recipe: The run's.
        images: Its manifests of train and val.
        targets: Published figures by recipe.
        smoke: Whether the run only tries each of its phases, this one too, on whatever images.
    """
    named = follows(recipe)
    aims = targets.get(named.name, ()) if named else ()
    if not aims or not (smoke or recognise(*images) == aims[0].data):
        return None
    wanted = parse(aims[0].protocol)
    return None if wanted == own_protocol(recipe) else wanted


def reached(context: RunContext, state: TrainState, images: tuple[Manifest, Manifest]) -> bool:
    """Measure a finished run as its recipe's aim was measured; False where it was stopped in that (collective)."""
    wanted = protocol(context.recipe, images, smoke=context.site.smoke)
    if wanted is None:
        return True
    try:
        evaluate(context, state, images, wanted)
    except StopRequestedError:
        return False
    except (UnusableWeightsError, UnknownLabelsError) as error:  # which all processes meet, and every start would
        again = f"provenet evaluate {context.run.path} --data {context.site.data} --protocol {wanted.name}"
        context.console.say(f"not measured by {wanted.name}: {error}\n  try {again}")
    return True


def evaluate(context: RunContext, state: TrainState, images: tuple[Manifest, Manifest], wanted: Protocol) -> None:
    """Measure the result's weights under another protocol, and leave the figures in the run directory (collective).

    Raises:
        StopRequestedError: A process was asked to stop; the next start evaluates anew.
        TooManyBrokenError: Too many images broke since they were listed.
    """
    recipe, runtime, run, (train, val) = context.recipe, context.runtime, context.run, images
    averaged = state.ema.network if state.ema else None
    network = copy.deepcopy(averaged or state.model)  # the protocol may change its form
    source = Source(
        text=str(run.path), kind="weights", file=run.weights, recipe=recipe, which="ema" if averaged else "raw", run=run
    )
    measured = subject(source, network, recipe.model, train)
    truth = labels.of(val, SPLIT, measured.num_classes, measured.classes)
    request = Request(
        batch=max(1, VIEWS // wanted.views), loader=context.site.loader, max_broken=context.site.max_broken
    )
    task = Task(
        request=request,
        subject=measured,
        protocol=wanted,
        images=val,
        truth=truth,
        should_stop=context.should_stop,
    )
    answers = measure(task, runtime)
    if runtime.is_main:
        outcome.write(answers, truth, outcome.free(request.folder(source, SPLIT, wanted), answers))
        context.console.say("\n".join(outcome.lines(answers, truth)))
