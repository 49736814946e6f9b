"""`mltbctl failover`, `switchover`, `failback`: plan, confirm, start, follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError
from mltbctl.operation import CALL_S, check_reason, confirm, follow, plan_text, require_terminal
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.session import Session


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants moved, and how."""

    workload: str
    to: str | None = None
    reason: str = ""
    yes: bool = False
    dry_run: bool = False
    wait: bool = True
    at: int | None = None  # the plan it is the deed of


Ask = Callable[["Client", "str | None", bool, "int | None"], dict[str, Any]]
"""To which node, only planned or done, and the index of the plan it is the deed of."""


def failover(session: Session, wish: Wish) -> Result:
    """Place the workload on another node, whatever its owner says."""
    return _move(
        session,
        wish,
        lambda client, to, dry, at: client.failover(wish.workload, to=to, reason=wish.reason, dry_run=dry, at=at),
    )


def switchover(session: Session, wish: Wish) -> Result:
    """Move the workload from its healthy owner to another node."""
    return _move(
        session,
        wish,
        lambda client, to, dry, at: client.switchover(to or "", wish.workload, reason=wish.reason, dry_run=dry, at=at),
    )


def failback(session: Session, wish: Wish) -> Result:
    """Move the workload back to its preferred node."""
    return _move(
        session,
        wish,
        lambda client, _, dry, at: client.failback(wish.workload, reason=wish.reason, dry_run=dry, at=at),
    )


def cancel_failback(session: Session, wish: Wish) -> Result:
    """No automatic failback until the workload moves again."""
    if wish.dry_run or wish.reason or wish.at is not None:
        what = "`--cancel` moves nothing: it goes without `--dry-run`, `--at` and `--reason`"
        raise CliError(what, "run `mltbctl failback --cancel`", code="usage")
    with session.client() as client:
        client.cancel_failback(wish.workload)
    return Result(
        {"workload": wish.workload, "cancelled": True},
        f"`{wish.workload}` stays where it is: no automatic failback until it moves again",
    )


def _move(session: Session, wish: Wish, ask: Ask) -> Result:
    check_reason(wish.reason)
    # --timeout is for the whole move; a single call that takes this long has failed anyway.
    with session.client(CALL_S) as client:
        plan = ask(client, wish.to, True, wish.at)
        session.tell_endpoint(client)
        follows = plan["operation"] is not None  # The same was asked for before, and is not over yet.
        if not follows and plan["to"] is not None and plan["to"] == plan["from"]:
            return Result({**plan, "state": "done"}, f"nothing to do: {plan['message']}")
        if wish.dry_run:
            return Result({**plan, "dry_run": True}, lambda style: plan_text(plan, style))
        unasked = not wish.yes and not follows
        if unasked:
            require_terminal()
        session.say(plan_text(plan, session.talk))
        if unasked:
            confirm(plan["to"])
        # What was confirmed is what is done: neither another choice of the leader nor a move made meanwhile slips in.
        at = wish.at if wish.yes else plan.get("at") or wish.at
        started = plan if follows else ask(client, plan["to"], False, at)
        if not wish.wait:
            text = f"operation {started['operation']} {'goes on' if follows else 'started'}, see `mltbctl status`"
            return Result({**started, "state": "running"}, text)
        return follow(session, client, started["operation"])
