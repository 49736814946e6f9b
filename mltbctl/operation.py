"""A move under way: its plan, its confirmation, its steps as they happen, its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError, MltbError
from mltbctl.render import verdict_lines, write
from mltbctl.result import ExitCode, Result

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session

FOLLOW_S = 60.0  # how long a move is followed without --timeout; the daemon gives up on its own long before
CALL_S = 5.0
REASON_CHARS_MAX = 200
POLL_S = 0.08
PHASE_WIDTH = 28
ANSWER_CHARS_MAX = 256
WAITED_OUT = ("unreachable", "unavailable", "timeout", "no_quorum")  # while a move runs, these pass
_CLEAR = "\r\x1b[K"


def plan_text(move: dict[str, Any], style: Style) -> str:
    """What would happen: from where to where, the quorum, and the verdict on each node; or what goes on already."""
    if move.get("operation") is not None:
        return str(move["message"])
    plan = move.get("plan") or {}
    source = move.get("from") or "nowhere"
    route = f"{source} {style.glyph('arrow')} {move.get('to') or 'nowhere'}"
    head = f"{style.bold('plan')}   {move['workload']}: {route}"
    if plan.get("quorum"):
        head += f"   quorum {plan['quorum']}"
    if move.get("at"):
        head += f"   at {move['at']}"
    return "\n".join([head, *(verdict_lines(plan["candidates"], style) if plan.get("candidates") else [])])


def check_reason(reason: str) -> None:
    """What people read later has a length. CliError `usage` beyond it."""
    if len(reason) > REASON_CHARS_MAX:
        raise CliError(f"`--reason` is longer than {REASON_CHARS_MAX} characters", code="usage")


def require_terminal(instead: str = "--yes") -> None:
    """Before anything is asked of the daemon: nobody can confirm where stdin is no terminal, but with `instead`."""
    if not sys.stdin.isatty():
        raise CliError(
            "this needs a confirmation and stdin is no terminal; nothing was changed",
            f"add `{instead}`, or look at the plan with `--dry-run`",
            code="cancelled",
        )


def confirm(target: str) -> None:
    """Let the operator type the target's name. CliError `cancelled` when something else comes."""
    write(sys.stderr, f"proceed? type {target} to confirm: ")
    if sys.stdin.readline(ANSWER_CHARS_MAX).strip() != target:
        raise CliError("not confirmed; nothing was changed", code="cancelled")


def follow(session: Session, client: Client, operation: int) -> Result:
    """Show the steps of `operation` as they happen until its end, `--timeout`, or Ctrl-C, which detaches."""
    limit_s = session.settings.timeout_s or FOLLOW_S
    deadline = time.monotonic() + limit_s
    progress = _Progress(session)
    seen: dict[str, Any] = {"id": operation, "state": "running", "phases": []}
    trouble = ""
    try:
        while seen["state"] == "running":
            try:
                seen, trouble = client.operation(operation), ""
            except MltbError as error:
                if error.code not in WAITED_OUT:
                    raise
                trouble = error.message
            progress.show(seen["phases"])
            if seen["state"] == "running":
                _check_time(deadline, limit_s, operation, trouble)
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        progress.end()
        session.say(f"detached: operation {operation} goes on, see `mltbctl status`")
        return Result(_flat(seen), "", ExitCode.INTERRUPTED)
    finally:
        progress.end()
    return _end(seen)


def _check_time(deadline: float, limit_s: float, operation: int, trouble: str) -> None:
    if time.monotonic() < deadline:
        return
    last = f" (last answer: {trouble})" if trouble else ""
    raise CliError(
        f"not finished within {limit_s:g} s; operation {operation} goes on{last}",
        "run `mltbctl status` to see how it ends",
        code="timeout",
        details={"operation": operation},
    )


def _end(seen: dict[str, Any]) -> Result:
    if seen["state"] != "done":
        raise CliError(
            f"the {seen.get('kind') or 'move'} failed: {seen.get('error') or 'no reason given'}",
            "run `mltbctl status` to see where the workload runs now",
            details={"operation": seen["id"], "phases": seen["phases"]},
        )
    return Result(_flat(seen), lambda style: _done_text(seen, style))


def _flat(seen: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in seen.items() if key != "id"}
    return {"operation": seen["id"], **rest}


def _done_text(seen: dict[str, Any], style: Style) -> str:
    owner = seen.get("owner") or seen.get("to")
    parts = [f"{style.bold(style.green('done'))}   {seen['workload']} runs on {owner}"]
    if seen.get("downtime_seconds") is not None:
        parts.append(f"down {seen['downtime_seconds']:.2f}s")
    if seen.get("token") is not None:
        parts.append(f"token {seen['token']}")
    return "   ".join([*parts, f"operation {seen['id']}"])


class _Progress:
    """Phases on stderr: a line for each finished one; on a terminal the running one turns below them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: set[int] = set()
        self._live = sys.stderr.isatty() and not session.settings.quiet
        self._turn = 0
        self._line_open = False

    def show(self, phases: list[dict[str, Any]]) -> None:
        """Bring the picture up to date."""
        looks = self._session.talk
        self.end()
        for at, phase in enumerate(phases):
            if at not in self._told and phase["state"] in ("done", "failed"):
                self._told.add(at)
                self._session.say(phase_line(phase, looks))
        running = [phase for phase in phases if phase["state"] == "running"]
        if self._live and running:
            self._turn += 1
            write(sys.stderr, phase_line(running[0], looks, self._turn))
            self._line_open = True

    def end(self) -> None:
        """Wipe the turning line."""
        if self._line_open:
            write(sys.stderr, _CLEAR)
            self._line_open = False


def phase_line(phase: dict[str, Any], style: Style, turn: int = 0) -> str:
    """`  ✓ stop workload on n1          1.62s   SIGTERM, exited 0`, within the width of the terminal."""
    signs = {
        "done": style.green(style.glyph("ok")),
        "failed": style.red(style.glyph("no")),
        "running": style.cyan(style.spinner(turn)),
    }
    sign = signs.get(phase["state"], style.glyph("waiting"))
    seconds = phase.get("seconds")
    spent = f"{seconds:.2f}s" if seconds is not None else ""
    tail = f"{phase['name'].ljust(PHASE_WIDTH)} {spent.rjust(7)}   {phase.get('detail') or ''}".rstrip()
    return f"  {sign} {tail[: max(style.width - 5, PHASE_WIDTH)]}"
