"""What `lock acquire` and `lock run` have in common when they ask for a lock; little else, for `run` starts often."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mltb_transport.limits import LOCK_DELAY_S, LOCK_TTL_S, LOCK_WAIT_S
from mltbctl.errors import CliError, LockNotAcquired

if TYPE_CHECKING:
    from mltbctl.client import Client


def check(
    command: str,
    *,
    ttl: float | None = None,
    ttl_min: float = LOCK_TTL_S[0],
    wait: float | None = None,
    delay: float | None = None,
) -> None:
    """A usage failure of `lock COMMAND` for times that no daemon takes."""
    times = (("ttl", ttl, (ttl_min, LOCK_TTL_S[1])), ("wait", wait, LOCK_WAIT_S), ("delay", delay, LOCK_DELAY_S))
    for option, seconds, (low, high) in times:
        if seconds is not None and not low <= seconds <= high:
            raise CliError(
                f"`--{option} {seconds:g}`: seconds from {low:g} to {high:g} are needed",
                f"run `mltbctl lock {command} --help`",
                code="usage",
            )


class Stop:
    """A signal that ends a wait. It is raised only where whoever waits gives up for it, between `arm` and `disarm`; at
    any other moment it is kept for `check`: a lock whose grant was dropped between two lines would stay taken."""

    def __init__(self) -> None:
        self._number = 0
        self._armed = False

    def arm(self) -> None:
        """From now on it may be raised, and is where it was heard before."""
        self._armed = True
        self.check()

    def disarm(self) -> None:
        """It is kept from now on."""
        self._armed = False

    def check(self) -> None:
        """Raise it, if one was heard."""
        if self._number:
            self._armed = False
            raise KeyboardInterrupt if self._number == signal.SIGINT else SystemExit(128 + self._number)

    def heard(self, number: int, _: object) -> None:
        """The handler of the signals."""
        self._number = self._number or number
        if self._armed:
            self.check()


@contextlib.contextmanager
def stoppable(client: Client, *, hold: Iterable[int] = ()) -> Iterator[Stop]:
    """SIGTERM, SIGHUP and SIGQUIT end a wait as Ctrl-C does: nobody is left standing in line. Exit code 128+n. `check`
    afterwards, where what was got can be given back. From the end on those of `hold` are blocked."""
    from mltb_transport import channel  # noqa: F401 - it could not be imported halfway.
    from mltbctl import bundling  # noqa: F401

    stop, lines = Stop(), client._lines
    by_default = {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(
        (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT), signal.SIG_DFL
    )
    heeded = {number: what for number, what in by_default.items() if signal.getsignal(number) == what}
    for number in heeded:
        signal.signal(number, stop.heard)
    lines.stop = stop
    try:
        yield stop
    finally:
        lines.stop = None
        signal.pthread_sigmask(signal.SIG_BLOCK, heeded.keys() & set(hold))
        for number, what in heeded.items():
            signal.signal(number, what)


def explained(error: LockNotAcquired) -> LockNotAcquired:
    """Where nobody holds it: what may keep it closed."""
    name = error.details["name"]
    if error.details["holder"] is not None:
        return error
    why = f"`{name}` could not be had in time: nobody holds it, but after it ran out its delay may keep it closed"
    return LockNotAcquired(why, f"run `mltbctl lock show {name}`, or wait longer", details=error.details)
