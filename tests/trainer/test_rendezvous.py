import socket

import pytest

from trainer import rendezvous
from trainer.world import World

INTERFACES = ["lo", "eth0", "eth1", "ib0"]


def pair(address: str) -> World:
    return World(0, 2, 0, 1, address, 29500, "torchrun")


def test_this_machine_finds_itself() -> None:
    assert rendezvous.problems(pair("127.0.0.1"), {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}) == []


def test_a_world_of_one_meets_nobody() -> None:
    assert rendezvous.problems(World(), {"GLOO_SOCKET_IFNAME": "nowhere"}) == []


@pytest.mark.parametrize("variable", ["GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"])
def test_an_interface_that_is_not_there_is_named_with_those_that_are(variable: str) -> None:
    (problem,) = rendezvous.problems(pair("127.0.0.1"), {variable: "nowhere7"})
    assert problem.startswith(f"{variable} is 'nowhere7', but {socket.gethostname()} has no such network interface")
    assert "it has lo" in problem


@pytest.mark.parametrize("address", ["no host", "-", "a" * 70, "..", "300.1.2.3:4"])
def test_an_address_that_means_nothing_here_is_named(address: str) -> None:
    (problem,) = rendezvous.problems(pair(address), {})
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
    assert (list(rendezvous.interface_problems({name: value}, INTERFACES)) == []) == fine


@pytest.mark.parametrize(
    ("addresses", "routes", "expected"),
    [
        ({"lo": "127.0.0.1", "eth0": "10.0.0.7", "ib0": "10.1.0.7"}, ["10.1.0.7", "10.0.0.7"], "ib0"),
        # rank 0's machine: the route to itself is loopback, so the default route's
        ({"lo": "127.0.0.1", "eth0": "10.0.0.1", "docker0": "172.17.0.1"}, ["127.0.0.1", "10.0.0.1"], "eth0"),
        ({"lo": "127.0.0.1", "eth0": "10.0.0.1"}, ["127.0.0.1"], "eth0"),  # without a default route
        ({"lo": "127.0.0.1", "eth0": "10.0.0.1", "ib0": "10.1.0.1"}, [], None),
        ({"lo": "127.0.0.1"}, ["127.0.0.1"], None),
        ({}, [], None),
    ],
)
def test_the_interface_of_the_route_to_rank_0_is_chosen(
    addresses: dict[str, str], routes: list[str], expected: str | None
) -> None:
    assert rendezvous.outward(addresses, routes) == expected


def test_this_machine_has_a_loopback_interface() -> None:
    assert rendezvous.interfaces()["lo"] == "127.0.0.1"


@pytest.mark.parametrize("name", ["localhost", "no.such.host.invalid"])
def test_gloo_takes_loopback_for_a_name_that_means_no_other_address(name: str) -> None:
    assert rendezvous.own_address(name) in ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("address", "own", "given", "said"),
    [
        ("10.255.0.9", "127.0.1.1", {}, "resolves to 127.0.1.1"),
        ("10.255.0.9", "10.0.0.7", {}, None),
        ("10.255.0.9", "127.0.1.1", {"GLOO_SOCKET_IFNAME": "eth0"}, None),
        ("localhost", "127.0.1.1", {}, None),  # all processes are on this machine
    ],
)
def test_a_host_name_that_means_loopback_is_said_and_replaced(
    address: str, own: str, given: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (own, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)
    environment = dict(given)
    line = rendezvous.choose_interface(pair(address), environment)
    assert (line is None) == (said is None)
    assert said is None or (line and said in line and "GLOO_SOCKET_IFNAME" in line)
    if said and (outside := set(rendezvous.interfaces()) - {"lo"}):
        assert environment["GLOO_SOCKET_IFNAME"] in outside
    else:
        assert environment == given


def test_processes_of_one_machine_need_no_other_address() -> None:
    assert rendezvous.choose_interface(World(0, 2, 0, 2, "node1", 29500, "torchrun"), {}) is None
