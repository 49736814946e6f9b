"""`mltbctl status`: the whole picture, once or again and again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from mltbctl.errors import CliError, MltbError
from mltbctl.overview import overview
from mltbctl.render import failure_text, print_one_of_many, text_of, write
from mltbctl.result import ExitCode, Result

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session

WATCH_S_MIN, WATCH_S_MAX = 0.1, 3600.0
RETRY_S = 1.0
_ENTER = "\x1b[?1049h\x1b[?25l"  # the other screen, no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def status(client: Client, *, strict: bool = False) -> Result:
    """The status of the cluster as the daemon sees it; `strict` lets the exit code say how well it is."""
    data = client.status()
    return Result(data, lambda style: overview(data, style, time.time()), verdict(data) if strict else ExitCode.DONE)


def verdict(data: dict[str, Any]) -> ExitCode:
    """The exit code of `status --exit-code`: healthy, degraded, or without quorum."""
    if not data["cluster"]["quorum"]["has_quorum"]:
        return ExitCode.REFUSED
    return ExitCode.DONE if data["cluster"]["state"] == "STABLE" else ExitCode.DEGRADED


def watch(session: Session, every_s: float) -> NoReturn:
    """Show the status every `every_s` seconds until Ctrl-C: in place on a terminal, else one after another."""
    if not WATCH_S_MIN <= every_s <= WATCH_S_MAX:
        raise CliError(
            f"`--watch {every_s:g}` is not between {WATCH_S_MIN} and {WATCH_S_MAX:.0f} seconds", code="usage"
        )
    with session.client() as client:
        result = status(client)  # What fails at the first look ends the command.
        if session.output == "table" and sys.stdout.isatty():
            _watch_in_place(session, client, every_s)
        while True:
            pictures = session.output in ("table", "plain")  # Told apart by an empty line, objects by their lines.
            print_one_of_many(result, session.output, session.out, end="\n\n" if pictures else "\n")
            time.sleep(every_s)
            result = _next(session, client)


def _next(session: Session, client: Client) -> Result:
    """Another look; a daemon that is away for a while is told of, not the end."""
    while True:
        try:
            return status(client)
        except MltbError as error:
            session.say(failure_text(error, session.talk))
            time.sleep(RETRY_S)


def _watch_in_place(session: Session, client: Client, every_s: float) -> NoReturn:
    write(sys.stdout, _ENTER)
    try:
        while True:
            looks = session.out
            write(sys.stdout, _screen(_look(client, session.output, looks), every_s, looks))
            time.sleep(every_s)
    finally:
        write(sys.stdout, _LEAVE)


def _look(client: Client, output: str, looks: Style) -> str:
    try:
        return text_of(status(client), output, looks)
    except MltbError as error:
        return failure_text(error, looks)


def _screen(text: str, every_s: float, looks: Style) -> str:
    foot = looks.dim(f"every {every_s:g} s, Ctrl-C ends")
    lines = "".join(f"{line}{_REST_OF_LINE}\r\n" for line in text.split("\n"))
    return f"{_HOME}{lines}{_REST_OF_LINE}\r\n{foot}{_REST_OF_SCREEN}"
