"""Real processes, which meet as those of a run do."""

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.commands import HANGS_S
from trainer.gpu import device_of
from trainer.runtime import Runtime
from trainer.world import World, from_environment

# what a process of a run says of itself, and whether it takes part in a gradient's mean
PROCESS = """
import json, os, sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from trainer import gpu
from trainer.runtime import Runtime
from trainer.world import from_environment
cpus = frozenset(map(int, sys.argv[1].split(",")))
os.sched_setaffinity(0, cpus)
runtime = Runtime(from_environment(), "fp32")
runtime.keep_near()
torch.manual_seed(0)
network = nn.Linear(2, 1, bias=False)
model = runtime.distribute(gpu.place(network, runtime.device, channels_last=False), compression="bf16")
model(torch.full((1, 2), runtime.world.rank + 1.0, device=runtime.device)).sum().backward()
print(json.dumps({
    "device": str(runtime.device), "threads": runtime.threads, "kind": type(model).__name__,
    "gradient": network.weight.grad.tolist(), "kept": sorted(os.sched_getaffinity(0)),
    "omp": os.environ["OMP_NUM_THREADS"],
    "sum": runtime.sum(torch.tensor([1.0], device=runtime.device)).item(), "any": runtime.any(runtime.world.rank == 1),
}))
runtime.close()
sys.stdout.flush()
os._exit(0)  # as a command ends; at an interpreter's teardown gloo's threads may abort the process
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(size: int, cpus: list[str], **variables: str) -> list[dict[str, Any]]:
    """So many processes, each on its CPUs."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "LOCAL_WORLD_SIZE": str(size)}
    given = {**os.environ, "WORLD_SIZE": str(size), **where}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, cpus[rank]],
            env={**given, "RANK": str(rank), "LOCAL_RANK": str(rank), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [process.communicate(timeout=HANGS_S)[0] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * size
    return [json.loads(output) for output in outputs]


@pytest.mark.slow
def test_two_processes_are_one_run_whatever_accelerate_s_variables_say() -> None:
    """The mean of the gradients (1 + 2) / 2, and no compiler or FSDP that the recipe does not name."""
    cpus = sorted(os.sched_getaffinity(0))
    masks = [[cpus[0]], cpus[1:] or cpus]  # as srun binds them
    given = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": "true", "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}
    found = run(2, [",".join(map(str, mask)) for mask in masks], **given)
    for mask, process in zip(masks, found, strict=True):
        threads = len(mask) if len(cpus) > 1 else 1
        assert process == {
            "device": "cpu",
            "threads": threads,
            "omp": str(threads),
            "kept": mask,
            "kind": "DistributedDataParallel",
            "gradient": [[1.5, 1.5]],
            "sum": 2.0,
            "any": True,
        }


@pytest.mark.slow
def test_a_process_alone_may_have_another_local_rank() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    given = {"LOCAL_RANK": "3", "ACCELERATE_USE_CPU": "true", "ACCELERATE_TORCH_DEVICE": "meta"}
    (alone,) = run(1, [",".join(map(str, cpus))], **given)
    assert (alone["device"], alone["kind"], alone["threads"]) == ("cpu", "Linear", len(cpus))
    assert alone["gradient"] == [[1, 1]]


def test_a_bare_process_takes_all_cpus_that_it_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local rank without a rank is no world: accelerate alone would wait for others."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runtime, before = Runtime(from_environment(), "fp32"), torch.get_num_threads()
    assert runtime.threads == runtime.own_cpus == len(os.sched_getaffinity(0)) == before
    assert Runtime(World(), "fp32", 1).threads == 1


@pytest.mark.gpu
def test_a_gpu_has_its_number_also_for_a_single_process() -> None:
    assert device_of(World()) == torch.device("cuda", 0)
    assert Runtime(World(), "fp32").device == torch.device("cuda", torch.cuda.current_device())


@pytest.mark.slow
@pytest.mark.gpu
def test_a_local_rank_beyond_the_visible_gpus_takes_one_that_is_there() -> None:
    (alone,) = run(1, ["0"], LOCAL_RANK="3", CUDA_VISIBLE_DEVICES="0")
    assert (alone["device"], alone["gradient"]) == ("cuda:0", [[1, 1]])


@pytest.mark.slow
@pytest.mark.gpu
def test_two_processes_of_one_gpu_are_refused_before_nccl_fails() -> None:
    with pytest.raises(AssertionError, match="1, 1"):
        run(2, ["0", "0"], CUDA_VISIBLE_DEVICES="0")
