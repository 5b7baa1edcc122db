"""Whether this machine can meet the others of its world: seconds here, minutes in torch. Standard library only."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence

from trainer.world import World

GLOO = "GLOO_SOCKET_IFNAME"
NCCL = "NCCL_SOCKET_IFNAME"


def problems(world: World, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Why this process cannot meet rank 0; asks the name server, and no other process."""
    if world.launcher == "python":
        return []
    interfaces = [name for _, name in socket.if_nameindex()]
    return [*interface_problems(environment, interfaces), *address_problems(world)]


def interface_problems(environment: Mapping[str, str], interfaces: Sequence[str]) -> Iterator[str]:
    """Variables that name network interfaces of which this machine has none."""
    for name, known in ((GLOO, _gloo_knows), (NCCL, _nccl_knows)):
        value = environment.get(name, "")
        if value and not known(value, interfaces):
            yield (
                f"{name} is {value!r}, but {socket.gethostname()} has no such network interface; "
                f"it has {', '.join(interfaces)}"
            )


def address_problems(world: World) -> Iterator[str]:
    """An address of rank 0 that means nothing on this machine."""
    try:
        socket.getaddrinfo(world.address, world.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a host's name
        yield (
            f"MASTER_ADDR is {world.address!r}, which {socket.gethostname()} cannot find ({error}); "
            "expected a name or an address of rank 0's machine that every machine of the run knows"
        )


def _gloo_knows(value: str, interfaces: Sequence[str]) -> bool:
    """Gloo wants each of the names, separated by commas."""
    return all(name in interfaces for name in value.split(","))


def _nccl_knows(value: str, interfaces: Sequence[str]) -> bool:
    """NCCL wants one that begins so; `=` before the list: that is called so; `^`: any other."""
    if value.startswith("^"):
        return True
    exact = value.startswith("=")
    names = tuple(part.partition(":")[0] for part in value.removeprefix("=").split(","))
    return any(interface in names if exact else interface.startswith(names) for interface in interfaces)
