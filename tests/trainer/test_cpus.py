import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.cpus import Cpus, Machine, count, cpus_in, gpu_node, machine, share

# two sockets of four cores with two threads each: 0 and 8 are one core, 1 and 9 the next
FIRST, SECOND = cpus_in("0-3,8-11"), cpus_in("4-7,12-15")
SOCKETS = Machine((FIRST, SECOND), {cpu: cpu % 8 for cpu in range(16)})


def shares(
    ranks: int, *gpu_nodes: int | None, cpus: Cpus = FIRST | SECOND, own: int | None = None
) -> list[Cpus | None]:
    each, nodes = own or len(cpus) // ranks, gpu_nodes or [None] * ranks
    return [share(rank, [cpus] * ranks, SOCKETS, nodes, each) for rank in range(ranks)]


@pytest.mark.parametrize(
    ("text", "expected"), [("0-2,8", {0, 1, 2, 8}), ("5", {5}), ("", set()), ("0-1\n", {0, 1}), ("3,1", {1, 3})]
)
def test_lists_of_cpus_are_read_as_the_kernel_writes_them(text: str, expected: set[int]) -> None:
    assert cpus_in(text) == expected


def test_without_gpus_ranks_fill_the_nodes_in_order_and_get_whole_cores() -> None:
    assert shares(2) == [FIRST, SECOND]
    assert shares(4) == [{0, 8, 1, 9}, {2, 10, 3, 11}, {4, 12, 5, 13}, {6, 14, 7, 15}]


def test_a_rank_stays_near_its_gpu() -> None:
    assert shares(2, 1, 0) == [SECOND, FIRST]
    assert shares(4, 1, 1, 1, 0) == [{4, 12}, {5, 13}, {6, 14}, {0, 8, 1, 9}]
    assert shares(2, None, None) == [FIRST, SECOND]  # a virtual machine does not say where its GPUs hang


def test_shares_never_overlap_and_hold_nothing_that_is_not_allowed() -> None:
    cpus = FIRST | {4, 5}
    for nodes in ((None, None, None), (0, 0, 1), (0, 1, None)):
        found = [one for one in shares(3, *nodes, cpus=cpus) if one]
        assert len(found) == 3
        assert sum(map(len, found)) == len(frozenset().union(*found))
        assert frozenset().union(*found) <= cpus


def test_a_node_with_fewer_cpus_than_ranks_binds_none_of_them() -> None:
    assert shares(3, 1, 1, 1, cpus=FIRST | {4, 5}) == [None] * 3


@pytest.mark.parametrize(
    ("ranks", "cpus", "own"),
    [
        pytest.param(1, FIRST | SECOND, 16, id="alone"),
        pytest.param(2, FIRST, 4, id="one node"),
        pytest.param(2, frozenset({0, 8, 4}), 3, id="placed by the launcher"),
    ],
)
def test_where_there_is_nothing_to_choose_the_process_is_left_alone(ranks: int, cpus: Cpus, own: int) -> None:
    assert shares(ranks, cpus=cpus, own=own) == [None] * ranks


def test_processes_that_the_launcher_has_placed_stay_where_they_are() -> None:
    masks = [FIRST | {4, 5}, FIRST | {4, 5}, SECOND | {0, 1}]
    assert [share(rank, masks, SOCKETS, [1, 0, 0], 3) for rank in range(3)] == [None] * 3


ALL, HALVES, OVERLAP = [cpus_in("0-15")] * 4, [FIRST, SECOND], [cpus_in("0-7"), cpus_in("4-11"), cpus_in("4-7")]


@pytest.mark.parametrize(
    ("launcher", "rank", "masks", "per_task", "expected"),
    [
        pytest.param("python", 0, [cpus_in("0-15")], None, 16, id="alone"),
        pytest.param("torchrun", 3, ALL, None, 4, id="a machine is divided"),
        pytest.param("torchrun", 0, [cpus_in("0-15")] * 3, None, 5, id="rounded down"),
        pytest.param("torchrun", 0, [cpus_in("0-1")] * 4, None, 1, id="one at least"),
        pytest.param("torchrun", 0, ALL[:2], "4", 8, id="the launcher's task has the CPUs of all its ranks"),
        pytest.param("srun", 1, HALVES, None, 8, id="bound by srun: all its own"),
        pytest.param("srun", 1, HALVES, "8", 8, id="bound, and said"),
        pytest.param("srun", 0, ALL, "12", 12, id="not bound, but said"),
        pytest.param("srun", 0, ALL, None, 4, id="neither"),
        pytest.param("torchrun", 0, OVERLAP, None, 5, id="4 alone, 4 of three"),
        pytest.param("torchrun", 2, OVERLAP, None, 1, id="4 of three"),
    ],
)
def test_only_cpus_that_several_processes_may_run_on_are_divided(
    launcher: str, rank: int, masks: list[Cpus], per_task: str | None, expected: int
) -> None:
    environment = {"SLURM_CPUS_PER_TASK": per_task} if per_task else {}
    assert count(launcher, masks[rank], masks, environment) == expected


def test_the_machine_is_read_from_what_the_kernel_shows(tmp_path: Path) -> None:
    for node, text in ((0, "0,2\n"), (1, "1,3\n"), (2, "\n")):  # the last has memory alone
        (tmp_path / "node" / f"node{node}").mkdir(parents=True)
        (tmp_path / "node" / f"node{node}" / "cpulist").write_text(text)
    for cpu, siblings in ((0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")):
        (tmp_path / "cpu" / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings)
    assert machine(tmp_path) == Machine((frozenset({0, 2}), frozenset({1, 3})), {0: 0, 1: 1, 2: 0, 3: 1})
    assert machine(tmp_path / "none") == Machine((), {})


def test_this_machine_has_the_cpus_that_this_process_runs_on() -> None:
    assert frozenset().union(*machine().nodes) >= os.sched_getaffinity(0)


@pytest.mark.parametrize(("text", "expected"), [("1\n", 1), ("-1\n", None), (None, None)])
def test_a_gpu_s_node_is_read_where_it_has_one(tmp_path: Path, text: str | None, expected: int | None) -> None:
    (tmp_path / "0000:3b:00.0").mkdir()
    if text:
        (tmp_path / "0000:3b:00.0" / "numa_node").write_text(text)
    assert gpu_node("0000:3B:00.0", tmp_path) == expected


def test_a_bound_process_keeps_to_its_cpus() -> None:
    code = "import os; from trainer.cpus import bind; bind(None); bind(frozenset({min(os.sched_getaffinity(0))}));"
    show = f"{code} print(len(os.sched_getaffinity(0)))"
    assert subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout == "1\n"
