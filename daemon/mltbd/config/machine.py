"""What the machine says of itself: its name, its address as seen from outside, and who runs us."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

ELSEWHERE = "192.0.2.1"
"""An address that is nobody's (RFC 5737): it stands for the rest of the world when a route is asked for."""
ELSEWHERE_V6 = "2001:db8::1"
"""The same for IPv6 (RFC 3849)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`outward`: the local address from which a given IP address would be reached; None without a route."""

    hostname: str
    root: bool
    outward: Callable[[str], str | None]


def this_machine() -> Machine:
    """The machine this process runs on."""
    return Machine(os.uname().nodename, os.geteuid() == 0, outward_address)


def outward_address(target: str) -> str | None:
    """The local address from which `target` (an IP address) would be reached. Sends nothing."""
    import socket  # Slow to load, and most nodes bind the address they mean.

    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None
