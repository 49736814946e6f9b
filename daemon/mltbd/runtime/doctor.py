"""What a node can tell of its own state of health, and what it gathers from the others: facts, no verdicts.

`facts`: this node. `survey`: the members, asked by this one, in pages. `clock`: to compare clocks. `reload`: as SIGHUP.
The verdicts are `mltbctl doctor`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from mltb_transport.access import fingerprint
from mltb_transport.addresses import spelled
from mltb_transport.bus import REFUSED, Bus
from mltbd.config.options import OPTIONS
from mltbd.config.settings import Loaded
from mltbd.runtime import level_views, views
from mltbd.runtime.check_kinds import Failed, aside
from mltbd.runtime.clock import boottime, wall_ms
from mltbd.runtime.clocks import Clocks, Sample
from mltbd.runtime.control import Control
from mltbd.runtime.driver import Driver
from mltbd.runtime.notify import watchdog_s
from mltbd.runtime.recent import Recent
from mltbd.runtime.shield import Done, shielded
from mltbd.runtime.unmet import unmet

log = logging.getLogger("mltbd")

UNLINKED = "none"  # among many nodes each keeps lines to some: of the rest it hears from those
LAG_LOOK_S = 0.5
REFUSED_FOR_S = 2.0
"""So long a peer refuses our key before we warn of it."""
LAG_LOOKS = 120
"""Over so many looks the worst lateness of the loop is told."""
CLOCKS_EVERY_S = 30.0
MARK_EVERY_S = 30.0
"""Frames and connections that should not be are told for ten minutes."""
PEER_ANSWERS_S = 2.0
CLOCK_S_MAX = 1e12
CLOCKS_MAX = 64
"""With so many members the clock is compared."""
PAGE_MEMBERS = 16
"""So many members are asked for one page of a survey."""
PAGE_CHARS = 128 * 1024
"""At so many characters a page ends: it has to fit one frame, whatever the next member tells."""
ANSWER_LEAVES_S = 0.2
PROBE_WRITES = 3
PROBE_BYTES = 4096
PROBE_ANSWERS_S = 1.0
PROBES_WAITING_MAX = 16
PER_NODE = frozenset(
    {"CLUSTER_NODE_ID", "CLUSTER_ADDRESS", "CLUSTER_ADVERTISE_ADDRESS", "CLUSTER_PORT", "CLUSTER_SEED_NODES"}
    | {"CLUSTER_NODE_PRIORITY", "CLUSTER_ROLE", "CLUSTER_BOOTSTRAP", "CLUSTER_SECRET_FILE", "HA_LOG_LEVEL"}
    | {"HA_DEBUG_MODE"}
)
"""Options that may well differ between nodes."""
COUNTERS = (
    "auth_denied", "handshake_failed", "peer_refused", "frame_error", "own_name", "wrong_cluster", "misdelivered",
)  # fmt: skip


def comparable(loaded: Loaded) -> dict[str, Any]:
    """The options that ought to be the same on every node, as they run here. No secret among them."""
    found = {}
    for name, sourced in loaded.effective.items():
        if name in OPTIONS and name not in PER_NODE and OPTIONS[name].built and not OPTIONS[name].secret:
            found[name] = list(sourced.value) if isinstance(sourced.value, tuple) else sourced.value
    for workload in loaded.workloads:
        found[f"workload.{workload.name}.stop_timeout"] = workload.stop_timeout_s
    return found


def probe_disk(directory: Path) -> float:
    """Seconds that a small write takes to be on this disk, the middle one of three. OSError if it cannot be told."""
    path = directory / f"probe-{os.getpid()}"
    taken = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(PROBE_WRITES):
            began = time.monotonic()
            os.pwrite(fd, os.urandom(PROBE_BYTES), 0)
            getattr(os, "fdatasync", os.fsync)(fd)
            taken.append(time.monotonic() - began)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
    return sorted(taken)[PROBE_WRITES // 2]


def disk_facts(directory: Path) -> dict[str, Any]:
    """How much room there is on this disk, and how slow it is; or what is wrong with it. It may hang."""
    told: dict[str, Any] = {}
    try:
        found = os.statvfs(directory)
        told["free_bytes"] = found.f_bavail * found.f_frsize
        told["free_percent"] = round(100 * found.f_bavail / max(1, found.f_blocks), 1)
        told["fdatasync_ms"] = round(probe_disk(directory) * 1000, 2)
    except OSError as error:
        told["error"] = (error.strerror or str(error)).lower()
    return told


class Guarded(Protocol):
    """What the guard told of itself and of who watches it."""

    kill_path: str
    daemon_restarts: int
    supervised: bool


class CheckUp:
    """Lives as long as the daemon; `open` once there is a driver."""

    def __init__(
        self,
        loaded: Loaded,
        guard: Guarded,
        state_dir: Path,
        environ: Mapping[str, str],
        reload: Callable[[], None],
    ) -> None:
        self._loaded = loaded
        self._guard = guard
        self._state_dir = state_dir
        self._watchdog_s = watchdog_s(environ)
        self._reload = reload
        self._clocks = Clocks()
        self._lags: deque[float] = deque(maxlen=LAG_LOOKS)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, driver: Driver, control: Control, bus: Bus) -> None:
        """Answer from now on. Inside the loop."""
        self._loop = asyncio.get_running_loop()
        self._driver, self._control, self._bus = driver, control, bus
        self._recent = Recent(bus.counters, COUNTERS)
        self._refusing: dict[tuple[str, int], float] = {}  # since when; for ever: it has been told
        control.extras |= {
            "facts": self._facts,
            "survey": self._survey,
            "clock": self._clock,
            "reload": self._reloaded,
        }
        self._look_again()
        self._compare_clocks()
        self._timers["recent"] = self._loop.call_later(MARK_EVERY_S, self._mark)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for probe in self._probes:
            probe.cancel()
        self._loop = None

    # -- methods ------------------------------------------------------------------------------------------------

    def _clock(self, params: dict[str, Any], answer: Done) -> None:
        del params
        answer(True, {"boottime": boottime(), "wall": wall_ms() / 1000, "incarnation": self._driver.node.incarnation})

    def _reloaded(self, params: dict[str, Any], answer: Done) -> None:
        del params
        answer(True, {"node": self._driver.node.me})
        assert self._loop is not None
        self._timers["reload"] = self._loop.call_later(ANSWER_LEAVES_S, self._reload)  # The daemon may end there.

    def _facts(self, params: dict[str, Any], answer: Done) -> None:
        if params.get("quick"):
            answer(True, self._here())
            return
        if len(self._probes) >= PROBES_WAITING_MAX:
            answer(True, self._here() | {"disk": {"error": "too many ask at once"}})
            return
        probe = asyncio.ensure_future(self._with_disk(answer))
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _with_disk(self, answer: Done) -> None:
        """A disk may hang, so a thread asks it: one for all who wait."""
        try:
            async with asyncio.timeout(PROBE_ANSWERS_S):
                disk = await aside(("disk", self._state_dir), partial(disk_facts, self._state_dir))
        except (TimeoutError, Failed) as error:
            disk = {"error": str(error) or "it does not answer"}
        shielded(answer, lambda: answer(True, self._here() | {"disk": disk}))()

    def _survey(self, params: dict[str, Any], answer: Done) -> None:
        """The facts of the members, by name, that come after `after`; None, and why, for those that do not answer.

        A page: `more` says whether the next one is to be asked for, after `last`.
        """
        after = str(params.get("after") or "")
        unknown = unmet(self._driver.node)
        members = sorted(name for name in {*self._members(), *unknown} if name > after)
        asked = members[:PAGE_MEMBERS]
        found: dict[str, tuple[bool, dict[str, Any]]] = {}

        def told(node: str, ok: bool, body: dict[str, Any]) -> None:
            found[node] = ok, body
            if len(found) == len(asked):
                answer(True, self._page(found, members[-1]))

        heard = shielded(answer, told)
        if not asked:
            answer(True, self._page({}, after))
        quick = {"quick": bool(params.get("quick"))}
        for name in asked:
            if name in unknown:
                heard(name, False, {"message": "nobody has met it since this node started"})
            elif name != self._driver.node.me:
                self._control.ask(name, "facts", PEER_ANSWERS_S, partial(heard, name), quick)
        if self._driver.node.me in asked:
            self._facts(quick, partial(heard, self._driver.node.me))

    def _page(self, found: dict[str, tuple[bool, dict[str, Any]]], end: str) -> dict[str, Any]:
        """As many of these answers as fit, at least one."""
        facts: dict[str, dict[str, Any] | None] = {}
        silent: dict[str, str] = {}
        size = 0
        for node, (ok, body) in sorted(found.items()):
            size += len(json.dumps(body))
            if facts and size > PAGE_CHARS:
                break
            facts[node] = body if ok else None
            if not ok:
                silent[node] = str(body.get("message", ""))
        clocks = {node: clock for node, clock in self._clocks.report().items() if node in facts}
        last = max(facts, default=end)
        page = {"node": self._driver.node.me, "facts": facts, "silent": silent, "clocks": clocks}
        return page | {"last": last, "more": last < end}

    # -- facts --------------------------------------------------------------------------------------------------

    def _members(self) -> list[str]:
        return [member.record.node for member in self._driver.node.membership.members(boottime())]

    def _here(self) -> dict[str, Any]:
        node, now = self._driver.node, boottime()
        settings = self._loaded.settings
        assert settings is not None
        links = self._bus.connections()
        addresses = {}
        heard = {}
        for member in node.membership.members(now):
            record = member.record
            if record.node == node.me:
                continue
            addresses[record.address, record.port] = record.node
            heard[record.node] = {
                "state": member.state,
                "silent_seconds": round(member.silent_s, 3),
                "rtt_ms": None if member.rtt_s is None else round(member.rtt_s * 1000, 2),
                "link": links.get((record.address, record.port), UNLINKED),
            }
        refused = [where for where, state in links.items() if state == REFUSED]
        return {
            "node": node.me,
            "version": node.config.version,
            "protocol": level_views.member_view(node.membership.own) | {"level": node.levels.level},
            "incarnation": node.incarnation,
            "has_quorum": views.has_quorum(node, now),
            "leader": node.consensus.leader or None,
            "heard": heard,
            "refused_by": [{"address": spelled(*where), "node": addresses.get(where)} for where in refused],
            "secret": {
                "uses": fingerprint(settings.secret) if settings.secret else None,
                "also": fingerprint(settings.other_secret) if settings.other_secret else None,
                "insecure": settings.insecure,
            },
            "loop": {"worst_lag_seconds": round(max(self._lags, default=0.0), 3), "over_seconds": self._looked_s()},
            "disk": {},
            "guard": {"kill_path": self._guard.kill_path, "daemon_restarts": self._guard.daemon_restarts},
            "systemd": {"supervised": self._guard.supervised, "watchdog_seconds": self._watchdog_s},
            "options": comparable(self._loaded),
            "counters": self._recent.counted(),
            "counted": self._counted(),
        }

    def _counted(self) -> dict[str, int]:
        """All that was counted since this daemon started."""
        node = self._driver.node
        sources = {
            "bus": self._bus.counters,
            "control": self._control.counters,
            "commands": node.desk.commands.counters,
            "messages": node.counters,
            "gossip": node.membership.counters,
        }
        return {f"{by}.{what}": number for by, found in sources.items() for what, number in found.items() if number}

    def _looked_s(self) -> float:
        return len(self._lags) * LAG_LOOK_S

    # -- in the background --------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        assert self._loop is not None
        due = self._loop.time() + LAG_LOOK_S
        self._timers["lag"] = self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        if self._loop is not None:
            self._lags.append(max(0.0, self._loop.time() - due))
            self._heed_refusals()
            self._look_again()

    def _heed_refusals(self) -> None:
        """One warning for each peer that goes on to refuse our key; while secrets are changed it may do so once."""
        now = boottime()
        links = self._bus.connections()
        self._refusing = {where: self._refusing.get(where, now) for where, state in links.items() if state == REFUSED}
        for where, since in self._refusing.items():
            if since <= now - REFUSED_FOR_S:
                self._refusing[where] = float("inf")
                log.warning("%s refuses our key: it has another CLUSTER_SECRET, see `mltbctl doctor`", spelled(*where))

    def _mark(self) -> None:
        if self._loop is not None:
            self._recent.mark()
            self._timers["recent"] = self._loop.call_later(MARK_EVERY_S, self._mark)

    def _compare_clocks(self) -> None:
        if self._loop is None:
            return
        members = self._members()
        self._clocks.keep(members)
        for name in members[:CLOCKS_MAX]:
            if name != self._driver.node.me:
                self._control.ask(name, "clock", PEER_ANSWERS_S, partial(self._compared, name, boottime()))
        self._timers["clocks"] = self._loop.call_later(
            CLOCKS_EVERY_S if len(members) > 1 else PEER_ANSWERS_S, self._compare_clocks
        )

    def _compared(self, node: str, asked: float, ok: bool, body: dict[str, Any]) -> None:
        now = boottime()
        theirs, wall, incarnation = (body.get(name) for name in ("boottime", "wall", "incarnation"))
        if ok and _is_clock(theirs) and _is_clock(wall) and isinstance(incarnation, int):
            rtt = now - asked
            ahead = wall - (wall_ms() / 1000 - rtt / 2)
            self._clocks.note(node, Sample(incarnation, now - rtt / 2, theirs, ahead, rtt))


def _is_clock(seconds: object) -> TypeGuard[float]:
    """What a clock can show, and what can be reckoned with."""
    return isinstance(seconds, float) and 0 <= seconds < CLOCK_S_MAX
