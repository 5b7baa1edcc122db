"""`python -m launch`: the commands, their flags and their errors. Loads no torch, and submitit only to submit."""

import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from launch import run
from launch.job import TrainJob
from launch.site import ClusterConfig, cluster_problems
from trainer import preflight
from trainer.cli import named_recipe
from trainer.config import Recipe, SiteConfig
from trainer.decode import InvalidConfigError, range_problems
from trainer.exits import FAILED, INTERRUPTED, refuse
from trainer.rundir import RunDirectory
from trainer.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """Queue a training run on a Slurm cluster.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first; the fields of the recipe are flags. The
    recipe, the data and the run directory are checked first. Submitting the same command again goes on with the run.

    Example: python -m launch submit resnet50 --data /imagenet --output runs/r50 --nodes 2 --gpus-per-node 8
    --cpus-per-process 12 --partition gpu --hours 12
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    cluster: Annotated[ClusterConfig, tyro.conf.arg(name="")]
    """What is asked of the cluster."""
    site: Annotated[SiteConfig, tyro.conf.arg(name="")]
    """Where it runs."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""
    dry_run: bool = False
    """Print the sbatch script and do nothing."""


_LAST = tyro.conf.arg(metavar="-- COMMAND", help_behavior_hint="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Run a launcher on this machine: its processes get time to save at a stop, and their exit code comes through.

    TERM, INT (Ctrl-C), USR2 and HUP are passed on. Without an NVIDIA GPU, also sets what makes a CPU fast. A variable
    that is set already is left as it is.

    Example: python -m launch run --grace-s 600 -- torchrun --standalone --nproc-per-node 8 -m trainer train resnet50
    --data /imagenet --output runs/r50
    """

    command: Annotated[tuple[str, ...], tyro.conf.Positional, _LAST] = ()
    """The launcher and its arguments: accelerate launch, torchrun, srun, or anything else."""
    grace_s: int = field(default=300, metadata={"min": 1, "max": 86_400})
    """Seconds from a stop signal until what still runs is killed: 1 to 86,400."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 refused by Slurm or failed, 2 bad input and nothing was done, 130 interrupted; of `run`,
        the trainer's own.
    """
    try:
        match command := parse(sys.argv[1:] if arguments is None else arguments):
            case Submit():
                return submit(command)
            case Run():
                return run_here(command)
    except InvalidConfigError as error:
        return refuse(error.problems)
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except OSError as error:
        sys.stderr.write(f"failed: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def parse(arguments: list[str]) -> Submit | Run:
    """The command, with the recipe's values as the defaults of its flags.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    default = Submit(
        recipe=tyro.MISSING,
        cluster=ClusterConfig(),
        site=SiteConfig(data=tyro.MISSING, output=tyro.MISSING),
        settings=named_recipe(arguments, "submit"),
    )
    submit_command = Annotated[Submit, tyro.conf.subcommand("submit", default=default)]
    run_command = Annotated[Run, tyro.conf.subcommand("run")]
    end = arguments.index("--") if arguments[:1] == ["run"] and "--" in arguments else len(arguments)
    command = tyro.cli(
        submit_command | run_command,  # pyright: ignore[reportArgumentType] - a union of annotated types is a type form
        args=arguments[:end],  # what follows is the command's: tyro takes num_procs and num-procs for the same
        prog="python -m launch",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return replace(command, command=tuple(arguments[end + 1 :])) if isinstance(command, Run) else command


def run_here(command: Run) -> int:
    """Check the flags, then run the command."""
    problems = range_problems(command, flags=True)
    if not command.command:
        problems.append("COMMAND: missing; it comes last, after --: run -- torchrun ...")
    return refuse(problems) if problems else run.run(command.command, command.grace_s)


def submit(command: Submit) -> int:
    """Check everything, then queue the run or print its script."""
    cluster, site = command.cluster, command.site
    problems = (
        range_problems(cluster, flags=True)
        or cluster_problems(cluster)
        or preflight.problems(command.settings, site, World(0, cluster.world_size))
    )
    if problems:
        return refuse(problems)
    from launch import slurm

    run = RunDirectory(site.output.absolute())
    folder = run.path / "slurm"
    if command.dry_run:
        sys.stdout.write(slurm.script(cluster, run.path.name, folder))
        return 0
    if run.finished():
        sys.stdout.write(f"nothing to do, this run is {run.guide()}")
        return 0
    if not slurm.available():
        return refuse(["sbatch: not found on this machine; submit from a login node, or add --dry-run"])
    return _queue(command, run, folder)


def _queue(command: Submit, run: RunDirectory, folder: Path) -> int:
    from launch import slurm

    new = not run.recipe.exists()
    run.make()
    run.begin(command.settings)
    job = TrainJob(("train", str(run.recipe), *_site_flags(command.site, run)))
    try:
        number = slurm.submit(job, command.cluster, run.path.name, folder)
    except slurm.RefusedError as error:
        if new:
            _withdraw(run, folder)
        sys.stderr.write(f"Slurm refused the job: {error}\n")
        return FAILED
    sys.stdout.write(
        f"job {number} is queued\n"
        f"  state        squeue --jobs {number}\n"
        f"  output       tail -F {folder}/{number}_0_log.out\n"
        f"  TensorBoard  tensorboard --logdir {run.path}\n"
        f"  cancel       scancel {number}\n"
    )
    return 0


def _withdraw(run: RunDirectory, folder: Path) -> None:
    """Leave no run directory behind of a job that was never queued: the next may be of another recipe."""
    run.recipe.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # the folder holds something that is not ours
        run.checkpoints.rmdir()
        run.path.rmdir()


def _site_flags(site: SiteConfig, run: RunDirectory) -> tuple[str, ...]:
    threads = () if site.threads is None else ("--threads", str(site.threads))
    return (
        *("--data", str(site.data.absolute()), "--output", str(run.path)),
        *("--log-every", str(site.log_every), "--keep-checkpoints", str(site.keep_checkpoints), *threads),
    )
