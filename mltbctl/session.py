"""One run of the command line: its settings, its streams, its line to a daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from mltbctl.errors import CliError, MltbError
from mltbctl.render import OUTPUTS, hint_lines, output_format, print_failure, print_result, style_for, write
from mltbctl.result import never_no
from mltbctl.settings import TIMEOUT_S, TIMEOUT_S_MAX, Settings

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Result, Style


class Session:
    """What every command needs: `settings`, the resolved `output` format, the looks of stdout and stderr."""

    def __init__(self, settings: Settings) -> None:
        timeout_s = settings.timeout_s
        if timeout_s is not None and not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise CliError(
                f"`--timeout {timeout_s:g}`: seconds above 0 and up to {TIMEOUT_S_MAX:.0f} are needed",
                "run `mltbctl --help`",
                code="usage",
            )
        self.settings = settings
        self.output = output_format(settings.output, os.environ, sys.stdout)

    @property
    def out(self) -> Style:
        """The looks of stdout now: a terminal may change its width."""
        return style_for(sys.stdout, self.settings.colour, os.environ, self.output)

    @property
    def talk(self) -> Style:
        """The looks of stderr."""
        return style_for(sys.stderr, self.settings.colour, os.environ)

    def client(self, timeout_s: float | None = None) -> Client:
        """A line to the daemon, opened by its first call; `timeout_s` where `--timeout` was not given."""
        from mltbctl.client import Client

        given = self.settings.timeout_s
        seconds = given if given is not None else timeout_s or TIMEOUT_S
        return Client(*self.settings.nodes, timeout=seconds, config=self.settings.config)

    def say(self, text: str, hint: str = "") -> None:
        """Talk: a line to stderr, and what to do about it, unless --quiet."""
        if not self.settings.quiet:
            write(sys.stderr, "\n".join([text, *hint_lines(hint, self.talk)]) + "\n")

    def tell_endpoint(self, client: Client) -> None:
        """With --verbose: where the answers come from, and how many could have given them."""
        if self.settings.verbose:
            others = len(client.endpoints) - 1
            rest = f" (first of {others + 1} that could be asked)" if others > 0 else ""
            self.say(self.talk.dim(f"asked {client.connected_to}{rest}"))

    @contextmanager
    def silenced_if_quiet(self) -> Iterator[None]:
        """With --quiet a failure inside ends in its exit code alone: of a question, to which 1 would be an answer."""
        try:
            yield
        except MltbError as error:
            if self.settings.quiet:
                raise typer.Exit(never_no(error.exit_code)) from error
            raise

    def ask(self, question: Callable[[Client], Result], timeout_s: float | None = None) -> NoReturn:
        """Ask a daemon, and end the command with what it says."""
        with self.client(timeout_s) as client:
            result = question(client)
            self.tell_endpoint(client)
        self.finish(result)

    def finish(self, result: Result, *, told_by_code: bool = False, must_be_read: bool = False) -> NoReturn:
        """Print the result and end the command with its code; with --quiet and `told_by_code` only end it. CliError
        where it cannot be written, and with `must_be_read` also where the reader is gone."""
        if not (told_by_code and self.settings.quiet):
            try:
                if not print_result(result, self.output, self.out) and must_be_read:
                    raise CliError("cannot write the output: its reader is gone")
            except CliError as error:
                # 1 would read as the answer.
                raise CliError(error.message, error.hint, code="usage" if told_by_code else error.code) from error
        raise typer.Exit(result.exit_code)


def command_session(ctx: typer.Context, output: str, timeout: float | None, quiet: bool) -> Session:
    """The session of a command: the global options, and what was said again after the command's name."""
    root = ctx.find_root()
    session = Session(root.obj.settings.overridden(output=output, timeout_s=timeout, quiet=quiet))
    root.obj = session
    return session


def tell_failure(error: MltbError, session: object, arguments: Sequence[str]) -> None:
    """Print `error`, in the form `arguments` seem to ask for; with --debug its traceback too."""
    if isinstance(session, Session):
        settings, output = session.settings, session.output
    else:
        settings, output = Settings(debug="--debug" in arguments), ""
    if settings.debug:
        import traceback

        write(sys.stderr, "".join(traceback.format_exception(error)))
    looks = style_for(sys.stderr, settings.colour, os.environ)
    print_failure(error, json_asked(arguments) or output, looks)


def json_asked(arguments: Sequence[str]) -> str:
    """`json` or `jsonl` when a command line, perhaps too broken to parse, asks for it; else empty."""
    following = [*arguments, ""][1:]
    for word, after in zip(arguments, following, strict=True):
        if word in ("-o", "--output") and after in OUTPUTS[1:3]:
            return after
        name, equals, value = word.partition("=")
        if name == "--output" and equals and value in OUTPUTS[1:3]:
            return value
        if word in ("-ojson", "-ojsonl"):
            return word[2:]
    asked = os.environ.get("MLTBCTL_OUTPUT", "")
    return asked if asked in OUTPUTS[1:3] else ""
