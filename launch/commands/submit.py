"""`provenet submit` and `resume`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from launch import enqueue, pinned, run_state, site_file
from launch.enqueue import Wanted
from launch.site import ClusterConfig
from launch.submission import LaunchFolder
from trainer import preflight
from trainer.commands.parsing import named_recipe
from trainer.exits import note, refuse
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError, decode
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory
from trainer.terminal import write

NOWHERE = SiteConfig(data=tyro.MISSING, output=tyro.MISSING)
CLUSTER = (tyro.conf.OmitArgPrefixes, tyro.conf.UseAppendAction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """Queue a training run on a Slurm cluster, or start it here with --cluster local, and restart it until it is done.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first; the fields of the recipe are flags. The
    recipe, the data and the run directory are checked first, and the code is copied, so that editing it changes no
    queued job. After its time limit, a preemption, a lost node or a killed process the run goes on from its last
    checkpoint.

    Example: provenet submit resnet50 --data /imagenet --output runs/r50 --nodes 2 --partition
    gpu --gpus-per-node 8 --cpus-per-process 12 --hours 12
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    cluster: Annotated[ClusterConfig, *CLUSTER]
    """What is asked of the cluster."""
    site: tyro.conf.OmitArgPrefixes[SiteConfig]
    """Where it runs."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""
    dry_run: bool = False
    """Print the sbatch script, or the local command, and do nothing."""

    def run(self) -> int:
        """Check everything, then queue the run or print its script."""
        recipe = preflight.adopted(self.settings, self.site)
        warnings = preflight.warnings(self.recipe, self.settings, self.site)
        code = _submit(Wanted(recipe=recipe, site=self.site, cluster=self.cluster), dry_run=self.dry_run)
        if warnings and code == 0:
            note("\n".join(warnings))
        return code


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """Queue a run again that was stopped, cancelled or lost, with the flags of its submission where none are typed.

    It goes on from its newest checkpoint with the copy of the code that it was submitted with.

    Example: provenet resume runs/r50 --partition long --hours 48
    """

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Run directory."""
    cluster: Annotated[ClusterConfig, *CLUSTER]
    """What is asked of the cluster."""
    site: tyro.conf.OmitArgPrefixes[SiteConfig]
    """Where it runs."""
    new_code: bool = False
    """Use the code as it is now; results may then differ in their last bits."""
    dry_run: bool = False
    """Print the sbatch script, or the local command, and do nothing."""

    def run(self) -> int:
        """Check everything, then queue the run or print its script."""
        submission = LaunchFolder(self.run_directory).submission(acts=True)
        assert submission  # `stored` has read it
        if self.site.output.absolute() != self.run_directory.absolute():
            return refuse([f"--output: a run goes on in its own directory {self.run_directory}; leave it out"])
        code = Path(submission.code)
        if not self.new_code and not pinned.is_whole(code):
            gone = "this run's copy of the code is gone, changed, or an older version's"
            return refuse([f"{code}: {gone}; add --new-code to use the code as it is now"])
        wanted = Wanted(
            recipe=load(str(RunDirectory(self.run_directory).recipe)),
            site=self.site,
            cluster=self.cluster,
            code=None if self.new_code else code,
        )
        return _submit(wanted, dry_run=self.dry_run)


def submit_default(words: Sequence[str]) -> Submit:
    """The recipe's values as the flags' defaults.

    Raises:
        InvalidConfigError: The recipe or the site's file cannot be read.
    """
    settings = named_recipe(words, "submit")
    return Submit(recipe=tyro.MISSING, cluster=site_file.defaults(words), site=NOWHERE, settings=settings)


def resume_default(words: Sequence[str]) -> Resume:
    """The values of the run's last submission as the flags' defaults.

    Raises:
        InvalidConfigError: There is none, or it cannot be read.
    """
    cluster, site = ClusterConfig(), NOWHERE
    if list(words) not in ([], ["-h"], ["--help"]):
        if words[0].startswith("-"):  # the run decides what the flags after it mean
            raise InvalidConfigError([f"RUN: comes first, before {words[0]}: resume RUN {words[0]} ..."])
        cluster, site = stored(Path(words[0]))
    return Resume(run_directory=tyro.MISSING, cluster=cluster, site=site)


def stored(run: Path) -> tuple[ClusterConfig, SiteConfig]:
    """The settings with which a run was submitted last.

    Raises:
        InvalidConfigError: It never was, or its record cannot be read.
    """
    submission = LaunchFolder(run).submission(acts=True)
    if submission is None:
        advice = "submit it first: provenet submit RECIPE --data D --output RUN"
        raise InvalidConfigError([f"RUN: {run} was never submitted: it holds no launch/submission.json; {advice}"])
    try:
        return decode(ClusterConfig, submission.request), replace(decode(SiteConfig, submission.site), output=run)
    except (InvalidConfigError, TypeError) as error:
        problem = f"RUN: {run}/launch/submission.json holds what this version does not read; remove it and submit again"
        raise InvalidConfigError([f"{problem}: {line}" for line in str(error).splitlines()]) from None


def _submit(wanted: Wanted, *, dry_run: bool) -> int:
    if problems := enqueue.problems(wanted):
        return refuse(problems)
    if wanted.run.finished():
        write(f"nothing to do, this run is {wanted.run.guide()}")
        return 0
    if dry_run:
        write(_preview(wanted))
        return 0
    if job := enqueue.live_jobs([run_state.read(wanted.run)], wanted.cluster).get(wanted.run.path):
        advice = f"end it first: provenet cancel {shlex.quote(str(wanted.run.path))}"
        return refuse([f"--output: this run has job {job}; {advice}"])
    return enqueue.submit([wanted])


def _preview(wanted: Wanted) -> str:
    job = wanted.job(wanted.code or pinned.pin(wanted.folder.path, dry_run=True))
    if wanted.cluster.cluster == "local":
        return f"{shlex.join(job.command())}\n"
    from launch import slurm

    variables = [f"{name}={value}: applies" for name, value in slurm.applying(wanted.cluster).items()]
    if lines := [*site_file.origins(wanted.cluster), *variables]:
        note("\n".join(lines))
    return slurm.script(job, wanted.run.path.name, wanted.folder.path)
