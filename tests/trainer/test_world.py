import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from trainer.world import World, WorldError, first_host, from_environment, launched, tasks_per_node

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
BATCH = {  # what a batch script of `sbatch --nodes=2 --ntasks-per-node=1` has, measured
    "SLURM_JOB_ID": "1234",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
A_LAUNCHER_A_NODE = {**SRUN, "SLURM_STEP_NUM_TASKS": "2"}
ACCELERATE = ("/venv/bin/python", "/venv/bin/accelerate", "launch")


def test_a_bare_process_is_a_world_of_one() -> None:
    assert from_environment({}) == World(0, 1, 0, 1, launcher="python")


def test_torchrun_and_accelerate_launch_are_read() -> None:
    assert from_environment(TORCHRUN) == World(3, 4, 1, 2, "node1", 29500, "torchrun")


def test_a_process_alone_may_have_the_local_rank_of_its_gpu() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "1"}
    assert from_environment({**TORCHRUN, **alone}) == World(0, 1, 3, 1, "node1", 29500, "torchrun")


def test_srun_is_read_and_its_processes_meet_on_the_first_node() -> None:
    assert from_environment(SRUN) == World(3, 4, 1, 2, "gpu07", 20000 + 7 * 1234 % 10000, "srun")


def test_torchrun_below_srun_is_torchrun() -> None:
    assert from_environment({**SRUN, **TORCHRUN}).launcher == "torchrun"


def test_a_step_of_one_task_is_a_world_of_one_whatever_the_job_has() -> None:
    assert from_environment({**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}) == World()


def test_steps_and_jobs_meet_at_different_ports() -> None:
    others = [{**SRUN, "SLURM_STEP_ID": "1"}, {**SRUN, "SLURM_JOB_ID": "1235"}]
    assert len({from_environment(environment).port for environment in [SRUN, *others]}) == 3


def test_address_and_port_may_be_given() -> None:
    world = from_environment({**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"})
    assert (world.address, world.port) == ("10.0.0.1", 4000)


@pytest.mark.parametrize("missing", sorted(TORCHRUN))
def test_a_missing_torchrun_variable_is_named(missing: str) -> None:
    environment = {name: value for name, value in TORCHRUN.items() if name != missing}
    with pytest.raises(WorldError, match=f"^{missing} is missing"):
        from_environment(environment)


@pytest.mark.parametrize("missing", sorted(set(SRUN) - {"SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"}))
def test_a_missing_slurm_variable_is_named(missing: str) -> None:
    environment = {name: value for name, value in SRUN.items() if name != missing}
    with pytest.raises(WorldError, match=f"^{missing} is missing"):
        from_environment(environment)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "three"}, "RANK is 'three' in the environment; expected a whole number"),
        ({"RANK": "4"}, "rank 4 does not exist in a world of 4"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE is '-1'"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT is 0, no port to meet at"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT is 99999; expected 1 to 65535"),
        ({"LOCAL_WORLD_SIZE": "0"}, "rank 1 does not exist in a world of 0"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        from_environment({**TORCHRUN, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_STEP_NUM_TASKS": "x"}, "SLURM_STEP_NUM_TASKS is 'x'"),
        ({"SLURM_NODEID": "7"}, "rank 1 does not exist in a world of 0"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
    ],
)
def test_a_wrong_slurm_variable_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        from_environment({**SRUN, **change})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[07-09,12],cpu1", "gpu07"), ("n[3,5]", "n3"), ("r1n[1-4]-ib,x", "r1n1-ib")],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(("text", "counts"), [("2(x3),1", [2, 2, 2, 1]), ("4", [4]), ("1,2", [1, 2])])
def test_tasks_per_node(text: str, counts: list[int]) -> None:
    assert tasks_per_node(text) == counts


@pytest.mark.parametrize(
    "environment",
    [
        {**A_LAUNCHER_A_NODE, **TORCHRUN, "GROUP_WORLD_SIZE": "2"},
        {**A_LAUNCHER_A_NODE, **TORCHRUN, "GROUP_WORLD_SIZE": "2", "SLURM_JOB_NUM_NODES": "8"},
        {**SRUN, **TORCHRUN},  # RANK and its kin set by hand in each task
        {**BATCH, **TORCHRUN, "GROUP_WORLD_SIZE": "2"},  # its launchers started otherwise, for instance with ssh
        {**TORCHRUN, "GROUP_WORLD_SIZE": "1"},
    ],
)
def test_launchers_that_have_found_each_other_are_taken(environment: dict[str, str]) -> None:
    assert from_environment(environment).world_size == 4


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2"}, ["launchers on 2 nodes", "--nnodes 2 ", "--rdzv-endpoint", "not --standalone"]),
        ({"SLURM_STEP_NUM_TASKS": "4"}, ["launchers on 2 nodes"]),
        (
            {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "1"},
            ["srun started 4 launchers", "srun --ntasks-per-node=1"],
        ),
    ],
)
def test_launchers_that_have_not_found_each_other_are_refused(change: dict[str, str], messages: list[str]) -> None:
    with pytest.raises(WorldError, match=r"^GROUP_WORLD_SIZE is 1, but srun") as refused:
        from_environment({**SRUN, **TORCHRUN, "GROUP_WORLD_SIZE": "1", **change})
    assert [message for message in messages if message not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (BATCH, "SLURM_NTASKS is 2"),
        ({**BATCH, "SLURM_JOB_NUM_NODES": "1"}, "SLURM_NTASKS is 2"),
        ({name: value for name, value in BATCH.items() if name != "SLURM_NTASKS"}, "SLURM_JOB_NUM_NODES is 2"),
    ],
)
def test_a_single_process_of_a_larger_job_is_sent_to_srun(environment: dict[str, str], name: str) -> None:
    with pytest.raises(WorldError, match=f"^{name}, but .* put srun in front"):
        from_environment(environment)


