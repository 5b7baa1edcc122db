"""Whether this machine can reach the others of its world, and how the processes wait for each other. Loads no torch.

They wait in Python: no signal reaches a main thread in torch's own waits, and these do not say who is missing.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil

from trainer.exits import ABORTED, RunEndedError
from trainer.world import World

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store  # noqa: TID251 - the type alone

TIMEOUT = timedelta(minutes=10)  # of a wait for a missing rank
PATIENCE_S = 10.0  # until the missing ones are named

GLOO = "GLOO_SOCKET_IFNAME"
NCCL = "NCCL_SOCKET_IFNAME"

_ANYWHERE = "192.0.2.1"  # reserved by RFC 5737, so it is reached by the default route


class NotMetError(RunEndedError):
    """The processes of the run have not met; the message says who is missing."""

    code = ABORTED


def problems(world: World, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Why this process cannot reach rank 0; asks the name server, but no other process."""
    if world.launcher == "python":
        return []
    interfaces = [name for _, name in socket.if_nameindex()]
    return [*interface_problems(environment, interfaces), *address_problems(world)]


def interface_problems(environment: Mapping[str, str], interfaces: Sequence[str]) -> Iterator[str]:
    """Variables that name network interfaces which this machine lacks."""
    for name, known in ((GLOO, _gloo_accepts), (NCCL, _nccl_accepts)):
        value = environment.get(name, "")
        if value and not known(value, interfaces):
            yield (
                f"{name} is {value!r}, but {socket.gethostname()} has no such network interface; "
                f"it has {', '.join(interfaces)}"
            )


def address_problems(world: World) -> Iterator[str]:
    """An address of rank 0 that this machine cannot resolve."""
    try:
        socket.getaddrinfo(world.address, world.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter if no host can have that name
        yield (
            f"MASTER_ADDR is {world.address!r}, which {socket.gethostname()} cannot find ({error}); "
            "expected a name or an address of rank 0's machine that every machine of the run knows"
        )


def choose_interface(world: World, environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Set GLOO_SOCKET_IFNAME where gloo would offer other machines a loopback address; returns a line for the user.

    Gloo takes the address of this machine's own name, and many machines resolve that to 127.0.1.1.
    """
    if world.world_size == world.local_world_size or environment.get(GLOO) or _is_loopback(world.address):
        return None
    name = socket.gethostname()
    address = own_address(name)
    if not _is_loopback(address):
        return None
    routes = [route for target in (world.address, _ANYWHERE) if (route := _source(target, world.port))]
    if not (interface := outward(interfaces(), routes)):
        return f"{name} resolves to {address}, which other machines cannot reach; set {GLOO} to a network interface"
    environment[GLOO] = interface
    return f"{name} resolves to {address}, which other machines cannot reach: gloo uses {interface} ({GLOO})"


def find_main(world: World) -> None:
    """Wait until something listens at the address where the processes meet.

    Raises:
        NotMetError: Nothing does within `TIMEOUT`.
    """
    where = f"{world.address}:{world.port}"
    if world.is_main and world.world_size > 1:
        sys.stderr.write(f"waiting at {where} for {world.world_size} processes\n")
    missing = f"rank {world.rank} on {socket.gethostname()}: rank 0 does not answer at {where}"
    _wait(lambda: world.is_main or _listens(world), lambda: missing, world)


def await_all(store: "Store", world: World, note: str) -> list[bytes]:
    """Show all processes a note, and wait for theirs; returns all by rank (collective).

    Raises:
        NotMetError: A rank has not come within `TIMEOUT`.
    """
    keys = [f"place/{rank}" for rank in range(world.world_size)]
    store.set(keys[world.rank], note)
    if store.add("arrived", 1) == world.world_size:
        store.set("complete", "")

    def missing() -> str:
        if any(store.check([key]) for key in keys[: world.rank]):
            return ""  # that one says it
        ranks = [str(rank) for rank, key in enumerate(keys) if not store.check([key])]
        return f"missing of {world.world_size}: rank {', '.join(ranks[:8])}{', ...' * (len(ranks) > 8)}"

    _wait(lambda: store.check(["complete"]), missing, world)
    return store.multi_get(keys)


def own_address(name: str) -> str:
    """The address that gloo uses for a machine of this name: the first that can be bound, or else loopback."""
    with suppress(OSError, UnicodeError):
        for family, kind, protocol, _, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
                return str(address[0])
    return "127.0.0.1"


def outward(interfaces: Mapping[str, str], routes: Sequence[str]) -> str | None:
    """The interface, of those with these IPv4 addresses, by which other machines reach this one; None if unknown.

    `routes`: addresses that this machine sends from, the most certain first.
    """
    others = {address: name for name, address in interfaces.items() if not _is_loopback(address)}
    routed = [others[route] for route in routes if route in others]
    return next(iter(routed or (others.values() if len(others) == 1 else [])), None)


def interfaces() -> dict[str, str]:
    """IPv4 address of each network interface that has one."""
    addresses = ((name, one) for name, of_it in psutil.net_if_addrs().items() for one in of_it)
    return {name: one.address for name, one in addresses if one.family == socket.AF_INET}


def _wait(met: Callable[[], bool], missing: Callable[[], str], world: World) -> None:
    begun, patience, pause = monotonic(), PATIENCE_S, 0.01
    advice = f"""
  each of the {world.world_size} tasks of this srun step must run the command; in a shell of srun --pty, \
srun --overlap --ntasks={world.world_size} python -m trainer ..., or --ntasks=1 for a single process"""
    while not met():
        if monotonic() > begun + TIMEOUT.total_seconds():
            raise NotMetError(f"{missing() or 'a process is missing'}; the same command starts again")
        if monotonic() > begun + patience and (text := missing()):
            sys.stderr.write(f"{text}{advice if world.launcher == 'srun' else ''}\n")
            patience = TIMEOUT.total_seconds()
        sleep(pause)
        pause = min(1.5 * pause, 0.5)


def _listens(world: World) -> bool:
    with suppress(OSError), socket.create_connection((world.address, world.port), timeout=5):
        return True
    return False


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):  # a name
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def _source(target: str, port: int) -> str | None:
    """The IPv4 address from which this machine would send there; nothing is sent."""
    with suppress(OSError, UnicodeError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, port))
        return str(probe.getsockname()[0])
    return None


def _gloo_accepts(value: str, interfaces: Sequence[str]) -> bool:
    """All of the names, separated by commas, must exist."""
    return all(name in interfaces for name in value.split(","))


def _nccl_accepts(value: str, interfaces: Sequence[str]) -> bool:
    """Some interface must begin with one of the names; with `=` before the list, equal it; with `^`, equal none."""
    if value.startswith("^"):
        return True
    exact = value.startswith("=")
    names = tuple(part.partition(":")[0] for part in value.removeprefix("=").split(","))
    return any(interface in names if exact else interface.startswith(names) for interface in interfaces)
