"""`mltbctl lock acquire|release|extend|show|list`: single calls; `lock run` is in mltbctl/lock_run.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltbctl.errors import LockNotAcquired
from mltbctl.lock_asking import check, explained, stoppable
from mltbctl.operator_name import operator_name
from mltbctl.result import ExitCode, Result
from mltbctl.tables import Cell, Column, table
from mltbctl.words import as_known, count, duration, seconds_since

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.locks import HeldLock
    from mltbctl.result import Style
    from mltbctl.session import Session

_COLUMNS = (
    Column("LOCK"),
    Column("HOLDER"),
    Column("TOKEN", right=True),
    Column("LEFT", right=True),
    Column("HELD", right=True, gives_way=2),
    Column("WAITING", right=True, gives_way=1),
)


def acquire(
    session: Session, client: Client, name: str, *, ttl: float | None, wait: float, delay: float | None, holder: str
) -> Result:
    """Get the lock; exit code 1 when somebody else holds it."""
    check("acquire", ttl=ttl, wait=wait, delay=delay)
    try:
        with stoppable(client) as stop:
            held = client.locks.acquire(name, ttl=ttl, wait=wait, delay=delay, holder=holder or operator_name())
    except LockNotAcquired as error:
        error = explained(error)
        session.say(error.message, error.hint)
        return Result({"acquired": False, "name": name, "holder": error.details["holder"]}, "", ExitCode.FAILED)
    try:
        stop.check()
    except BaseException:
        client.locks.release(held)
        raise
    return Result(
        {
            "acquired": True,
            "name": name,
            "lock_id": held.lock_id,
            "token": held.token,
            "ttl_seconds": held.ttl,
            "holder": held.holder,
        },
        lambda style: _granted(held, style),
    )


def give_back(client: Client, granted: Result) -> None:
    """Whoever asked was not told the id, and nobody else knows it: else the lock would be held for its whole ttl."""
    if granted.data["acquired"]:
        client.locks.release(_named(granted.data["name"], granted.data["lock_id"]))


def release(session: Session, client: Client, name: str, lock_id: str) -> Result:
    """Give it back; exit code 1 when that id did not hold it."""
    released = client.locks.release(_named(name, lock_id))
    if not released:
        session.say(f"`{name}` is not held by `{lock_id}`", f"run `mltbctl lock show {name}`")
    code = ExitCode.DONE if released else ExitCode.FAILED
    return Result({"released": released, "name": name}, f"released {name}" if released else "", code)


def extend(session: Session, client: Client, name: str, lock_id: str, ttl: float | None) -> Result:
    """Start its time anew; exit code 1 when that id does not hold it."""
    from mltbctl.errors import LockLost

    check("extend", ttl=ttl)
    held = _named(name, lock_id)
    try:
        client.locks.extend(held, ttl)
    except LockLost:
        session.say(f"`{name}` is not held by `{lock_id}`", f"run `mltbctl lock show {name}`")
        return Result({"extended": False, "name": name}, "", ExitCode.FAILED)
    data = {"extended": True, "name": name, "token": held.token, "ttl_seconds": held.ttl}
    return Result(data, f"extended {name} for {duration(held.ttl)}")


def show(session: Session, client: Client, name: str, *, stale: bool) -> Result:
    """Who holds the lock and who waits; exit code 1 when nobody holds it."""
    lock = client.locks.show(name, stale=stale)
    if lock is None:
        session.say(f"nobody holds `{name}`" + (" as far as this node knows" if stale else ""))
        return Result({"held": False, "name": name}, "", ExitCode.FAILED)
    if stale:
        lock |= {"stale": True}
        session.say(session.talk.dim(as_known(lock["age_seconds"])))
    held = lock["holder"] is not None
    code = ExitCode.DONE if held else ExitCode.FAILED
    return Result({"held": held, **lock}, lambda style: _shown(lock, style), code)


def list_(session: Session, client: Client, prefix: str, *, stale: bool) -> Result:
    """The locks that are held."""
    locks = client.locks.list(prefix, stale=stale)
    data: dict[str, Any] = {"locks": locks}
    if stale:
        data |= {"stale": True, "age_seconds": locks.age_seconds}
        session.say(session.talk.dim(("" if locks else "no lock ") + as_known(locks.age_seconds)))
    return Result(
        data,
        lambda style: "\n".join(table(_COLUMNS, [_row(lock, style) for lock in locks], style, indent=0)),
        rows="locks",
    )


def _named(name: str, lock_id: str) -> HeldLock:
    """A grant known by its id alone."""
    from mltbctl.locks import HeldLock

    return HeldLock(name, {"lock_id": lock_id, "token": 0, "ttl_seconds": 0.0, "extend_seconds": 0.0}, 0.0)


def _granted(held: HeldLock, style: Style) -> str:
    facts = [f"token {held.token}", f"id {held.lock_id}", f"for {duration(held.ttl)}"]
    return "   ".join([f"{style.bold(style.green('acquired'))} {held.name}", *facts])


def _held_for(lock: dict[str, Any]) -> float | None:
    import time

    return seconds_since(lock.get("since"), time.time())


def _row(lock: dict[str, Any], style: Style) -> list[Cell]:
    held_s = _held_for(lock)
    waiting = lock["waiting"]
    dash = style.glyph("dash")
    return [
        Cell(lock["name"]),
        Cell(lock["holder"] or dash),
        Cell(dash if lock["token"] is None else str(lock["token"])),
        Cell(dash if lock["remaining_seconds"] is None else duration(lock["remaining_seconds"])),
        Cell(dash if held_s is None or lock["holder"] is None else duration(held_s)),
        Cell(str(waiting) if waiting else dash),
    ]


def _shown(lock: dict[str, Any], style: Style) -> str:
    waiters = lock["waiters"]
    lines = [_state(lock, style)]
    if waiters:
        lines.append(f"{count(lock['waiting'], 'waiter')}, next first:")
        lines += [f"  {waiter['holder']}   id {waiter['lock_id']}" for waiter in waiters]
        if lock["waiting"] > len(waiters):
            lines.append(f"  and {lock['waiting'] - len(waiters)} more")
    return "\n".join(lines)


def _state(lock: dict[str, Any], style: Style) -> str:
    if lock["holder"] is None:
        return f"{style.bold(lock['name'])}   its last holder let it run out: nobody gets it until its delay is over"
    held_s, left_s = _held_for(lock), lock["remaining_seconds"]
    facts = [f"held by {lock['holder']}", f"token {lock['token']}", f"id {lock['lock_id']}"]
    if held_s is not None:
        facts.append(f"held for {duration(held_s)}")
    if left_s is not None:
        facts.append(f"{duration(left_s)} left of {duration(lock['ttl_seconds'])}")
    return "   ".join([style.bold(lock["name"]), *facts])
