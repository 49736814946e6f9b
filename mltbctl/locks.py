"""Locks for Python: Locks (single calls) and HeldLock, one grant. What extends itself is in lock_keeper.py.

What a holder may rely on is measured on its own clock from before its request left: the daemons count a lock's time
from a later moment, so it ends here before anybody else can get it there.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from mltb_transport.limits import LOCK_TTL_S, LOCK_WAIT_S
from mltbctl.clock import boottime
from mltbctl.errors import LockLost, LockNotAcquired, MltbError, UnknownOutcome
from mltbctl.steps import Ask, Retreat, Steps

if TYPE_CHECKING:
    from mltbctl.lines import Lines

RATE = 1e-3
"""How much faster or slower than real time a clock may run."""
RESERVE_S_MAX = 0.25
"""What is kept back for a thread that is scheduled late; less where the lock is short."""


def proven_s(ttl: float, reserve_s: float) -> float:
    """How long after the request a holder can prove that it holds, whatever the clocks do within RATE."""
    return (ttl / (1 + RATE) - reserve_s) * (1 - RATE)


class HeldLock:
    """One grant of a lock. `token` is the fencing token: it grows with every grant."""

    __slots__ = ("_until", "extend_s", "holder", "lock_id", "name", "reserve_s", "token", "ttl")

    def __init__(self, name: str, answer: dict[str, Any], began: float, reserve_s_max: float = RESERVE_S_MAX) -> None:
        self.name = name
        self.lock_id = str(answer["lock_id"])
        self.token = int(answer["token"])
        self.holder = str(answer.get("holder", ""))
        self.ttl = float(answer["ttl_seconds"])
        self.extend_s = min(self.ttl / 3, float(answer["extend_seconds"])) or math.inf
        """Between two extensions of a holder that extends it by itself; inf where the node wants that of nobody."""
        self.reserve_s = min(reserve_s_max, self.ttl / 10)
        self._until = began + proven_s(self.ttl, self.reserve_s)

    def __repr__(self) -> str:
        return f"HeldLock({self.name!r}, token={self.token}, remaining={self.remaining():.1f})"

    @property
    def until(self) -> float:
        """The moment, on the clock of `mltbctl.clock`, up to which it is ours for sure."""
        return self._until

    def remaining(self) -> float:
        """Seconds for which it is ours for sure; 0 when it may be somebody else's."""
        return max(0.0, self._until - boottime())

    def ended(self) -> None:
        """It is about to be given back: from now on nobody may rely on it."""
        self._until = 0.0

    def extended(self, answer: dict[str, Any], began: float) -> None:
        """Take in the answer to an extension asked for at `began`."""
        self.ttl = float(answer["ttl_seconds"])
        self.token = int(answer.get("token") or self.token)
        self._until = max(self._until, began + proven_s(self.ttl, self.reserve_s))


class LockListing(list[dict[str, Any]]):
    """What a list found. `age_seconds`: of a stale one, also where there is no lock."""

    age_seconds: float | None = None


