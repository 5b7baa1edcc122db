import socket

import pytest

from trainer import network
from trainer.world import World

INTERFACES = ["lo", "eth0", "eth1", "ib0"]


def pair(address: str) -> World:
    return World(0, 2, 0, 1, address, 29500, "torchrun")


def test_this_machine_finds_itself() -> None:
    assert network.problems(pair("127.0.0.1"), {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}) == []


def test_a_world_of_one_meets_nobody() -> None:
    assert network.problems(World(), {"GLOO_SOCKET_IFNAME": "nowhere"}) == []


@pytest.mark.parametrize("variable", ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"])
def test_an_interface_that_is_not_there_is_named_with_those_that_are(variable: str) -> None:
    (problem,) = network.problems(pair("127.0.0.1"), {variable: "nowhere7"})
    assert problem.startswith(f"{variable} is 'nowhere7', but {socket.gethostname()} has no such network interface")
    assert "it has lo" in problem


@pytest.mark.parametrize("address", ["no host", "-", "a" * 70, "..", "300.1.2.3:4"])
def test_an_address_that_means_nothing_here_is_named(address: str) -> None:
    (problem,) = network.problems(pair(address), {})
    assert problem.startswith(f"MASTER_ADDR is {address!r}, which {socket.gethostname()} cannot find (")


@pytest.mark.parametrize(
    ("name", "value", "fine"),
    [
        ("GLOO_SOCKET_IFNAME", "", True),
        ("GLOO_SOCKET_IFNAME", "eth0", True),
        ("GLOO_SOCKET_IFNAME", "eth0,ib0", True),
        ("GLOO_SOCKET_IFNAME", "eth0,ib1", False),
        ("GLOO_SOCKET_IFNAME", "eth", False),
        ("NCCL_SOCKET_IFNAME", "eth", True),
        ("NCCL_SOCKET_IFNAME", "bond,ib0", True),
        ("NCCL_SOCKET_IFNAME", "bond", False),
        ("NCCL_SOCKET_IFNAME", "=eth0", True),
        ("NCCL_SOCKET_IFNAME", "=eth", False),
        ("NCCL_SOCKET_IFNAME", "^docker,lo", True),
        ("NCCL_SOCKET_IFNAME", "ib0:1", True),
        ("ANOTHER_IFNAME", "bond", True),
    ],
)
def test_each_library_reads_its_variable_in_its_own_way(name: str, value: str, fine: bool) -> None:
    assert (list(network.interface_problems({name: value}, INTERFACES)) == []) == fine
