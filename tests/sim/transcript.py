"""Stories as text: commands, each followed by `----` and what the cluster then did. Reads, plays, writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mltbd.core.failover import Policy
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.history import Down, Ended, Happening, Noted, Replied, Up
from tests.sim.stage import around, until

RULE = "----"
CALM_S = 1.0
CHATTER = ("member `", "others know")


class TranscriptError(Exception):
    """The file, or a command in it, makes no sense."""


@dataclass(slots=True)
class Step:
    """One command with its comments above and what is expected of it."""

    comments: list[str]
    command: str
    expected: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [*self.comments, self.command, RULE, *self.expected]


def parse(text: str) -> list[Step]:
    """The steps of a transcript; they are separated by empty lines."""
    steps: list[Step] = []
    for block in text.strip().split("\n\n"):
        lines = block.strip().splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rest = lines[len(comments) :]
        if not rest and comments and not steps:
            raise TranscriptError("the head comment must be followed by a command without an empty line")
        if len(rest) < 2 or rest[1] != RULE:
            raise TranscriptError(f"no command and `{RULE}` in:\n{block}")
        steps.append(Step(comments, rest[0], rest[2:]))
    return steps


def written(steps: list[Step]) -> str:
    return "\n\n".join("\n".join(step.lines()) for step in steps) + "\n"


class Player:
    """Plays the commands on one cluster; each returns what happened since the one before it."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._seen = 0

    def play(self, command: str) -> list[str]:
        verb, *words = command.split()
        action = getattr(self, f"_do_{verb.replace('-', '_')}", None)
        if action is None:
            raise TranscriptError(f"unknown command `{verb}`")
        shown: list[str] | None = action(*words)
        return shown if shown is not None else self._news() or ["ok"]

    def _news(self) -> list[str]:
        fresh = self._here.history[self._seen :]
        self._seen = len(self._here.history)
        return [line for line in map(_told, fresh) if line]

    @property
    def _here(self) -> Cluster:
        if self._cluster is None:
            raise TranscriptError("the first command must be `start`")
        return self._cluster

    # -- commands --------------------------------------------------------------------------------------------

    def _do_start(self, *settings: str) -> None:
        """`start priorities=100,100,100 [roles=...] [lease=3] [prefer=n2,n1] [recovery=60] [seed=1]`"""
        told = dict(setting.split("=", 1) for setting in settings)
        priorities = tuple(int(number) for number in told["priorities"].split(","))
        roles = tuple(told["roles"].split(",")) if "roles" in told else ("voter",) * len(priorities)
        preferred = {WORKLOAD: tuple(told["prefer"].split(","))} if "prefer" in told else {}
        policy = Policy(recovery_wait_s=float(told.get("recovery", "60")), preferred=preferred)
        shape = Shape(roles, priorities, float(told.get("lease", "3")), policy=policy)
        self._cluster = Cluster(shape, int(told.get("seed", "1")))
        self._cluster.power_on(0.0)
        self._cluster.run_for(0.01)

    def _do_run(self, seconds: str) -> None:
        self._here.run_for(float(seconds))

    def _do_settle(self) -> None:
        """Until one leads and the workload runs; and a little longer."""
        until(self._here, lambda: self._here.settled, "settled cluster", 60.0)
        self._here.run_for(CALM_S)

    def _do_ask(self, name: str, verb: str, target: str = "") -> None:
        self._here.ask(self._here.machines[name], verb, target)
        self._here.run_for(0.1)

    def _do_crash_daemon(self, name: str) -> None:
        self._here.machines[name].crash_daemon()

    def _do_crash_machine(self, name: str) -> None:
        self._here.machines[name].crash_machine()

    def _do_boot(self, name: str) -> None:
        self._here.start_again(self._here.machines[name])

    def _do_pause(self, name: str) -> None:
        self._here.machines[name].pause()

    def _do_resume(self, name: str) -> None:
        self._here.machines[name].resume()

    def _do_stop(self, name: str) -> None:
        self._here.machines[name].ask_to_stop()

    def _do_exit(self, name: str) -> None:
        self._here.machines[name].guard.exits(WORKLOAD, 1)

    def _do_break(self, name: str) -> None:
        """The workload cannot be started there any more."""
        self._here.machines[name].guard.fails_until = float("inf")

    def _do_cut(self, name: str) -> None:
        self._here.network.block(around(self._here, name))

    def _do_join(self) -> None:
        self._here.network.heal()

    def _do_state(self) -> list[str]:
        """Who is what, in one line a node."""
        self._news()
        lines = []
        for name, machine in self._here.machines.items():
            run = machine.guard.runs.get(WORKLOAD)
            role = machine.node.consensus.role if machine.node is not None else "off"
            lines.append(f"{name} {role}{f', runs {WORKLOAD} under token {run.token}' if run else ''}")
        return lines


def _told(happening: Happening) -> str:
    match happening:
        case Noted(_, node, text):
            return "" if text.startswith(CHATTER) else f"{node}: {text}"
        case Up(_, node, workload, token):
            return f"{node}: {workload} runs (token {token})"
        case Down(_, node, workload, token):
            return f"{node}: {workload} is gone (token {token})"
        case Ended(_, node, how):
            return f"{node}: daemon ends ({how})"
        case Replied(_, node, _, code, operation, target):
            return f"{node}: answers {code or 'ok'}{f', operation {operation} to {target}' if operation else ''}"
        case _:
            return ""


def play(path: Path) -> tuple[list[Step], list[Step]]:
    """The steps as the file has them, and as they are now."""
    steps = parse(path.read_text())
    player = Player()
    return steps, [Step(step.comments, step.command, player.play(step.command)) for step in steps]
