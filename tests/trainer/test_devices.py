import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore

from trainer import devices
from trainer.devices import Place, SharedGpuError
from trainer.world import World


def place(rank: int, gpu: str | None, machine: str = "node7 boot", local_rank: int | None = None) -> Place:
    local = rank if local_rank is None else local_rank
    return Place(rank=rank, local_rank=local, machine=machine, cpus=frozenset({0, 5}), gpu=gpu, gpu_node=1)


@pytest.mark.parametrize(
    ("local_rank", "visible", "expected"),
    [
        pytest.param(5, 8, 5, id="not narrowed"),
        pytest.param(5, 1, 0, id="narrowed to one, each its own"),
        pytest.param(3, 2, 1, id="narrowed to two"),
        pytest.param(0, 1, 0, id="one process"),
        pytest.param(3, 1, 0, id="one process with a local rank by hand"),
        pytest.param(4, 4, 0, id="more processes than GPUs: the first again"),
    ],
)
def test_the_number_of_a_gpu_is_the_local_rank_among_those_it_sees(
    local_rank: int, visible: int, expected: int
) -> None:
    assert devices.index(local_rank, visible) == expected


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(("0000:3b:00.0", "a", ""), ("0000:af:00.0", "b", ""), False, id="two GPUs"),
        pytest.param(("0000:3b:00.0", "a", ""), ("0000:3b:00.0", "a", ""), True, id="one GPU"),
        pytest.param(("0000:3b:00.0", "a", "0"), ("0000:3b:00.0", "a", "0,1"), True, id="by other numbers"),
        pytest.param(("0000:3b:00.0", "a", "GPU-a"), ("0000:3b:00.0", "a", "0"), True, id="by UUID and number"),
        pytest.param(("0000:3b:00.0", "a", "MIG-1"), ("0000:3b:00.0", "a", "MIG-2"), False, id="two slices"),
        pytest.param(("0000:3b:00.0", "1", "MIG-1"), ("0000:3b:00.0", "1", "MIG-1"), True, id="one slice"),
        pytest.param(("0000:3b:00.0", "a", "MIG-1,MIG-2"), ("0000:3b:00.0", "a", "MIG-1"), True, id="the first counts"),
    ],
)
def test_what_tells_gpus_and_their_slices_apart(
    first: tuple[str, str, str], second: tuple[str, str, str], same: bool
) -> None:
    assert (devices.identity(*first) == devices.identity(*second)) == same


@pytest.mark.parametrize(
    ("places", "named"),
    [
        pytest.param([place(0, "a"), place(1, "b")], [], id="each its own"),
        pytest.param([place(0, "a"), place(1, "a", "node8 boot")], [], id="two machines"),
        pytest.param([place(0, "a"), place(1, "a", "node7 other")], [], id="two machines of one name"),
        pytest.param([place(0, None), place(1, None)], [], id="CPUs"),
        pytest.param([place(0, "a"), place(1, "b"), place(2, "a")], ["ranks 0 and 2"], id="more than GPUs"),
        pytest.param([place(rank, "a") for rank in range(3)], ["ranks 0 and 1", "ranks 0 and 2"], id="one for all"),
    ],
)
def test_two_processes_of_one_gpu_are_named(places: list[Place], named: list[str]) -> None:
    found = devices.shared_gpus(places)
    assert [problem.split(" (")[0] for problem in found] == named
    assert all("the same GPU of node7, a; start at most one process for each GPU" in problem for problem in found)


def test_a_place_is_read_as_it_was_written() -> None:
    for one in (place(3, "a", local_rank=1), place(0, None)):
        assert Place.from_json(one.to_json()) == one


def test_this_process_says_where_it_is() -> None:
    world = World(3, 4, 1, 2, "node1", 29500, "torchrun")
    on_cpu, on_gpu = devices.place(world, None), devices.place(world, ("0000:00:00.0", "uuid"))
    assert (on_cpu.rank, on_cpu.local_rank, on_cpu.gpu, on_cpu.gpu_node) == (3, 1, None, None)
    assert on_gpu == replace(on_cpu, gpu="0000:00:00.0 uuid")


