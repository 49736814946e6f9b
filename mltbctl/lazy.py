"""Command groups that build only the command that is called, and end every failure in our words."""

from __future__ import annotations

import gc
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, Signature, getdoc, signature
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from mltbctl.errors import CliError, MltbError
from mltbctl.result import ExitCode, never_no
from mltbctl.streams import is_about_output, stand_in, unwritten

if TYPE_CHECKING:
    from typer import _click

CLOSE_MATCHES_MAX = 3
QUESTION = "is"
"""The command whose exit code is its answer."""
_COMPLETIONS = ("install_completion", "show_completion")
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_WORDS = {"int range": "whole number", "integer": "whole number", "float range": "number", "float": "number"}
_NEGATIVE = re.compile(r"-(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TYPE_NAMES = re.compile(rf"(?<=a valid )(?:{'|'.join(_WORDS)})")


@dataclass(frozen=True, slots=True)
class Member:
    """A command not built yet: its function, or the Typer of a nested group.

    `bare`: options that may stand without a value, and the value they then have. `negative`: among the arguments may
    be negative numbers. `alias`: not in the help.
    """

    source: Callable[..., None] | typer.Typer
    alias: bool = False
    bare: tuple[tuple[str, str], ...] = ()
    negative: bool = False
    own: tuple[tuple[str, Any], ...] = ()
    """Of the options that every command has, those that mean something of its own here."""

    @property
    def summary(self) -> str:
        """The first line of the help."""
        if isinstance(self.source, typer.Typer):
            return str(self.source.info.help)
        return (getdoc(self.source) or "").split("\n", 1)[0]


class LazyGroup(TyperGroup):
    """A group that knows its members by name and builds one when it is asked for."""

    members: ClassVar[dict[str, Member]]

    def __init_subclass__(cls) -> None:
        cls.members = {}

    @classmethod
    def add(
        cls,
        name: str,
        *,
        aliases: Sequence[str] = (),
        bare: tuple[tuple[str, str], ...] = (),
        negative: bool = False,
        **own: Any,
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Decorator: the function is the command `name`, called with its Session; its signature is read then. `own`:
        `timeout` or `quiet`, where these options mean something of their own."""

        def register(function: Callable[..., None]) -> Callable[..., None]:
            cls.members[name] = Member(function, bare=bare, negative=negative, own=tuple(own.items()))
            for alias in aliases:
                cls.members[alias] = Member(function, alias=True, bare=bare, own=tuple(own.items()))
            return function

        return register

    @classmethod
    def add_group(cls, name: str, group: typer.Typer) -> None:
        """The commands of `group` follow its name."""
        cls.members[name] = Member(group)

    def list_commands(self, ctx: _click.Context) -> list[str]:  # noqa: ARG002
        return [name for name, member in self.members.items() if not member.alias]

    def get_command(
        self,
        ctx: _click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> _click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.members:
            self.commands[cmd_name] = self._build(cmd_name, self.members[cmd_name])
        return self.commands.get(cmd_name)

    def _build(self, name: str, member: Member) -> _click.Command:
        if isinstance(member.source, typer.Typer):
            command = typer.main.get_command(member.source)
        else:
            alone = typer.Typer(add_completion=False, rich_markup_mode=self.rich_markup_mode)
            kind = NegativesCommand if member.negative else _bare_options(member.bare)
            alone.command(name, cls=kind, help=flowing(getdoc(member.source) or ""))(
                _with_session(member.source, dict(member.own))
            )
            command = typer.main.get_command(alone)
        command.name = name
        if isinstance(command, TyperGroup):
            command.rich_markup_mode = self.rich_markup_mode
        return command

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        rows = [(name, self.members[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: _click.Context, args: list[str]
    ) -> tuple[str | None, _click.Command | None, list[str]]:
        name = args[0]
        if name not in self.members and not name.startswith("-") and not ctx.resilient_parsing:
            path = ctx.command_path
            matches = get_close_matches(name, self.members, n=CLOSE_MATCHES_MAX)
            meant = f", did you mean {' or '.join(f'`{match}`' for match in matches)}?" if matches else ""
            raise CliError(f"no such command `{path} {name}`{meant}", f"run `{path} --help`", code="usage")
        return super().resolve_command(ctx, args)


class RootGroup(LazyGroup):
    """The outermost group: every failure ends here, in words and with its exit code."""

    given: tuple[str, ...] = ()
    """The command line, as far as a failure has to be told in the form that it asks for."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - failures are ours to end either way
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line `args` (default: that of the process) and exit; no traceback unasked."""
        stand_in()
        if args is None:
            # A parent may have left it ignored: then nobody can wait for a child, and its exit code counts as 0.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for param in self.params:
            if param.name in _COMPLETIONS and param.callback is not None:
                param.callback = _in_a_known_shell(param.callback)
        # Boxes and colours are for people; in a pipe the help is plain text and twice as fast.
        self.rich_markup_mode = "rich" if sys.stdout.isatty() else None
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = self._run(arguments, prog_name or "mltbctl", complete_var, windows_expand_args, extra)
        except Exception:
            if QUESTION not in arguments:
                raise
            # Not even the failure could be told. The exit code of a traceback would read as the answer `no`.
            code = ExitCode.UNREACHABLE
        if args is None:
            # The process ends here. Looking for garbage among all that was imported takes longer than most commands.
            gc.freeze()
        sys.exit(code)

    def _run(
        self,
        arguments: list[str],
        prog_name: str,
        complete_var: str | None,
        windows_expand_args: bool,
        extra: dict[str, Any],
    ) -> int:
        self.given = tuple(arguments)
        try:
            code = super().main(arguments, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            return self.fail(usage_error(error, arguments), None, arguments)
        except MltbError as error:
            return self.fail(error, None, arguments)
        except OSError as error:
            if not is_about_output(error):
                raise
            return self.fail(unwritten(error), None, arguments)
        except (KeyboardInterrupt, typer.Abort):
            return ExitCode.INTERRUPTED
        return code if isinstance(code, int) else ExitCode.DONE

    def invoke(self, ctx: _click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MltbError as error:
            failure = error
        except typer.TyperException as error:
            failure = usage_error(error, self.given)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:  # The outermost frame: a mistake of ours ends in words, not in a traceback.
            failure = _unforeseen(error)
            failure.__cause__ = error
        code = self.fail(failure, ctx.obj, self.given)
        raise typer.Exit(never_no(code) if ctx.invoked_subcommand == QUESTION else code)

    def fail(self, error: MltbError, session: object, arguments: Sequence[str]) -> ExitCode:
        """Tell the failure; returns its exit code."""
        from mltbctl.session import tell_failure

        tell_failure(error, session, arguments)
        return error.exit_code


def _with_session(command: Callable[..., None], own: Mapping[str, Any]) -> Callable[..., None]:
    """The command as typer is to see it: with the options that every command has. They make the session it gets."""
    from mltbctl.options import Output, Quiet, Timeout
    from mltbctl.session import command_session

    def called(*, ctx: typer.Context, output: str, timeout: float | None, quiet: bool, **given: Any) -> None:
        command(command_session(ctx, output, timeout, quiet), **given)

    shared: dict[str, tuple[Any, Any]] = {"output": (Output, ""), "timeout": (Timeout, None), "quiet": (Quiet, False)}
    _, *asked = signature(command, eval_str=True).parameters.values()
    kind = Parameter.KEYWORD_ONLY
    asked = [
        Parameter("ctx", kind, annotation=typer.Context),
        *(each.replace(kind=kind) for each in asked),
        *(
            Parameter(name, kind, default=value, annotation=own.get(name, hint))
            for name, (hint, value) in shared.items()
        ),
    ]
    vars(called)["__signature__"] = Signature(asked)
    called.__annotations__ = {}
    return called


def _unforeseen(error: Exception) -> CliError:
    if isinstance(error, OSError) and is_about_output(error):
        return unwritten(error)
    if isinstance(error, UnicodeEncodeError):
        return CliError("what is not UTF-8 text cannot be sent", "run `mltbctl --help`", code="usage")
    return CliError(f"internal error: {type(error).__name__}: {error}", "run it again with `--debug` and report it")


def typer_group(cls: type[LazyGroup], summary: str, epilog: str | None = None) -> typer.Typer:
    """The Typer of a group; the outermost one can install shell completion."""
    return typer.Typer(
        cls=cls,
        callback=_help_alone,
        invoke_without_command=True,
        help=summary,
        epilog=epilog,
        add_completion=issubclass(cls, RootGroup),
        rich_markup_mode=None,  # until RootGroup.main has seen where the help goes
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )


def _in_a_known_shell(callback: Callable[..., Any]) -> Callable[..., Any]:
    """What typer does about completion, where it knows the shell; else a failure in our words."""

    def checked(ctx: _click.Context, param: _click.Parameter, value: Any) -> Any:
        if value and not ctx.resilient_parsing:
            from importlib import import_module

            shellingham = import_module("shellingham")  # It has no types.
            try:
                shell = shellingham.detect_shell()[0]
            except shellingham.ShellDetectionFailure:
                shell = ""
            if shell not in _SHELLS:
                why = f"there is no completion for `{shell}`" if shell else "it cannot be told which shell this is"
                raise CliError(why, f"run it in one of {', '.join(_SHELLS)}", code="usage")
        return callback(ctx, param, value)

    return checked


def print_help(ctx: typer.Context) -> NoReturn:
    """The help of a group that was called without a command; that is no mistake."""
    text = ctx.get_help()
    if text:  # With boxes it is printed already.
        typer.echo(text)
    raise typer.Exit


def _help_alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


def flowing(doc: str) -> str:
    """Each paragraph on one line: it is broken where the terminal ends, not where the source did."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in doc.split("\n\n"))


def usage_error(error: typer.TyperException, given: Sequence[str]) -> CliError:
    """What typer found wrong with the command line `given`, in our words."""
    context: _click.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mltbctl"
    hint = f"run `{path} --help`"
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities"):
        elsewhere = _place_of(option, context, given) if context is not None else ""
        meant = " or ".join(f"`{name}`" for name in error.possibilities or () if not elsewhere)
        message = f"no such option `{option}`" + (f", did you mean {meant}?" if meant else "")
        hint = elsewhere or hint
    else:
        message = error.format_message().rstrip(".").replace("'", "`")
        message = _TYPE_NAMES.sub(lambda found: _WORDS[found[0]], message)
    return CliError(message[:1].lower() + message[1:], hint, code="usage")


def _place_of(option: str, context: _click.Context, given: Sequence[str]) -> str:
    """Where an option belongs that is none of the command that it follows; empty when that is nowhere."""
    path = context.command_path
    if "--" not in given and any(str(param.metavar).startswith("-- ") for param in context.command.params):
        return f"put `--` before the command to run: `{path} NAME -- COMMAND...`"
    root = context.find_root()
    for param in root.command.params if context is not root else ():
        if option in param.opts:
            shown = option if getattr(param, "is_flag", False) else f"{option} {param.metavar}"
            return f"put it before the command: `mltbctl {shown} {path.partition(' ')[2]}`"
    return ""


class NegativesCommand(TyperCommand):
    """A command whose arguments may be negative JSON numbers. No option begins with a digit."""

    def make_parser(self, ctx: _click.Context) -> _click.parser._OptionParser:
        parser = super().make_parser(ctx)
        process = parser._process_opts

        def argument_or_option(word: str, state: _click.parser._ParsingState) -> None:
            if _NEGATIVE.fullmatch(word):
                state.largs.append(word)
            else:
                process(word, state)

        vars(parser)["_process_opts"] = argument_or_option
        return parser


def _bare_options(bare: tuple[tuple[str, str], ...]) -> type[TyperCommand]:
    if not bare:
        return TyperCommand

    class BareOptionsCommand(TyperCommand):
        """A command with options whose value may be left out."""

        def parse_args(self, ctx: _click.Context, args: list[str]) -> list[str]:
            defaults = dict(bare)
            completed: list[str] = []
            for at, word in enumerate(args):
                completed.append(word)
                following = args[at + 1] if at + 1 < len(args) else ""
                if word in defaults and not following.replace(".", "", 1).isdigit():
                    completed.append(defaults[word])
            return super().parse_args(ctx, completed)

    return BareOptionsCommand
