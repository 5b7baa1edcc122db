"""The container in which each process of a job runs: by Enroot under pyxis, by Apptainer or by Podman.

What it reads and writes has the same paths inside. The options are described at https://github.com/NVIDIA/pyxis#usage,
https://apptainer.org/docs/user/main/cli/apptainer_exec.html and
https://docs.podman.io/en/stable/markdown/podman-run.1.html.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from launch.site import ClusterConfig
from trainer.world import PODMAN

TEMPORARY = "/tmp"  # bound too: the launcher reads the trainer's exit code from a file there
_RUNTIMES = ("pyxis", "apptainer", "podman")

# the image's own, without packages that the user has installed at home for another Python
_PYTHON = ("python3", "-s")

# Slurm may signal each process of a step: USR2 would end conmon, which waits for the container, and is not blocked
# inside; TERM ends podman, and by its number the trainer sees that. After a kill of all of them podman refuses to start
# until it is told to forget them, by one rank at a time: it then stops all that run
_PODMAN = (
    "flock /tmp sh -c 'podman ps 2>&1 | grep -q \"system migrate\" && podman system migrate' >/dev/null; "
    f"exec env --block-signal=USR2 podman --cgroup-manager=cgroupfs run --env {PODMAN}=$$ "
    '--name "provenet-$SLURM_JOB_ID-$SLURM_PROCID" "$@"'
)
_VARIABLES = "SLURM* PROVENET* CUDA* NCCL* GLOO* TORCH* OMP* MKL* ACCELERATE* MASTER_* GLIBC_TUNABLES TMPDIR USER"
_PODMAN_OPTIONS = (
    *("--rm", "--replace", "--log-driver=none", "--ulimit=host"),
    *("--network=host", "--pid=host", "--ipc=host", "--uts=host"),  # as Slurm, NCCL and the run's records know them
    *("--user=0:0", "--group-add=keep-groups", "--security-opt=label=disable"),  # root inside is the user outside
)


def start(cluster: ClusterConfig, folder: Path, paths: Iterable[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options of srun, and the words in front of Python's arguments, that run it in the cluster's container.

    It works in `folder`, and reads and writes `paths`, of which those that are gone are left out; all are absolute.
    """
    (runtime, _, image), gpu = str(cluster.container).partition(":"), cluster.gpus_per_node > 0
    binds = (*(str(_bindable(path)) for path in paths if path.exists()), *cluster.bind, TEMPORARY)
    sources = {bind.rpartition(":")[2]: bind.partition(":")[0] for bind in binds}  # Podman refuses two for one path
    pairs = [f"{source}:{destination}" for destination, source in sources.items()]
    if runtime == "pyxis":
        mounts = f"--container-mounts={','.join(pairs)}"
        return (f"--container-image={image}", mounts, f"--container-workdir={folder}"), _PYTHON
    if runtime == "apptainer":
        own = (*(["--nv"] if gpu else []), "--bind", ",".join(pairs), "--pwd", str(folder))
        return (), ("apptainer", "exec", *own, image, *_PYTHON)
    names = (*_VARIABLES.split(), *(entry.partition("=")[0] for entry in cluster.env))  # --env-host would replace PATH
    own = (*(f"--env={name}" for name in names), *(f"--volume={pair}" for pair in pairs), f"--workdir={folder}")
    devices = ["--device=nvidia.com/gpu=all"] if gpu else []
    return (), ("sh", "-c", _PODMAN, "podman", *_PODMAN_OPTIONS, *devices, *own, image, *_PYTHON)


def problems(cluster: ClusterConfig, paths: Iterable[Path]) -> list[str]:
    """What is wrong with its flags, or with these absolute paths that it is to see."""
    if cluster.container is None:
        return ["--bind: only a container needs it; add --container, or leave it out"] if cluster.bind else []
    runtime, _, image = cluster.container.partition(":")
    is_file = "://" not in image and (runtime == "apptainer" or (runtime == "pyxis" and image.startswith(("/", "."))))
    unknown = runtime not in _RUNTIMES or not image or image.startswith("-")
    missing = not unknown and is_file and not (Path(image).is_absolute() and Path(image).exists())
    wrong = (bind for bind in cluster.bind if not re.fullmatch(r"/[^:,]*(:/[^:,]*)?", bind))
    taken = (bind for bind in cluster.bind if ":" in bind and Path(bind.partition(":")[2]) == Path(TEMPORARY))
    hidden = (str(path) for path in paths if _bindable(path) == Path(path.anchor))
    return [
        *[f"--container: {cluster.container!r}; expected RUNTIME:IMAGE with one of {', '.join(_RUNTIMES)}"] * unknown,
        *[f"--container: {image!r} is no absolute path of an image; expected one that every node sees"] * missing,
        *(f"--bind: {bind!r}; expected SOURCE or SOURCE:DESTINATION, absolute paths without commas" for bind in wrong),
        *(f"--bind: {bind!r}; {TEMPORARY} is the node's; bind it elsewhere, and use --env TMPDIR" for bind in taken),
        *(f"--container: {path!r} has a comma or colon, and cannot be bound; move it into a folder" for path in hidden),
    ]


def _bindable(path: Path) -> Path:
    """The path, or the nearest folder above it whose own path has none of the characters that separate binds."""
    return next(each for each in (path, *path.parents) if not {",", ":"} & set(str(each)))
