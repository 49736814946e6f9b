"""`mltbctl node remove`, `promote` and `admit`: who belongs to the cluster, and who counts for its quorum."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mltbctl.errors import MltbError, UnknownOutcome
from mltbctl.operation import check_reason, confirm, require_terminal
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session

CHANGE_S = 10.0
"""A change of the voters waits for a quorum's disks."""
GONE_S, POLL_S = 8.0, 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """Which node, and how the operator wants it asked."""

    node: str
    reason: str = ""
    yes: bool = False
    dry_run: bool = False


def remove(session: Session, wish: Change) -> Result:
    """Take the node out for good; confirmed by its name."""
    done = f"{wish.node} is removed and refused from now on; wipe its disk, or let it in with `mltbctl node admit`"
    return _change(
        session,
        wish,
        lambda client, dry: client.remove_node(wish.node, reason=wish.reason, dry_run=dry),
        done,
        proof=lambda client, plan: _gone(client, wish.node, plan["after"]["voters"]),
    )


def _gone(client: Client, node: str, voters: int) -> bool:
    """Whether a majority lists it no more: a leader that is taken out may be gone before it has answered. So many
    voters are left then; not listed alone is no proof, for a voter that nobody has met may not be listed either."""
    until = time.monotonic() + GONE_S
    while time.monotonic() < until:
        with contextlib.suppress(MltbError):
            seen = client.status()
            quorum = seen["cluster"]["quorum"]
            listed = any(each["id"] == node for each in seen["nodes"])
            if quorum["has_quorum"] and quorum["voters"] == voters and not listed:
                return True
        time.sleep(POLL_S)
    return False


def promote(session: Session, wish: Change) -> Result:
    """Make an observer a voter."""
    done = f"{wish.node} is a voter"
    wish = Change(wish.node, wish.reason, True, wish.dry_run)
    return _change(
        session, wish, lambda client, dry: client.promote_node(wish.node, reason=wish.reason, dry_run=dry), done
    )


def admit(session: Session, wish: Change) -> Result:
    """Let a removed node in again, as an observer."""
    with session.client(CHANGE_S) as client:
        answer = client.admit_node(wish.node, reason=wish.reason)
        session.tell_endpoint(client)
    return Result({**answer, "changed": True}, f"{wish.node} may come back, as an observer; the leader promotes it")


def _change(
    session: Session,
    wish: Change,
    ask: Callable[[Client, bool], dict[str, Any]],
    done: str,
    *,
    proof: Callable[[Client, dict[str, Any]], bool] | None = None,
) -> Result:
    """`proof`: where nobody could tell how it ended, whether it was done all the same."""
    check_reason(wish.reason)
    with session.client(CHANGE_S) as client:
        plan = ask(client, True)
        session.tell_endpoint(client)
        if wish.dry_run:
            return Result({**plan, "changed": False, "dry_run": True}, lambda style: arithmetic(plan, style))
        if not wish.yes:
            require_terminal()
        session.say(arithmetic(plan, session.talk))
        if not wish.yes:
            confirm(wish.node)
        try:
            answer = ask(client, False)
        except UnknownOutcome:
            if proof is None or not proof(client, plan):
                raise
            answer = plan
        return Result({**answer, "changed": True}, done)


def arithmetic(plan: dict[str, Any], style: Style) -> str:
    """What the change costs or brings: voters, votes needed, and how many nodes may be lost, before and after."""
    before, after = plan["before"], plan["after"]
    arrow = style.glyph("arrow")
    rows = [
        ("voters", f"{before['voters']} {arrow} {after['voters']}: {' '.join(plan['voters'])}"),
        ("needed", f"{before['needed']} {arrow} {after['needed']}, of which {after['reachable']} answer"),
        ("may lose", f"{before['failure_tolerance']} {arrow} {after['failure_tolerance']}"),
    ]
    return "\n".join(f"{style.bold(name.ljust(10))}{text}" for name, text in rows)
