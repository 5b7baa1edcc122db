"""One process of a run, from its start to its report."""

from contextlib import ExitStack, suppress
from typing import Any

import torch

from data.load.backends import Chosen
from data.names import shown
from data.output_folder import exposed
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from trainer import at_work, preflight, variables
from trainer.checkpoint.holder import HeldError, Hold
from trainer.console import Console
from trainer.context import RunContext
from trainer.ending import conclude_run, reporting
from trainer.engine import build
from trainer.engine.build import Data
from trainer.engine.loop import fit
from trainer.engine.memory import advising, fitted
from trainer.engine.run_images import hashed, hashing_behind, list_images
from trainer.engine.state import TrainState
from trainer.evidence.result import environment, measure_as_aimed, other_threads
from trainer.exits import BAD_INPUT, RunEndedError
from trainer.optim.config import RESUMES, TimmConfig
from trainer.peers import on_main
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.identity import recipe_hash
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.stopping import START_AGAIN, StopFlag, StopRequestedError
from trainer.telemetry.telemetry import Telemetry
from trainer.terminal import write
from trainer.world import World


class OtherRecipeError(RunEndedError):
    """The processes would train different recipes together."""

    code = BAD_INPUT


def start(recipe: Recipe, site: SiteConfig, world: World, stop: StopFlag) -> int:
    """`train` a recipe that has passed `preflight.problems`, once the machine and the weights to begin from have, too.

    Raises:
        InvalidConfigError: They have not; nothing was begun.
        Exception: As of `train`.
    """
    recipe, notes = preflight.begun(recipe, site)
    if world.is_main and not site.quiet:
        write("".join(f"{shown(note)}\n" for note in notes))
    if problems := preflight.machine_problems(recipe, site, world):
        raise InvalidConfigError(problems)
    variables.record_collectives(site.output)
    try:
        return train(recipe, site, world, stop)
    finally:
        with suppress(OSError):
            site.output.rmdir()  # it is empty where the images were refused, and only there


def train(recipe: Recipe, site: SiteConfig, world: World, stop: StopFlag) -> int:
    """Train, evaluate and report, going on from the newest checkpoint in the run directory.

    Returns:
        Exit code: 0 finished, `START_AGAIN` stopped cleanly.

    Raises:
        InvalidConfigError, OtherRecipeError: The directory cannot be made; a process has another recipe than rank 0.
        HeldError, FencedError: Another process trains in this run directory, or took it over.
        StopRequestedError: Asked to stop before the first step.
        UnusableDataError: The images cannot be trained on, are not those listed, or too many are broken.
        UnusableBackendError: The chosen loader cannot be used here.
        DamagedManifestError: The stored list of images cannot be read.
        TooManyBrokenError, BrokenImageError: Too many images broke during training, or all that could replace one.
        DivergedError: The loss is not a number.
        MemoryShortError: A micro-batch does not fit into memory.
        SaveFailedError: A checkpoint cannot be written.
        TrackerError: A tracker cannot be opened.
        SharedGpuError, NotMetError: Two processes have the same GPU; a process is missing.
        PeerFailedError: Rank 0 raises one of these.
    """
    runtime = Runtime(world, recipe.precision, site.threads, deterministic=site.deterministic)
    stop.met = True
    if site.numa:
        runtime.keep_near()
    with ExitStack() as holding:
        hold = take_hold(runtime, site, stop, holding)
        if hold:
            RunDirectory(site.output).clear()
        recipe = own_recipe(recipe, runtime, site)
        context = RunContext(recipe=recipe, site=site, runtime=runtime, stop=stop, console=Console(quiet=site.quiet))
        images = list_images(context)
        if runtime.is_main:  # before any process opens its own notes, which needs the restored state of all
            _say_what_was(context)
        with reporting(context, hold), ExitStack() as stack, advising(recipe), hashing_behind(context, images):
            training = build.build(context, images, hold, stack, open_telemetry)
            finished = fit(training)
            on_main(runtime, lambda: training.telemetry and training.telemetry.journal.settle(), OSError)
        complete = hashed(context, images) if finished else None
        finished = complete is not None and measure_as_aimed(context, training.state, images := complete)
        if hold:
            hold.check()
            conclude_run(context, images, training.state if finished else None)
    runtime.close()
    return 0 if finished else START_AGAIN


