"""Where the others reach this node, while no route tells: a machine may start before its network does.

Without a route nobody can be told a wrong address, so the node starts all the same: alone it may be a majority. As soon
as there is a route the daemon ends and its guard starts the next one, which derives the address from it. Where that
takes too long again, as a slow resolver does, it goes by the address that was found.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from mltb_transport.addresses import look_up
from mltbd.config.derive import ANYWHERE, is_loopback
from mltbd.config.layers import Sourced
from mltbd.config.machine import ELSEWHERE, outward_address
from mltbd.config.settings import Settings

LOOK_S = 0.5
"""Between two looks for a route."""
FILE = "route"
"""Beside the journal: the address that a route was found from."""
ADDRESS_CHARS_MAX = 64
START_S = 1.0
"""How long names may take to be looked up before the node starts: a resolver may not answer."""
_NO_PORT = 9
log = logging.getLogger("mltbd")


def is_missing(settings: Settings, advertised: Sourced) -> bool:
    """It listens everywhere, and neither the operator nor a route says where it is reached.

    Where all seeds are on this machine nobody else is to reach it. `advertised`: CLUSTER_ADVERTISE_ADDRESS as it runs.
    """
    derived = settings.address in ANYWHERE and not advertised.explicit and is_loopback(settings.advertise_address)
    return derived and (not settings.seeds or any(not is_loopback(host) for host, _ in settings.seeds))


class Route:
    """Looks for one, to any of the seeds or of those that were met, by name too, or to the world."""

    def __init__(
        self,
        settings: Settings,
        advertised: Sourced,
        met: Iterable[tuple[str, int]],
        state_dir: Path,
        outward: Callable[[str], str | None] = outward_address,
    ) -> None:
        self._settings = settings
        self._places = {*settings.seeds, *met, (ELSEWHERE, _NO_PORT)}
        self._path = state_dir / FILE
        self._outward = outward
        self._family = socket.AF_INET if settings.address == ANYWHERE[0] else socket.AF_UNSPEC
        self._missing = is_missing(settings, advertised)
        self._task: asyncio.Task[None] | None = None

    async def settle(self) -> Settings:
        """The settings with what is found at once: where names have to be looked up, or only those met are left."""
        settings = self._settings
        if not self._missing:
            return settings
        try:
            async with asyncio.timeout(START_S):
                found = await self._address()
        except TimeoutError:
            found = None
        found = found or _kept(self._path)
        if found is None:
            log.warning("no route to the others: nobody can reach this node until there is one")
            return settings
        self._missing = False
        seeds = tuple(seed for seed in settings.seeds if seed != (found, settings.port))
        return replace(settings, advertise_address=found, seeds=seeds)

    def watch(self, anew: Callable[[], None]) -> None:
        """Calls it once there is a route; never where one was found already, or none is needed."""
        if self._missing:
            self._task = asyncio.get_running_loop().create_task(self._watch(anew))

    def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self, anew: Callable[[], None]) -> None:
        while True:
            if found := await self._address():
                try:
                    self._path.write_text(found)
                except OSError as error:
                    log.warning("cannot keep the address of this node: %s", error)
                log.info("there is a route, from %s: the daemon starts anew, the workload runs on", found)
                anew()
                return
            await asyncio.sleep(LOOK_S)

    async def _address(self) -> str | None:
        looks = [asyncio.ensure_future(self._towards(*place)) for place in self._places]
        try:
            for look in asyncio.as_completed(looks):
                if found := await look:
                    return found
        finally:
            for each in looks:
                each.cancel()
        return None

    async def _towards(self, host: str, port: int) -> str | None:
        try:
            known = await look_up(asyncio.get_running_loop(), host, port, self._family)
        except (OSError, ValueError):  # ValueError: not a host name at all
            return None
        ways = map(self._outward, known)
        return next((way for way in ways if way and not is_loopback(way)), None)


def _kept(path: Path) -> str | None:
    """The address an earlier run found; None where it is no longer one of this machine."""
    try:
        with path.open() as file:
            address = ipaddress.ip_address(file.read(ADDRESS_CHARS_MAX))
        if address.is_loopback or address.is_unspecified:
            return None
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except (OSError, ValueError):
        return None
    return str(address)
