"""`mltbctl demo`: the whole promise on one machine: real nodes, a real bot, a killed machine, measured."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from mltbctl.errors import CliError
from mltbctl.result import ExitCode, Result, Style

if TYPE_CHECKING:
    from mltbctl.demo.report import Report
    from mltbctl.demo.stage import Stage

_EXTRA = ("telegram", "aiohttp")


def run_demo(nodes: int, kill: str, rounds: int, keep: bool, output: str, style: Style) -> Result:
    """Tells the story on stderr while it happens; the Result holds what was measured, DONE only if all held.

    `output` is the format of stdout, `style` how stderr may look. With `keep` the nodes run on, and the text
    says how to talk to them and how to end them. CliError when the bot library is not installed.
    """
    _check()
    from mltbctl.demo.cluster import ClusterError
    from mltbctl.demo.stage import end_command, stage
    from mltbctl.demo.stand_in import StandInError

    live = sys.stderr.isatty() and output not in ("json", "jsonl")
    try:
        with stage(nodes, keep=keep) as here:
            report = _tell(here, kill, rounds, style, live=live)
            sockets = {node: str(plan.socket) for node, plan in here.cluster.plans.items()}
            end = end_command(here.directory)
    except (ClusterError, StandInError) as error:
        raise CliError(str(error)) from error
    data = report.data()
    if keep:
        data["kept"] = {"sockets": sockets, "directory": str(here.directory), "end": end}

    def text(style: Style) -> str:
        painted = report.text(style)
        if keep:
            first = next(iter(sockets.values()))
            painted += f"\n\nthe nodes run on: `mltbctl --node {first} status`\nend them with: `{end}`"
        return painted

    return Result(data, text, ExitCode.DONE if report.ok else ExitCode.FAILED)


def _tell(here: Stage, kill: str, rounds: int, style: Style, *, live: bool) -> Report:
    from mltbctl.demo.stand_in import Sender
    from mltbctl.demo.story import RATE, Story
    from mltbctl.demo.timeline import Timeline
    from mltbctl.demo.watch import Watch

    timeline = Timeline(sys.stderr, style, live=live)
    sender = Sender(here.stand_in, RATE)
    sockets = {node: plan.socket for node, plan in here.cluster.plans.items()}
    with Watch(sockets) as watch:
        report = Story(here, watch, sender, timeline, kill, rounds).tell()
    if report.error:
        for node in here.cluster.nodes:
            print(f"--- the last lines of {node}", here.cluster.log_tail(node), sep="\n", file=sys.stderr)
    return report


def _check() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise CliError(
            f"the demo needs the package `{missing[0]}`, which is not installed",
            "run `pip install 'mltbctl[demo]'`",
        )
    if importlib.util.find_spec("mltbd") is None:
        raise CliError("the demo starts `mltbd`, which is not installed", "run `pip install 'mltbctl[demo]'`")
    if not sys.platform.startswith("linux"):
        raise CliError("the demo needs Linux: it finds and kills processes through /proc")
