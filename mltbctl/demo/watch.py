"""What each node says of the cluster, asked from outside over its control socket, and when that changed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mltbctl.client import Client
from mltbctl.demo.runs import now_ns
from mltbctl.errors import MltbError

POLL_S = 0.05
CALL_S = 1.0
HISTORY_MAX = 20_000
"""Changes kept; the oldest are forgotten first."""
UP = frozenset({"ACTIVE", "LEADER"})
"""States of a node that takes part."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The parts of `status` the demo looks at."""

    leader: str | None
    term: int
    has_quorum: bool
    nodes: tuple[tuple[str, str], ...]
    """(node, state), in the order of the ids."""
    owner: str | None
    token: int
    workload: str
    """State of the workload."""

    @classmethod
    def of(cls, status: Mapping[str, Any], workload: str = "main") -> Picture:
        """Takes what it needs of `status -o json`. KeyError, TypeError or ValueError if that is not there."""
        cluster = status["cluster"]
        placed = {found["name"]: found for found in status["workloads"]}.get(workload, {})
        return cls(
            leader=cluster["leader"],
            term=int(cluster["term"]),
            has_quorum=bool(cluster["quorum"]["has_quorum"]),
            nodes=tuple(sorted((node["id"], node["state"]) for node in status["nodes"])),
            owner=placed.get("owner"),
            token=int(placed.get("token") or 0),
            workload=placed.get("state", "STOPPED"),
        )

    def state_of(self, node: str) -> str:
        """The state of a node, empty if it is not known here."""
        return dict(self.nodes).get(node, "")

    def is_settled(self, nodes: Collection[str]) -> bool:
        """Whether exactly these nodes take part, one leads them, and the workload runs."""
        up = {node for node, state in self.nodes if state in UP}
        return self.has_quorum and self.leader is not None and up >= set(nodes) and self.workload == "RUNNING"


@dataclass(frozen=True, slots=True)
class View:
    """What `node` said: asked and answered at these instants. The picture is None when it did not answer."""

    node: str
    asked_ns: int
    answered_ns: int
    picture: Picture | None


class Watch:
    """Polls every node from a thread of its own. Use as a context: leaving it ends the threads."""

    def __init__(self, sockets: Mapping[str, Path]) -> None:
        """`sockets`: the control socket of each node; they need not exist yet."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._latest: dict[str, View] = {}
        self._changes: deque[View] = deque(maxlen=HISTORY_MAX)
        self._threads = [
            threading.Thread(target=self._poll, args=(node, str(path)), name=f"watch {node}", daemon=True)
            for node, path in sockets.items()
        ]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def latest(self) -> dict[str, View]:
        """The newest view of each node that was asked."""
        with self._lock:
            return dict(self._latest)

    def pictures(self, after_ns: int, nodes: Collection[str]) -> dict[str, Picture]:
        """What these nodes say, of those that answered a question asked after `after_ns`."""
        views = [view for view in self.latest().values() if view.node in nodes and view.asked_ns > after_ns]
        return {view.node: view.picture for view in views if view.picture is not None}

    def first(self, after_ns: int, nodes: Collection[str], holds: Callable[[Picture], bool]) -> int | None:
        """When one of these nodes first said something of which this holds, in ns; None if none did."""
        with self._lock:
            changes = list(self._changes)
        for view in changes:
            if view.answered_ns <= after_ns or view.node not in nodes or view.picture is None:
                continue
            if holds(view.picture):
                return view.answered_ns
        return None

    def _poll(self, node: str, socket: str) -> None:
        with Client(socket, timeout=CALL_S) as client:
            while not self._stop.wait(POLL_S):
                asked_ns = now_ns()
                try:
                    picture = Picture.of(client.status())
                except MltbError:
                    picture = None
                self.note(View(node, asked_ns, now_ns(), picture))

    def note(self, view: View) -> None:
        """Takes a view in: the newest of its node."""
        with self._lock:
            before = self._latest.get(view.node)
            self._latest[view.node] = view
            if before is None or before.picture != view.picture:
                self._changes.append(view)
