"""All checks before a start, in their order: what a command refuses before it writes anything.

`problems` comes first and loads no torch; `machine_problems` follows and loads it.
"""

import importlib.util
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from data.catalog.layout import chosen
from data.names import shown
from data.output_folder import dangling
from data.types import has_dali
from models import registry
from models.config import ModelConfig
from models.user_code import located
from trainer import devices, imports, rendezvous, sources, variables
from trainer.recipe import smoke
from trainer.recipe.checks import batch_warnings, compile_problems, crop_note, recipe_problems, world_problems
from trainer.recipe.config import Precision, Recipe, SiteConfig, flags
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory
from trainer.world import World

if TYPE_CHECKING:
    from torch import nn


def problems(recipe: Recipe, site: SiteConfig, world: World, *, with_data: bool = True) -> list[str]:
    """Why this run cannot start, one entry each, for the user; the images may not exist yet without `with_data`."""
    sockets, values = rendezvous.problems(world), [*range_problems(recipe), *range_problems(site, flags=True)]
    if values:
        return [*sockets, *values]  # the other checks compute with the values
    return [
        *sockets,
        *recipe_problems(recipe),
        *variables.problems(recipe),
        *world_problems(recipe, world.world_size),
        *compile_problems(recipe, world.world_size, lowers=site.accumulate == "auto"),
        *network_problems(recipe),
        *place_problems(recipe, site, with_data=with_data),
        *_tracker_problems(site),
    ]


def place_problems(recipe: Recipe, site: SiteConfig, *, with_data: bool = True) -> list[str]:
    """What is wrong with the files that are read and the folder that is written."""
    return [
        *_on_disk("init.weights", lambda: _init_problems(recipe, site)),
        *(_on_disk("--data", lambda: _data_problems(recipe, site)) if with_data else []),
        *_on_disk("--output", lambda: _output_problems(recipe, site)),
        *_loader_problems(site),
    ]


def machine_problems(recipe: Recipe, site: SiteConfig, world: World) -> list[str]:
    """What `problems` cannot check without torch: the loader and the recipe on this device, and the network's sizes."""
    begun = RunDirectory(site.output).recipe.exists()  # with sizes that were tried then
    sizes = [] if begun else size_problems(recipe)
    return [*_loader_problems(site, world), *device_problems(recipe, world), *sizes]


def device_problems(recipe: Recipe, world: World) -> list[str]:
    """What the recipe needs and this process's device lacks."""
    from trainer.gpu import device_of

    on_gpu, problems = device_of(world).type == "cuda", precision_problems(recipe.precision, world)
    if not on_gpu and recipe.sync_bn and world.world_size > 1:
        problems.append("sync_bn: PyTorch's SyncBatchNorm needs GPUs; train on one process, or without it")
    if recipe.compile != "off":
        problems += devices.toolchain_problems(gpu=on_gpu)
    return problems


def precision_problems(precision: Precision, world: World) -> list[str]:
    """Why this process's device cannot compute in this precision."""
    import torch

    from trainer.gpu import device_of

    device = device_of(world)
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return devices.precision_problems(precision, facts.name, (facts.major, facts.minor))
    return ["precision: tf32 needs an NVIDIA GPU; use bf16 or fp32"] if precision == "tf32" else []


def size_problems(recipe: Recipe) -> list[str]:
    """Why the network cannot be built, or fails at the recipe's sizes; tried on the meta device."""
    from models.trace import skeleton
    from trainer import trainable

    sizes, name = recipe.input, recipe.model.name
    try:
        network = skeleton(recipe.model)
    except ValueError as error:
        return str(error).splitlines()
    if problems := trainable.problems(network, recipe):
        return problems
    if registry.is_ours(name) and recipe.micro_batch > 1:
        return []  # `problems` knows their least sizes, and a pass on the meta device loads the compiler: 1.3 s
    side = min(sizes.train_size, sizes.start_size or sizes.train_size)
    trained = _refusal(network.train(), recipe.micro_batch, side, recipe.model)
    evaluated = _refusal(network.eval(), 1, sizes.eval_crop, recipe.model)
    setting = "start_size" if side < sizes.train_size else "train_size"
    is_fixed = getattr(network, "pretrained_cfg", {}).get("fixed_input_size")  # of timm's
    fix = "; model.img_size builds it for images of another size" if is_fixed else ""
    training = f"input.{setting}: {name} cannot train on micro-batches of {recipe.micro_batch} of {side} px: {trained}"
    evaluation = f"input.eval_crop: {name} cannot evaluate {sizes.eval_crop} px: {evaluated}"
    return [*([training + fix] if trained else []), *([evaluation + fix] if evaluated else [])]


def network_problems(recipe: Recipe) -> list[str]:
    """Why there is no such network, or none for images of these sizes, or whose code the recipe lacks."""
    model, sizes = recipe.model, recipe.input
    trained = registry.problems(model, sizes.train_size, "input.train_size")
    growing = registry.problems(model, sizes.start_size or sizes.train_size, "input.start_size")
    evaluated = registry.problems(model, sizes.eval_crop, "input.eval_crop", training=False)
    return list(dict.fromkeys([*imports.unnamed(recipe), *trained, *(growing if sizes.start_size else []), *evaluated]))


