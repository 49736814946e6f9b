"""The Typer app of `mltbctl`: options, help, call, render. No logic; what a command does is in commands/."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mltbctl import care, founding_commands, history_commands, hold_commands, voter_commands
from mltbctl.groups import config, secret
from mltbctl.lazy import RootGroup, print_help, typer_group
from mltbctl.lock_group import lock
from mltbctl.node_group import NodeGroup
from mltbctl.node_group import node as node_group
from mltbctl.options import (
    At,
    Colour,
    Config,
    Debug,
    DryRun,
    MoveTimeout,
    Nodes,
    Output,
    Quiet,
    Reason,
    Timeout,
    To,
    Verbose,
    Wait,
    WaitTimeout,
    Workload,
    Yes,
    checked_topic,
    complete_node,
    complete_topic,
)
from mltbctl.render import COLOURS
from mltbctl.session import Session
from mltbctl.settings import Settings
from mltbctl.state_group import state


class Root(RootGroup):
    """The commands of `mltbctl`."""


app = typer_group(
    Root,
    "High availability for a process that may run only once: see it, move it, check it.",
    "New here? Run `mltbctl demo`. Exit codes: `mltbctl help exit-codes`.",
)

NodeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NODE",
        help="Default: the node that answers.",
        autocompletion=complete_node,
        show_default=False,
    ),
]


_Silently = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; the exit code tells.")]


def _version(asked: bool) -> None:
    if asked:
        from mltbctl.commands.version import version

        typer.echo(version().text)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    node: Nodes = None,
    output: Output = "",
    color: Colour = "auto",
    timeout: Timeout = None,
    config_file: Config = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
    version: Annotated[  # noqa: ARG001 - its callback has answered already
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    if color not in COLOURS:
        raise typer.BadParameter(f"`{color}` is none of {', '.join(COLOURS)}", param_hint="`--color`")
    if ctx.invoked_subcommand is None:
        print_help(ctx)
    settings = Settings(tuple(node or ()), output, color, timeout, config_file, quiet, verbose, debug)
    ctx.obj = Session(settings)


@Root.add("status", bare=(("--watch", "2"), ("-W", "2")))
def status(
    session: Session,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", "-W", metavar="[SECONDS]", help="Again and again, every 2 s or as given, until Ctrl-C."
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit 8 when degraded, 5 without quorum (else 0 when it could be shown)."),
    ] = False,
) -> None:
    """Show who leads, who runs what, and how many nodes may be lost.

    Each view says who saw it and how old it is. It works on a node without quorum too.
    """
    from mltbctl.commands import status as command

    if watch is not None:
        command.watch(session, watch)
    session.ask(lambda client: command.status(client, strict=exit_code))


@Root.add("nodes", aliases=("list",))
def nodes(session: Session) -> None:
    """List the members: role, health, address, version."""
    from mltbctl.commands import nodes as command

    session.ask(lambda client: command.nodes(client))


@Root.add("failover", timeout=MoveTimeout)
def failover(
    session: Session,
    to: To = None,
    workload: Workload = "main",
    reason: Reason = "",
    dry_run: DryRun = False,
    at: At = None,
    wait: Wait = True,
    yes: Yes = False,
) -> None:
    """Move a workload now, whether its owner is well or not.

    Without `--to` the leader chooses the best node. Shows the plan, asks for confirmation, then shows each
    step with its time. Ctrl-C detaches; the move goes on.
    """
    from mltbctl.commands import move

    session.finish(move.failover(session, move.Wish(workload, to, reason, yes, dry_run, wait, at)))


@Root.add("switchover", timeout=MoveTimeout)
def switchover(
    session: Session,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The node to move to.", autocompletion=complete_node)],
    workload: Workload = "main",
    reason: Reason = "",
    dry_run: DryRun = False,
    at: At = None,
    wait: Wait = True,
    yes: Yes = False,
) -> None:
    """Move a workload from its healthy owner to another node.

    Refused when the owner is not well; that is what `failover` is for.
    """
    from mltbctl.commands import move

    session.finish(move.switchover(session, move.Wish(workload, to, reason, yes, dry_run, wait, at)))


@Root.add("failback", timeout=MoveTimeout)
def failback(
    session: Session,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Leave the workload where it is: no automatic failback.")
    ] = False,
    workload: Workload = "main",
    reason: Reason = "",
    dry_run: DryRun = False,
    at: At = None,
    wait: Wait = True,
    yes: Yes = False,
) -> None:
    """Move a workload back to the node it belongs to."""
    from mltbctl.commands import move

    wish = move.Wish(workload, None, reason, yes, dry_run, wait, at)
    session.finish((move.cancel_failback if cancel else move.failback)(session, wish))


@Root.add("is", quiet=_Silently)
def is_(
    session: Session,
    what: Annotated[
        Literal["leader", "primary", "healthy", "paused", "quorate"],
        typer.Argument(metavar="WHAT", help="leader, primary, healthy, paused or quorate."),
    ],
    node: NodeArgument = None,
) -> None:
    """Answer a yes-or-no question by the exit code: 0 yes, 1 no.

    2 and above: it could not be told. primary: of any workload; healthy, without NODE: the whole cluster lacks nothing.
    """
    from mltbctl.commands import predicates

    with session.silenced_if_quiet(), session.client() as client:
        result = predicates.is_(client, what, node)
        if session.settings.verbose:
            session.say(result.data["reason"])
        session.finish(result, told_by_code=True)


@Root.add("health")
def health(
    session: Session,
    run: Annotated[bool, typer.Option("--run", help="Run every check now; else the last results.")] = False,
) -> None:
    """Show what the checks of a node and its workloads say.

    Exit code 0 when nothing is unhealthy, 1 when something is. With `--node` of another node.
    """
    from mltbctl.commands import health as command

    session.ask(lambda client: command.health(client, run=run))


@Root.add("wait", timeout=WaitTimeout)
def wait(
    session: Session,
    what: Annotated[
        Literal["leader", "primary", "healthy"],
        typer.Argument(metavar="WHAT", help="leader, primary or healthy."),
    ],
    node: Annotated[
        str | None,
        typer.Argument(metavar="NODE", help="Wait for this node to be it. Default: any.", show_default=False),
    ] = None,
) -> None:
    """Wait for a leader, for a running primary, or for good health.

    primary: every workload runs; healthy: and no node is missing or ill. A daemon that does not run yet is
    waited for as well.
    """
    from mltbctl.commands import predicates

    with session.client() as client:
        result = predicates.wait(client, what, node, session.settings.timeout_s)
    session.finish(result)


Root.add("pause")(hold_commands.pause)
Root.add("resume")(hold_commands.resume)
NodeGroup.add("remove")(voter_commands.remove)
NodeGroup.add("promote")(voter_commands.promote)
NodeGroup.add("admit")(voter_commands.admit)
Root.add_group("node", node_group)
Root.add_group("lock", lock)
Root.add_group("state", state)
Root.add("events", aliases=("history",))(history_commands.events)
Root.add("explain")(history_commands.explain)
Root.add("simulate", timeout=history_commands.AnswerTimeout)(history_commands.simulate)
Root.add_group("config", config)
Root.add_group("secret", secret)
Root.add_group("service", care.service)
Root.add("doctor")(care.doctor)
Root.add("reachability")(care.reachability)
Root.add("rtt")(care.rtt)
Root.add("bundle")(care.bundle)
Root.add("init")(founding_commands.init)
Root.add("join")(founding_commands.join)
Root.add("recover")(founding_commands.recover)


@Root.add("demo")
def demo(
    session: Session,
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", min=1, max=7, help="How many nodes.")] = 3,
    kill: Annotated[
        Literal["primary", "leader", "none"],
        typer.Option("--kill", metavar="WHO", help="Whose machine to kill: primary, leader or none."),
    ] = "primary",
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, max=100, help="How often.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the nodes running at the end.")] = False,
) -> None:
    """Try it on this machine: real nodes, a real bot, a killed node.

    Prints the measured downtimes and the number of moments with two owners, which must be 0.
    """
    from mltbctl.commands.demo import run_demo

    story = run_demo(nodes=nodes, kill=kill, rounds=rounds, keep=keep, output=session.output, style=session.talk)
    session.finish(story)


@Root.add("help")
def help_(
    session: Session,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND...|exit-codes]",
            callback=checked_topic,
            autocompletion=complete_topic,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Explain a command, or list the exit codes."""
    if topic == ["exit-codes"]:
        from mltbctl.commands.exit_codes import exit_codes

        session.finish(exit_codes())
    app([*(topic or []), "--help"])


@Root.add("version")
def version(session: Session) -> None:
    """Show the version; `mltbctl nodes` shows those of the daemons."""
    from mltbctl.commands.version import version as command

    session.finish(command())