def test_a_single_process_of_a_job_of_one_task_needs_no_srun() -> None:
    assert from_environment({**BATCH, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}) == World()


@pytest.mark.parametrize(
    "words",
    [
        (*ACCELERATE, "--cpu", "--num_processes", "4", "-m", "trainer", "train", "demo"),
        (*ACCELERATE, "--cpu", "--num-processes=4"),
        (*ACCELERATE, "--num_machines", "4", "--num_processes", "1"),
        (*ACCELERATE, "--num_processes", "1", "--num_processes", "4"),
        ("python", "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "4"),
        ("python", "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "4"),
        ("/venv/bin/accelerate-launch", "--cpu", "--num_processes", "4"),
    ],
)
@pytest.mark.parametrize("environment", [{}, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, A_LAUNCHER_A_NODE])
def test_fewer_processes_than_accelerate_was_asked_for_are_refused(
    environment: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(WorldError, match=r"asked for 4 processes .* ACCELERATE_USE_CPU=true accelerate .* --multi_gpu"):
        from_environment(environment, lambda: words)


@pytest.mark.parametrize(
    ("environment", "words", "world_size"),
    [
        ({}, (*ACCELERATE, "--cpu", "--num_processes", "1", "--num_machines", "1", "-m", "trainer"), 1),
        ({}, (*ACCELERATE, "--cpu", "-m", "trainer"), 1),
        ({}, ("bash", "-c", "provenet train --num_processes 4"), 1),
        ({}, ("python", "-m", "launch", "run", "--", "accelerate-ish", "--num_processes", "4"), 1),
        (TORCHRUN, (*ACCELERATE, "--multi_gpu", "--num_processes", "4"), 4),
        (A_LAUNCHER_A_NODE, (*ACCELERATE, "--cpu", "--num_machines", "2", "--num_processes", "2"), 2),
    ],
)
def test_as_many_processes_as_accelerate_was_asked_for_are_taken(
    environment: dict[str, str], words: tuple[str, ...], world_size: int
) -> None:
    assert from_environment({**environment, "SLURM_PROCID": "0"}, lambda: words).world_size == world_size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "code"),
    [
        ((sys.executable, "-m", "launch", "run", "--"), 2),
        ((), 1),  # accelerate's own code; here the process begins itself anew, for its allocator
    ],
)
def test_accelerate_launch_with_cpu_is_refused_where_it_starts_one_of_two(
    before: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    accelerate = (str(Path(sys.executable).parent / "accelerate"), "launch", "--cpu", "--num_processes", "2")
    flags = ("--data", str(tmp_path), "--output", str(tmp_path / "run"))
    command = (*before, *accelerate, "-m", "trainer", "train", "demo", *flags)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=HANGS_S)
    assert done.returncode == code, done.stderr
    assert "asked for 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "parent", "by_launcher"),
    [
        ({"TORCHELASTIC_RUN_ID": "none"}, ("python", "torchrun"), True),
        ({}, ACCELERATE, True),
        (SRUN, ("slurmstepd: [12.0]", ""), True),
        ({**SRUN, "PROVENET_PODMAN": "12"}, ("/usr/bin/conmon",), True),
        ({}, ("bash", "-l"), False),
        (TORCHRUN, ("sshd: user",), False),  # the variables set by hand, under nohup
        (SRUN, ("/bin/bash",), False),
    ],
)
def test_what_a_process_is_not_to_outlive(
    environment: dict[str, str], parent: tuple[str, ...], by_launcher: bool
) -> None:
    assert launched(environment, lambda: parent) is by_launcher
