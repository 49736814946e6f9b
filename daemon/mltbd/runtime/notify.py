"""What the service manager hears of this daemon, and its watchdog: fed by events that the node has handled.

No timer feeds it: a loop that turns while the node decides nothing is as dead as one that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mltbd.core.node import Node
from mltbd.runtime.clock import boottime

STATUS_S = 1.0
"""At most so often is anything told."""
FEEDS_PER_WATCHDOG = 4
TEXT_CHARS_MAX = 200


def watchdog_s(environ: Mapping[str, str]) -> float | None:
    """WatchdogSec= of the unit; None where there is none."""
    text = environ.get("WATCHDOG_USEC", "")
    microseconds = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    return microseconds / 1e6 or None


def feed_s(environ: Mapping[str, str]) -> float | None:
    """So often it is to be fed; None where there is no watchdog."""
    watchdog = watchdog_s(environ)
    return None if watchdog is None else watchdog / FEEDS_PER_WATCHDOG


def describe(node: Node) -> str:
    """One line for `systemctl status`."""
    leader = node.consensus.leader
    leads = "leads" if leader == node.me else f"follows {leader}" if leader else "no leader"
    runs = [name for name in sorted(node.owner.workloads) if node.owner.holds_now(name, boottime())]
    work = f"runs {', '.join(runs)}" if runs else "runs nothing"
    waits = f"; {waiting}" if (waiting := node.waiting_for()) else ""
    return f"{node.me} {leads}, term {node.consensus.term}, {work}{waits}"[:TEXT_CHARS_MAX]


class Notifier:
    """`handled` is to be called after each event that the node has handled."""

    def __init__(self, tell: Callable[[list[str]], None], node: Node, environ: Mapping[str, str]) -> None:
        self._tell = tell
        self._node = node
        self._feed_s = feed_s(environ)
        self._fed_at = self._looked_at = float("-inf")
        self._status = ""
        self._is_ready = False

    def ready(self) -> None:
        """Journal open, ports bound, guard met: dependents may start."""
        self._is_ready = True
        self._status = describe(self._node)
        self._tell(["READY=1", f"STATUS={self._status}"])

    def reloading(self) -> None:
        """Until `ready` says otherwise."""
        self._tell(["RELOADING=1", f"MONOTONIC_USEC={int(_monotonic() * 1e6)}"])

    def handled(self, now: float) -> None:
        """One more decision is made; told from `ready` on."""
        if not self._is_ready or now - self._looked_at < min(STATUS_S, self._feed_s or STATUS_S):
            return
        self._looked_at = now
        lines = []
        if self._feed_s is not None and now - self._fed_at >= self._feed_s:
            self._fed_at = now
            lines.append("WATCHDOG=1")
        status = describe(self._node)
        if status != self._status:
            self._status = status
            lines += ["READY=1", f"STATUS={status}"]  # READY again: a manager whose queue was full never heard it.
        if lines:
            self._tell(lines)


def _monotonic() -> float:
    """The clock systemd compares with; not the one that counts sleep."""
    import time

    return time.monotonic()
