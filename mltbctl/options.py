"""The options several commands share, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mltbctl.errors import CliError
from mltbctl.lazy import LazyGroup


def asked_of(ctx: typer.Context) -> tuple[tuple[str, ...], str]:
    """The daemons and the configuration file that a line being completed names so far."""
    given = ctx.find_root().params
    return tuple(given.get("node") or ()), given.get("config_file") or ""


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Node ids for the shell; what asks the daemon is imported only then."""
    from mltbctl.completing import node_names

    return node_names(incomplete, *asked_of(ctx))


def complete_workload(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of workloads that may be moved, for the shell."""
    from mltbctl.completing import workload_names

    return workload_names(incomplete, *asked_of(ctx))


def complete_lock(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of locks that are held, for the shell."""
    from mltbctl.completing import lock_names

    return lock_names(incomplete, *asked_of(ctx))


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys of the state, for the shell."""
    from mltbctl.completing import key_names

    return key_names(incomplete, *asked_of(ctx))


def command_of(ctx: typer.Context, words: Sequence[str]) -> object:
    """The command, or the group of commands, that `words` name; None where they name none."""
    command: object = ctx.find_root().command
    for word in words:
        command = command.get_command(ctx, word) if isinstance(command, LazyGroup) else None
    return command


def checked_topic(ctx: typer.Context, topic: list[str] | None) -> list[str] | None:
    """The topic of `help`. CliError where words follow a command: its `--help` would pass over them."""
    words = topic or []
    for at, word in enumerate(words[1:], start=1):
        if isinstance(command_of(ctx, words[:at]), LazyGroup | None):
            continue
        command = f"mltbctl {' '.join(words[:at])}"
        raise CliError(f"no such command `{command} {word}`", f"run `{command} --help`", code="usage")
    return topic


def complete_topic(ctx: typer.Context, incomplete: str) -> list[str]:
    """What `help` explains, for the shell: the commands, or those of the group that is named already."""
    said = ctx.params.get("topic") or ()
    group = command_of(ctx, said)
    if not isinstance(group, LazyGroup):
        return []
    names = group.list_commands(ctx) + ([] if said else ["exit-codes"])
    return [name for name in names if name.startswith(incomplete)]


Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node",
        "-n",
        metavar="NODE",
        help="Daemon to ask: socket path, HOST:PORT of a control port, or node id; repeat for fall-backs. "
        "Default: $MLTB_NODE, else the daemon of this machine.",
        autocompletion=complete_node,
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="table, json, jsonl or plain. Default: $MLTBCTL_OUTPUT, else table on a terminal, else plain.",
        autocompletion=lambda: ["table", "json", "jsonl", "plain"],
        show_default=False,
    ),
]
Colour = Annotated[
    str,
    typer.Option(
        "--color",
        metavar="WHEN",
        help="auto, always or never; auto heeds NO_COLOR, then FORCE_COLOR, then whether it is a terminal.",
        autocompletion=lambda: ["auto", "always", "never"],
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Time one call may take. Default: 5.", show_default=False),
]
MoveTimeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Time to follow the move; it goes on when that runs out. Default: 60.",
        show_default=False,
    ),
]
WaitTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Give up after this. Default: never.", show_default=False),
]
Config = Annotated[
    str,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. Default: $MLTB_CONFIG, else its usual place.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No talk on stderr, only data and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say which daemon was asked.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")]
Workload = Annotated[
    str,
    typer.Option("--workload", "-w", metavar="NAME", help="The workload to move.", autocompletion=complete_workload),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Kept in the log with the move.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and the verdict on each node, change nothing.")]
At = Annotated[
    int | None,
    typer.Option(
        "--at",
        metavar="INDEX",
        min=1,
        help="Only if the placement is as it was in the plan of this index (see `--dry-run`).",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the move to its end, or return at once.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="NODE", help="The node to move to.", autocompletion=complete_node, show_default=False),
]
Stale = Annotated[bool, typer.Option("--stale", help="What this node has, without asking any other.")]


def one_prefix(argument: str, option: str) -> str:
    """The prefix, given as PREFIX or with --prefix."""
    if argument and option:
        raise CliError(
            f"PREFIX and `--prefix` are the same: give `{argument}` or `{option}`",
            "leave one of them out",
            code="usage",
        )
    return argument or option