def adopted(recipe: Recipe, site: SiteConfig) -> Recipe:
    """The recipe with what `--smoke` changes, and what the run's first start has filled in, if nothing else differs.

    The latter is the `micro_batch` of `accumulate: auto`, and what belongs to the weights of `init.weights`.

    Raises:
        InvalidConfigError: The directory's recipe is damaged.
    """
    recipe, run, begins = smoke.tried(recipe, site), RunDirectory(site.output), recipe.init.weights
    if (site.accumulate == "recipe" and not begins) or not run.recipe.exists():
        return recipe
    stored = load(str(run.recipe))
    recipe = sources.adopted(recipe, stored)
    if site.accumulate == "recipe":
        return recipe
    return stored if replace(stored, micro_batch=recipe.micro_batch) == recipe else recipe


def warnings(name: str, recipe: Recipe, site: SiteConfig) -> list[str]:
    """What a new run of the recipe of this name may train otherwise than is meant, one entry each, for the user."""
    return [] if RunDirectory(site.output).recipe.exists() else batch_warnings(recipe, load(name)) + crop_note(recipe)


def begun(recipe: Recipe, site: SiteConfig) -> tuple[Recipe, list[str]]:
    """A run's recipe with what follows from the weights that it begins from, and what that is, if the run is new.

    Raises:
        InvalidConfigError: The weights cannot be used.
    """
    begins = recipe.init.weights
    if not begins or RunDirectory(site.output).recipe.exists():
        return recipe, []
    if site.smoke and sources.is_packaged(begins):
        notes = [f"begins from random weights: --smoke downloads nothing, and so not {begins}"]
        return replace(recipe, init=sources.untrained(recipe.init)), notes
    from trainer import initial  # loads torch

    return initial.resolved(recipe)


def _on_disk(flag: str, check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except OSError as error:
        return [f"{flag}: {str(error.filename)[:200]}: {error.strerror}"]


def _init_problems(recipe: Recipe, site: SiteConfig) -> list[str]:
    """Why the weights to begin from cannot be found, where the run has not begun."""
    init = recipe.init
    if empty := [name for name in ("weights", "entry", "freeze", "keep", "sha256") if getattr(init, name) in ("", ())]:
        return [f"init.{name}: empty; leave it out or give a value" for name in empty]
    if RunDirectory(site.output).recipe.exists():
        return []
    if not init.weights:
        unused = [name for name in ("entry", "head", "freeze", "keep", "sha256") if getattr(init, name)]
        return [f"init.{name}: belongs to init.weights, which is not set" for name in unused]
    try:
        located = sources.locate(init.weights, None, init.entry)
    except InvalidConfigError as error:
        return [problem.replace("WEIGHTS:", "init.weights:") for problem in error.problems]
    if located.kind == "predictions":
        return [f"init.weights: {init.weights} holds answers, not weights"]
    alone = init.entry and located.kind == "package"
    return [f"init.entry: {init.weights} is one network alone; leave it out"] if alone else []


def _data_problems(recipe: Recipe, site: SiteConfig) -> list[str]:
    """Problems of the images, from their manifests, or without these from the folders."""
    from data.catalog import dataset

    lists = site.manifests or site.data
    if site.manifests and not any(map(dataset.has_manifests, (site.output, lists))):
        words = str(site.data), *flags(chosen(site)), "--output", str(site.manifests)
        writer = shlex.join(("provenet", "verify", *words))
        return [f"--manifests: {site.manifests} holds no manifest-train.npz and manifest-val.npz; {writer} writes them"]
    return dataset.find(site.data, site).problems(site.output, lists, recipe.model.num_classes, recipe.global_batch)


def _output_problems(recipe: Recipe, site: SiteConfig) -> list[str]:
    if re.search("[\ud800-\udfff]", str(site.output.absolute())):
        return [f"--output: {shown(site.output)} is not UTF-8, and safetensors opens no such path; name another folder"]
    return dangling(site.output) or RunDirectory(site.output).problems(recipe, site.data)


def _tracker_problems(site: SiteConfig) -> list[str]:
    missing = [name for name in site.trackers if importlib.util.find_spec(name) is None]
    return [
        f"--trackers {name}: its package is not installed; pip install {name.replace('_', '-')}" for name in missing
    ]


def _loader_problems(site: SiteConfig, world: World | None = None) -> list[str]:
    """Why the chosen loader cannot be used; with `world`, which loads torch, also on this process's device."""
    if site.loader in (None, "threads"):
        return []
    if not has_dali():
        where = "install Provenet's extra: pip install -e '.[cuda13]'" if sys.platform == "linux" else "train on Linux"
        return [f"--loader {site.loader}: NVIDIA DALI is not installed; use --loader threads, or {where}"]
    if not world:
        return []
    from data.load import backends
    from trainer.gpu import device_of

    problem = backends.problem(site.loader, None, device_of(world))
    return [problem] if problem else []


def _refusal(network: "nn.Module", batch: int, size: int, model: ModelConfig) -> str | None:
    """The error of a network on the meta device for a batch of this shape, or None."""
    import torch

    is_users = registry.is_users(model.name)
    try:
        outputs = network(torch.empty(batch, 3, size, size, device="meta"))
        for logits in outputs if isinstance(outputs, tuple) else (outputs,):
            if is_users and tuple(logits.shape) != (wanted := (batch, model.num_classes)):
                return f"it returns {tuple(logits.shape)}; expected logits {wanted}"
    except Exception as error:  # of any kind: model.options may be anything
        if isinstance(error, NotImplementedError) and not is_users:  # an operation that cannot be tried without data
            return None
        return located(error) if is_users else str(error).partition("\n")[0] or type(error).__name__
    return None