class Locks:
    """Mutual exclusion with a time limit, first come first served.

    Where the work writes to something shared, have that refuse smaller tokens: no clock protects a holder that is
    frozen between its look at the lock and its write.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @property
    def timeout_s(self) -> float:
        """What a call may take."""
        return self._lines.timeout_s

    def acquire(
        self,
        name: str,
        *,
        ttl: float | None = None,
        wait: float = 0.0,
        delay: float | None = None,
        holder: str = "",
        reserve_s_max: float = RESERVE_S_MAX,
    ) -> HeldLock:
        """Get the lock, waiting up to `wait` seconds in line. LockNotAcquired tells who holds it.

        `ttl`: seconds after which it ends; nobody extends it: that is for `extend`, or use `Client.lock`. Without
        one, DISTRIBUTED_LOCK_DEFAULT_TTL of the node that answers. `delay`: seconds for which nobody gets the lock
        after it ran out (not after a release). `holder`: shown to others; by default host and pid.
        """
        return self._lines.play(acquiring(name, ttl, wait, delay, holder, reserve_s_max))

    def extend(self, held: HeldLock, ttl: float | None = None, *, timeout: float | None = None) -> HeldLock:
        """Start its time anew, or with a longer `ttl`; `held` knows. LockLost when it is not held any more."""
        return self._lines.play(extending(held, ttl, timeout))

    def release(self, held: HeldLock, *, timeout: float | None = None) -> bool:
        """Give it back; False when it was not held any more."""
        return self._lines.play(releasing(held, timeout))

    def show(self, name: str, *, stale: bool = False) -> dict[str, Any] | None:
        """Holder (None while a delay keeps it closed), lock_id, token, ttl_seconds, remaining_seconds (the
        leader's estimate, None where another node answers), since, waiting (how many), waiters (of them, as many
        as one answer holds), and of a stale one age_seconds; None when nobody has to do with it."""
        return self._lines.play(showing(name, stale))

    def list(self, prefix: str = "", *, stale: bool = False) -> LockListing:
        """The locks that are held and whose names begin with `prefix`, as `show` has them, with the first few waiters.

        A list longer than one answer is put together from several.
        """
        return self._lines.play(listing(prefix, stale))


# -- step by step ----------------------------------------------------------------------------------------------------


def acquiring(
    name: str,
    ttl: float | None,
    wait: float = 0.0,
    delay: float | None = None,
    holder: str = "",
    reserve_s_max: float = RESERVE_S_MAX,
) -> Steps[HeldLock]:
    """As Locks.acquire; so for each below."""
    check_times(ttl, wait)
    began = boottime()
    params: dict[str, Any] = {"name": name, "wait": wait, "holder": holder or myself()}
    params |= {key: seconds for key, seconds in (("ttl", ttl), ("delay", delay)) if seconds is not None}
    retreat = Retreat({"wait": 0.0}, lambda late: _release_of(name, late))
    answer = yield Ask("lock_acquire", params, changes=True, wait_s=wait, retreat=retreat)
    if not answer["acquired"]:
        raise _not_acquired(name, answer.get("holder"))
    held = HeldLock(name, answer, began, reserve_s_max)
    if boottime() - began > held.ttl / 3:
        # It was granted at some moment since `began`: only a fresh extension shows that it is still ours.
        try:
            yield from extending(held, retreat=Retreat({}, lambda _: ("lock_release", _named(held)), begun=True))
        except LockLost as lost:
            raise LockNotAcquired(lost.message, lost.hint, details={"name": name, "holder": None}) from lost
        except MltbError as error:
            # Whatever became of the extension: the lock itself was granted, and that must not read as undone.
            why = f"`{name}` was acquired, but not in time to be sure of it: {error.message}"
            raise UnknownOutcome(why, f"it runs out by itself; run `mltbctl lock show {name}`") from error
    return held


def extending(
    held: HeldLock, ttl: float | None = None, timeout_s: float | None = None, retreat: Retreat | None = None
) -> Steps[HeldLock]:
    began = boottime()
    params = {**_named(held), **({} if ttl is None else {"ttl": ttl})}
    answer = yield Ask("lock_extend", params, changes=True, timeout_s=timeout_s, retreat=retreat)
    if not answer["extended"]:
        raise LockLost(f"`{held.name}` is no longer held by this holder", f"run `mltbctl lock show {held.name}`")
    held.extended(answer, began)
    return held


def releasing(held: HeldLock, timeout_s: float | None = None) -> Steps[bool]:
    held.ended()
    answer = yield Ask("lock_release", _named(held), changes=True, timeout_s=timeout_s)
    return bool(answer["released"])


def showing(name: str, stale: bool) -> Steps[dict[str, Any] | None]:
    answer = yield Ask("lock_show", {"name": name, **({"stale": True} if stale else {})})
    return None if answer["lock"] is None else _aged(answer["lock"], answer)


def listing(prefix: str, stale: bool) -> Steps[LockListing]:
    found = LockListing()
    params: dict[str, Any] = {"prefix": prefix, **({"stale": True} if stale else {})}
    more = True
    while more:
        answer = yield Ask("lock_list", params)
        if "after" not in params:
            found.age_seconds = answer.get("age_seconds")
        found += [_aged(lock, answer) for lock in answer["locks"]]
        more = answer["more"]
        params = {**params, "after": found[-1]["name"] if found else ""}
    return found


def _aged(lock: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """With the age that a stale answer tells."""
    return {**lock, "age_seconds": answer["age_seconds"]} if "age_seconds" in answer else lock


def _named(held: HeldLock) -> dict[str, Any]:
    return {"name": held.name, "lock_id": held.lock_id}


def _release_of(name: str, late: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """What gives back a lock that was granted to somebody who wants it no longer."""
    return ("lock_release", {"name": name, "lock_id": late["lock_id"]}) if late["acquired"] else None


def _not_acquired(name: str, holder: str | None) -> LockNotAcquired:
    """`holder` is None while a delay keeps the lock closed, or when it was given back this moment."""
    why = f"`{name}` is held by `{holder}`" if holder else f"`{name}` could not be had in time, though nobody holds it"
    return LockNotAcquired(
        why, f"run `mltbctl lock show {name}`, or wait longer", details={"name": name, "holder": holder}
    )


def check_times(ttl: float | None, wait: float) -> None:
    """ValueError for times that no daemon takes."""
    for what, seconds, (low, high) in (("ttl", ttl, LOCK_TTL_S), ("wait", wait, LOCK_WAIT_S)):
        if seconds is not None and not low <= seconds <= high:
            raise ValueError(f"{what} of {seconds} s is not within {low:g} and {high:g}")


def myself() -> str:
    """Host and pid: who holds what this process acquires."""
    return f"{os.uname().nodename}:{os.getpid()}"
