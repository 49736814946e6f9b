"""Addresses: which may be bound without keys, what libzmq takes, and what stands behind a name."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from typing import TYPE_CHECKING

from mltb_transport.bus import BindError, InsecureBind

if TYPE_CHECKING:
    import asyncio


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a socket bound here. Names are looked up."""
    try:
        return ipaddress.ip_address(bindable(address)).is_loopback
    except ValueError:
        return False


def check_exposed(address: str, secured: bool) -> None:
    """Raises InsecureBind for a bind beyond loopback without keys."""
    if secured or is_loopback(address):
        return
    raise InsecureBind(
        f"`{address}` can be reached from other machines, but there is no cluster secret",
        "run `mltbctl secret new` and set CLUSTER_SECRET on every node, or set CLUSTER_INSECURE=True",
    )


def spelled(host: str, port: int) -> str:
    """`host:port` as people write it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bindable(address: str) -> str:
    """The numeric form of an address to listen on. Raises BindError for a name without one."""
    if address in ("", "*"):
        return "0.0.0.0"
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise BindError(f"cannot listen on `{address}`: it has no address") from error
    return str(found[0][4][0])


async def look_up(loop: asyncio.AbstractEventLoop, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[str]:
    """The numeric addresses of a name. Raises OSError; ValueError for what is no host name at all.

    In the executor of the loop: whose `getaddrinfo` may use threads that the process has to wait for (uvloop's does).
    """
    call = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
    return [str(each[4][0]) for each in await loop.run_in_executor(None, call)]
