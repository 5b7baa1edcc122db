"""The machine and its launchers: what is installed, what starts, and how a run ends that does not fit."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from data.catalog import dataset
from data.catalog.listing import SPLITS, manifest_file
from data.types import has_dali
from data.workers import cores
from tests.benchmarks.image_tree import ready
from tests.gpu.stage import CLASSES, ROOT, Check, Program, Stage, guarded, repeated

# `python -m trainer` in little address space: a CPU would take the whole machine's
LIMITED = """
import resource, sys
from trainer.commands.cli import main
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def images(stage: Stage) -> Iterator[Check]:
    """Draw the images, list them, and list the training images again and again."""
    found = ready(None, stage.folder, CLASSES * stage.size.drawn)
    train, val = (dataset.find(found.root).manifest(found.manifests, split) for split in SPLITS)
    stage.repeated.mkdir()
    repeated(train, stage.size.repeats).save(manifest_file(stage.repeated, "train"))
    val.save(manifest_file(stage.repeated, "val"))
    yield Check(what="images drawn", figure=f"{len(train)} and {len(val)}, on {cores()} cores")


def versions(stage: Stage) -> Iterator[Check]:
    """What is installed, and that DALI is."""
    found = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "accelerate", "timm", "numpy"))
    import torch  # which the other parts do without

    python = sys.version.split()[0]
    yield Check(what="versions", figure=f"Python {python}, {found}, CUDA {torch.version.cuda}")
    if has_dali():
        import nvidia.dali as dali

        yield Check(what="DALI", figure=str(dali.__version__))  # pyright: ignore[reportAttributeAccessIssue]
    else:
        yield Check(what="DALI", figure="not installed", goal="installed", passed=False)
    if not stage.rehearsal:
        card = torch.cuda.get_device_properties(0)
        memory = f"{card.total_memory / 1e9:.0f} GB, {torch.cuda.device_count()} of them"
        yield Check(what="card", figure=f"{card.name}, {memory}, {cores()} CPU cores")


def pytest_gpu(stage: Stage) -> Iterator[Check]:
    """The tests that are marked `gpu`."""
    marked = re.compile(r"\bmark\.gpu\b")
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if marked.search(path.read_text())]
    required = "" if stage.rehearsal else "gpu"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *map(str, files)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        # plugins of other packages may warn, which our settings make an error
        env=stage.environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PROVENET_REQUIRE": required},
    )
    sys.stderr.write(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    yield Check(what="tests marked gpu", figure=last, goal="all pass", passed=done.returncode == 0)


def launchers(stage: Stage) -> Iterator[Check]:
    """One process below each launcher, and one whose local rank is no number of a visible GPU."""
    cpu = ("--cpu",) if stage.rehearsal else ()
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    accelerate = ("-m", "accelerate.commands.launch", *cpu, "--num_processes", "1", "-m", "trainer")
    ways = {
        "torchrun": (("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "trainer"), {}),
        "accelerate launch": (accelerate, {}),
        "LOCAL_RANK=3 on one card": (("-m", "trainer"), alone | {"MASTER_PORT": str(_free_port())}),
    }
    programs = {
        name: stage.start(stage.training(f"launched-{place}", *_few(stage)), launcher=launcher, variables=variables)
        for place, (name, (launcher, variables)) in enumerate(ways.items())
    }
    for name, program in programs.items():
        yield from guarded(f"one process by {name}", _finished(name, program))


def _finished(name: str, program: Program) -> Iterator[Check]:
    finished = "finished: top-1" in program.end()
    yield Check(what=f"one process by {name}", figure="finished" if finished else "not finished", passed=finished)


def out_of_memory(stage: Stage) -> Iterator[Check]:
    """A micro-batch that is too large ends with advice, and not with a traceback."""
    count = CLASSES * stage.size.drawn * stage.size.repeats if stage.rehearsal else 4096
    flags = ("--global-batch", count, "--micro-batch", count, "--input.train-size", 224)
    words = stage.training("short", *flags, manifests=stage.repeated, network="resnet50")
    program = stage.start(words, launcher=("-c", LIMITED) if stage.rehearsal else ())
    said = program.end(code=1)
    named = re.search(r"out of memory: .*", said)
    yield Check(what=f"{count} images at once", figure=named[0] if named else "?", passed=bool(named))


def _few(stage: Stage) -> tuple[object, ...]:
    """An epoch of two steps."""
    batch = CLASSES * stage.size.drawn // 2
    return ("--global-batch", batch, "--micro-batch", batch)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
