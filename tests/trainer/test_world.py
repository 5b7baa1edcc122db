import pytest

from trainer.world import World, WorldError, first_host, from_environment, tasks_per_node

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
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


def test_a_bare_process_is_a_world_of_one() -> None:
    assert from_environment({}) == World(0, 1, 0, 1, launcher="python")


def test_torchrun_and_accelerate_launch_are_read() -> None:
    assert from_environment(TORCHRUN) == World(3, 4, 1, 2, "node1", 29500, "torchrun")


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


@pytest.mark.parametrize("missing", sorted(set(SRUN) - {"SLURM_STEP_NUM_TASKS"}))
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