def _say_what_was(context: RunContext) -> None:
    """Print which images dead processes were decoding, what is untested, and whether others can write the directory."""
    at_work.report(context.run, context.console.say)
    if isinstance(context.recipe.optimizer, TimmConfig) and context.recipe.optimizer.method not in RESUMES:
        context.console.say(f"untested with timm's {context.recipe.optimizer.method}: that the run resumes bit for bit")
    for warning in exposed(context.run.path):
        context.console.say(warning)


def take_hold(runtime: Runtime, site: SiteConfig, stop: StopFlag, stack: ExitStack) -> Hold | None:
    """Make the run directory, in which no other process may train; rank 0 holds it until `stack` closes (collective).

    Raises:
        InvalidConfigError: It cannot be made.
        HeldError: Another process holds it.
        StopRequestedError: Asked to stop while waiting to see whether it lives.
        OSError: The directory cannot be written.
        PeerFailedError: Rank 0 raises one of these.
    """

    def take() -> Hold:
        run = RunDirectory(site.output)
        run.make()  # now that all have met: what is refused or waits before leaves nothing
        return stack.enter_context(Hold.take(run.holder, Console().say, stop.check))

    return on_main(runtime, take, InvalidConfigError, HeldError, StopRequestedError, OSError)


def own_recipe(recipe: Recipe, runtime: Runtime, site: SiteConfig) -> Recipe:
    """The recipe of this directory's run, before it is written there (collective).

    Raises:
        MemoryShortError: With `accumulate: auto`, not even one image fits into memory.
        OtherRecipeError: A process has another one than rank 0, as its machine has another file.
    """
    run = RunDirectory(site.output)
    if site.accumulate == "auto" and not runtime.any(run.recipe.exists()):
        asked, recipe = recipe.micro_batch, fitted(recipe, runtime, channels_last=site.channels_last)
        if runtime.is_main and recipe.micro_batch < asked:
            Console().say(f"a micro_batch of {asked} does not fit into memory: going on with {recipe.micro_batch}")
    own = runtime.gather(torch.tensor([*bytes.fromhex(recipe_hash(recipe))]))
    if others := [rank for rank, row in enumerate(own) if not row.equal(own[0])]:
        weights = f", or of {recipe.init.weights}, to begin from" if recipe.init.weights else ""
        raise OtherRecipeError(f"recipe: rank {others[0]} has another one than rank 0, by other files of it{weights}")
    return recipe


def open_telemetry(context: RunContext, state: TrainState, data: Data, stack: ExitStack) -> Telemetry:
    """Open the telemetry of this start, and print what the run is (rank 0 only)."""
    plans, chosen = data.plans, data.chosen
    assert chosen  # by `run_data`
    facts = environment(context.runtime, chosen.backend)
    per_epoch = plans[0].steps_per_epoch
    facts |= {"steps_per_epoch": per_epoch, "total_steps": context.recipe.epochs * per_epoch}
    context.console.narrate(_opening(context.recipe, plans, chosen, facts))
    for split in plans:
        if broken := split.manifest.broken:
            root = split.manifest.root
            context.console.say(f"{root}: {len(broken)} broken images are left out, the first: {broken[0]}")
    context.console.narrate(f"going on after step {state.step}" if state.step else "starting")
    changing = ", ".join(f"{name}={shown(value)}" for name, value in facts.get("variables", {}).items())
    for line in (
        *(f"{node} has a faulty {what}" for node, what in facts.get("gpu_faults", {}).items()),
        other_threads(context.run.records(), facts),
        variables.ignored(context.recipe),
        changing and f"variables by which the libraries may compute other numbers: {changing}",
    ):
        if line:
            context.console.say(line)
    telemetry = Telemetry(context, plans[0], state.step, state.evaluated, facts, state.records)
    stack.callback(telemetry.close)
    return telemetry


def _opening(recipe: Recipe, plans: tuple[TrainPlan, EvalPlan], chosen: Chosen, facts: dict[str, Any]) -> str:
    train, val = (plan.manifest for plan in plans)
    processes = "1 process" if facts["world_size"] == 1 else f"{facts['world_size']} processes"
    return (
        f"{recipe.model.name}: {len(train):,} images in {len(train.classes):,} classes to train on, {len(val):,} to "
        f"evaluate; epochs: {recipe.epochs}, of {plans[0].steps_per_epoch} steps of {recipe.global_batch} images\n"
        f"{facts['device']}: {processes}, CPU threads in each: {facts['threads']}, {recipe.precision}; "
        f"loader: {chosen.backend}, {chosen.reason}"
    )