def test_the_processes_of_a_machine_are_in_the_order_of_their_local_ranks() -> None:
    """As srun --distribution=cyclic deals them out, and where two launchers share the machine."""
    everyone = [place(0, None, "a", 0), place(1, None, "b", 0), place(2, None, "a", 1), place(3, None, "a", 0)]
    assert [one.rank for one in devices.beside(everyone[2], everyone)] == [0, 3, 2]


def told(gpus: list[str]) -> list[list[Place] | str]:
    """What each rank of a world learns, the processes threads here, the store PyTorch's own."""
    store = HashStore()

    def rank(number: int) -> list[Place] | str:
        world = World(number, len(gpus), number, len(gpus), "node1", 29500, "torchrun")
        try:
            return devices.exchanged(place(number, gpus[number]), world, store)
        except SharedGpuError as error:
            return str(error)

    with ThreadPoolExecutor(len(gpus)) as ranks:
        return list(ranks.map(rank, range(len(gpus))))


def test_every_process_learns_of_every_other() -> None:
    assert told(["a", "b", "c"]) == [[place(0, "a"), place(1, "b"), place(2, "c")]] * 3


def test_a_shared_gpu_is_refused_by_all_processes_together() -> None:
    found = told(["a", "b", "a"])
    assert len(set(map(str, found))) == 1
    assert str(found[0]).startswith("ranks 0 and 2 (local ranks 0 and 2) have the same GPU of node7, a; ")


@pytest.mark.parametrize(
    ("precision", "capability", "fine"),
    [
        ("bf16", (7, 0), False),  # V100
        ("bf16", (7, 5), False),  # T4
        ("tf32", (7, 5), False),
        ("bf16", (8, 0), True),
        ("bf16", (12, 0), True),
        ("tf32", (9, 0), True),
        ("fp16", (7, 0), True),
        ("fp32", (6, 1), True),
    ],
)
def test_a_gpu_without_the_recipe_s_arithmetic_is_named_with_what_it_can_do(
    precision: str, capability: tuple[int, int], fine: bool
) -> None:
    found = devices.precision_problems(precision, "Tesla V100", capability)
    assert (found == []) == fine
    assert all(f"precision: {precision} needs" in problem and "--precision fp16" in problem for problem in found)
    assert fine or f"but Tesla V100 has {capability[0]}.{capability[1]}" in found[0]


@pytest.mark.parametrize(
    ("gpu", "programs", "environment", "missing"),
    [
        (True, {"gcc"}, {}, None),
        (True, {"clang"}, {}, None),
        (True, {"g++"}, {}, "needs a C compiler with a GPU; install gcc or name one in CC"),
        (True, {"/opt/cc"}, {"CC": "/opt/cc"}, None),
        (True, set(), {"CC": "/opt/cc"}, "needs a C compiler with a GPU"),
        (False, {"g++"}, {}, None),
        (False, {"clang++"}, {}, None),
        (False, {"gcc"}, {}, "needs a C++ compiler on a CPU; install g++ or name one in CXX"),
        (False, {"icpx"}, {"CXX": "icpx"}, None),
    ],
)
def test_a_missing_compiler_is_named(
    gpu: bool, programs: set[str], environment: dict[str, str], missing: str | None
) -> None:
    found = devices.compiler_problems(
        gpu=gpu, which=lambda name: name if name in programs else None, environment=environment
    )
    assert len(found) == (missing is not None)
    assert all(str(missing) in problem for problem in found)


def test_missing_headers_are_named(tmp_path: Path) -> None:
    (problem,) = devices.header_problems(str(tmp_path))
    assert f"there is no {tmp_path}/Python.h; install python3-dev" in problem
    (tmp_path / "Python.h").touch()
    assert devices.header_problems(str(tmp_path)) == []


def test_headers_are_looked_for_where_this_python_would_have_them() -> None:
    assert f"python{sys.version_info.major}.{sys.version_info.minor}" in devices.header_folder()
