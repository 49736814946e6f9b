"""What `lock acquire` and `lock run` have in common when they ask for a lock; little else, for `run` starts often."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

from mltb_transport.limits import LOCK_DELAY_S, LOCK_TTL_S, LOCK_WAIT_S
from mltbctl.errors import CliError, LockNotAcquired


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


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGQUIT end a wait as Ctrl-C does: nobody is left standing in line. Exit code 128+n."""

    def stop(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    heeded = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)


def explained(error: LockNotAcquired) -> LockNotAcquired:
    """Where nobody holds it: what may keep it closed."""
    name = error.details["name"]
    if error.details["holder"] is not None:
        return error
    why = f"`{name}` could not be had in time: nobody holds it, but after it ran out its delay may keep it closed"
    return LockNotAcquired(why, f"run `mltbctl lock show {name}`, or wait longer", details=error.details)
