"""`mltbctl events`: what happened in the cluster, once or as it happens."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from mltbctl.errors import CliError, MltbError
from mltbctl.render import failure_text, print_one_of_many
from mltbctl.result import Result
from mltbctl.stories import without_bound
from mltbctl.tables import Cell, Column, table

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session

KINDS = (
    "founding", "election", "transfer", "placement", "failover", "switchover", "failback", "drain", "handover",
    "rollback", "pause", "resume", "drain_node", "undrain_node",
    "release", "cancel_failback", "promoted", "lost", "removed", "admitted", "recovered", "hook",
    "level",
)  # fmt: skip
POLL_S = 0.5
PAGES_MAX = 100
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"(\d{1,9})([smhd])")
_COLUMNS = (
    Column("ID", right=True),
    Column("AT", gives_way=3),
    Column("KIND", gives_way=2),
    Column("TOOK", right=True, gives_way=1),
    Column("WHAT"),
)


def moment(text: str, now: float) -> int:
    """Wall milliseconds of `30m`, `2h`, `1d` ago, or of an RFC 3339 instant or date. CliError for anything else."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0, int((now - int(ago[1]) * _UNITS[ago[2]]) * 1000))
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(
            f"`--since {text}` is no time", "use 30s, 10m, 2h, 1d, or 2026-01-31T12:00:00Z", code="usage"
        ) from None
    return max(0, int((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() * 1000))


def events(client: Client, since: str, kind: str, workload: str) -> Result:
    """All that is remembered, oldest first."""
    _known(kind)
    found, last = _read(client, 0, moment(since, time.time()) if since else 0, kind, workload)
    found.sort(key=lambda event: int(event["id"]))
    return Result({"events": found, "last": last}, lambda style: _text(found, style), rows="events")


def _known(kind: str) -> None:
    """CliError unless it is empty or one of KINDS: "no events" would be a wrong answer to a slip of the pen."""
    if kind and kind not in KINDS:
        raise CliError(f"`{kind}` is no kind of event", f"use one of {', '.join(KINDS)}", code="usage")


def _read(client: Client, after: int, since_ms: int, kind: str, workload: str) -> tuple[list[dict[str, Any]], int]:
    """Page after page."""
    found: list[dict[str, Any]] = []
    for _ in range(PAGES_MAX):
        page = client.events(after=after, since=since_ms, kind=kind, workload=workload)
        found += page["events"]
        after = int(page["last"])
        if not page["more"]:
            break
    return found, after


def follow(session: Session, since: str, kind: str, workload: str) -> NoReturn:
    """What is remembered (with --since), then each event as it begins and as it ends, until Ctrl-C."""
    _known(kind)
    since_ms = moment(since, time.time()) if since else 0
    with session.client() as client:
        found, after = _read(client, 0, since_ms, kind, workload)
        first = found if since else []
        while True:
            if first:
                _show(session, first)
            time.sleep(POLL_S)
            try:
                first, after = _read(client, after, since_ms, kind, workload)
            except MltbError as error:
                first = []
                session.say(failure_text(error, session.talk))


def _show(session: Session, found: list[dict[str, Any]]) -> None:
    if session.output in ("json", "jsonl"):
        for event in found:
            print_one_of_many(Result(event), "json", session.out)
        return
    lines = "\n".join(_line(event, session.out) for event in found)
    print_one_of_many(Result({}, lines), session.output, session.out)


def _line(event: dict[str, Any], style: Style) -> str:
    took = f"   {_took(event)}" if event["state"] == "done" and event["phases"] else ""
    return f"{event['ended']}  {style.bold(str(event['id']).rjust(5))}  {event['text']}{took}"


def _text(found: list[dict[str, Any]], style: Style) -> str:
    if not found:
        return "no events"
    return "\n".join(table(_COLUMNS, [_row(event) for event in found], style, indent=0, wrap=True))


def _row(event: dict[str, Any]) -> list[Cell]:
    paint = {"failed": "red", "running": "cyan"}.get(event["state"], "")
    return [
        Cell(str(event["id"]), "bold"),
        Cell(str(event["at"]), "dim"),
        Cell(str(event["kind"]), paint),
        Cell(_took(event)),
        Cell(str(event["text"])),
    ]


def _took(event: dict[str, Any]) -> str:
    """All its phases; `>` where it began before the first of them, nobody knows when."""
    phases = event["phases"]
    longer = ">" if without_bound(event) else ""
    return f"{longer}{sum(phase['seconds'] for phase in phases):.2f}s" if phases else ""
