"""A small firm's machines for a year: nodes set up by `init` and `join`, and an operator who types `mltbctl`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import clean_environment
from tests.e2e.namespaces import Cables
from tests.e2e.stage import Stage
from tests.e2e.year_clients import Program
from tests.waiting import until

NAME = "year"
PATIENCE_S = 90.0
LOOK_S = 0.05
CALL_S = "60"
STARVED_S = 0.3
"""A workload that could not stamp for so long shows that the machine, too, had no time for leases."""
_WORKLOAD = "\n[workload.main]\n"
# No automatic failback: what moves in this story is moved by what the story tells.
_OPTIONS = "FAILOVER_RECOVERY_WAIT_TIME = 3600\n"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the history has to tell in the end."""

    kind: str
    facts: dict[str, str]

    def fits(self, event: dict[str, Any]) -> bool:
        return event["kind"] == self.kind and all(event[name] == value for name, value in self.facts.items())


class Year(Stage):
    """Machines, the operator's commands, and what was decided so far. As a context it starts nothing by itself."""

    def __init__(self, directory: Path, cables: Cables) -> None:
        super().__init__(directory, len(cables.nodes), cables=cables)
        self.cables = cables
        self.decisions: list[Decision] = []
        self.programs: list[Program] = []
        self._eyes = {node: Client(str(plan.socket), timeout=2) for node, plan in self.cluster.plans.items()}
        self._workload_table: dict[str, str] = {}
        for node, plan in self.cluster.plans.items():
            self._workload_table[node] = _WORKLOAD + plan.config.read_text().partition(_WORKLOAD)[2]
            plan.config.unlink()

    def __enter__(self) -> Year:
        return self

    def __exit__(self, *error: object) -> None:
        for program in self.programs:
            program.ending.set()
        try:
            super().__exit__(*error)
        finally:
            for program in self.programs:
                program.join(PATIENCE_S)
            for eye in self._eyes.values():
                eye.close()

    # -- what the operator types ------------------------------------------------------------------------------

    def ctl(self, *words: str, node: str = "", code: int = 0, inside: bool = False) -> tuple[str, str]:
        """stdout and stderr of one command that ends with `code`, asked of `node`; `inside`: on its network too."""
        node = node or self.cluster.started[0]
        socket = str(self.cluster.plans[node].socket)
        command = [sys.executable, "-m", "mltbctl", "--timeout", CALL_S, *words]
        done = subprocess.run(
            [*self.cables.within(node), *command] if inside else command,
            env=clean_environment(f"{self.cluster.mark}/cli") | {"MLTB_SOCKET": socket},
            capture_output=True, text=True, timeout=2 * float(CALL_S), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        said = f"mltbctl {' '.join(words)} on {node} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        return done.stdout, done.stderr

    def ask(self, *words: str, node: str = "") -> Any:
        """The JSON of one command."""
        return json.loads(self.ctl(*words, "-o", "json", node=node)[0])

    # -- machines ---------------------------------------------------------------------------------------------

    def init(self, node: str) -> str:
        """Sets up the founder; the token for the others."""
        line = self.ctl("init", "--name", NAME, "--state-dir", str(self.state(node)), *self._place(node), node=node)[0]
        self._with_workload(node)
        return line.split()[-1]

    def join(self, node: str, token: str) -> None:
        self.ctl("join", token, *self._place(node), node=node)
        self._with_workload(node)

    def state(self, node: str) -> Path:
        return self.cluster.plans[node].directory / "state"

    def secret(self, node: str) -> Path:
        return self.cluster.plans[node].directory / "mltb.secret"

    def stop(self, node: str) -> None:
        """As `systemctl stop` does: it hands over and ends with 0."""
        os.kill(self.cluster.pid(node), signal.SIGTERM)
        assert self.cluster.wait(node, PATIENCE_S) == 0, self.cluster.log_tail(node)

    def wipe(self, node: str) -> None:
        """A new disk in an old machine."""
        shutil.rmtree(self.state(node))
        self.state(node).mkdir(mode=0o700)

    def copy_secret(self, source: str, *targets: str) -> None:
        for target in targets:
            shutil.copy(self.secret(source), self.secret(target))

    def _place(self, node: str) -> list[str]:
        plan = self.cluster.plans[node]
        return ["--node-id", node, "--address", plan.host, "--port", str(plan.port), "--config", str(plan.config)]

    def _with_workload(self, node: str) -> None:
        with self.cluster.plans[node].config.open("a") as config:
            config.write(_OPTIONS + self._workload_table[node])

    @contextlib.contextmanager
    def small_disk(self, node: str, mib: int) -> Iterator[None]:
        """The state of a stopped node on a file system of so many MiB. It is stopped again when the context ends."""
        state, aside = self.state(node), self.state(node).with_name("aside")
        state.rename(aside)
        state.mkdir(mode=0o700)
        _run("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "none", str(state))
        try:
            shutil.copytree(aside, state, dirs_exist_ok=True)
            yield
            shutil.rmtree(aside)
            shutil.copytree(state, aside)
        finally:
            if node in self.cluster.started:
                self.cluster.kill(node)
            # Lazily, lest anything that still looks into it keep the mount beyond the test.
            _run("umount", "-l", str(state))
            state.rmdir()
            aside.rename(state)

    # -- how things stand -------------------------------------------------------------------------------------

    def status(self, node: str) -> dict[str, Any] | None:
        """As a stage has it, by a line that is kept: this story looks very often."""
        try:
            return self._eyes[node].status()
        except MltbError:
            self._eyes[node].close()
            return None

    def voters(self, node: str) -> set[str]:
        """Who counts, answers and holds the disk it votes with, as one node sees it."""
        seen = self.status(node)
        return {each["id"] for each in seen["nodes"] if each["voter"] and each["answers"]} if seen else set()

    def whole(self, *voters: str) -> str:
        """Wait until every node that was started sees these voters, a leader, and the same owner; its name."""

        def agreed() -> str | None:
            owners = {self._owner_if_whole(node, set(voters)) for node in self.cluster.started}
            return owners.pop() if len(owners) == 1 else None

        return str(until(agreed, PATIENCE_S, f"whole, with the voters {' '.join(voters)}", LOOK_S))

    def _owner_if_whole(self, node: str, voters: set[str]) -> str | None:
        seen = self.status(node)
        if not seen or not seen["cluster"]["leader"] or not seen["cluster"]["quorum"]["has_quorum"]:
            return None
        if seen["cluster"]["quorum"]["voters"] != len(voters) or self.voters(node) != voters:
            return None
        runs = [each for each in seen["workloads"] if each["state"] == "RUNNING"]
        return str(runs[0]["owner"]) if runs else None

    def elsewhere(self, owner: str) -> str:
        """Wait until another node runs it; its name."""
        others = self.others(owner)
        what = f"moves from {owner}"
        return str(until(lambda: (found := self.owner(*others)) != owner and found, PATIENCE_S, what, LOOK_S))

    def member(self, name: str, node: str) -> dict[str, Any]:
        """What `node` tells of the member `name`; empty while it tells nothing."""
        seen = self.status(node)
        return next((each for each in seen["nodes"] if each["id"] == name), {}) if seen else {}

    @property
    def starved(self) -> bool:
        """Whether this machine was too busy for a lease at any time: then a move says nothing about the product."""
        return any(run.gap_ns > STARVED_S * 1e9 for run in self.runs())

    # -- what the history will have to tell -------------------------------------------------------------------

    def decided(self, kind: str, **facts: str) -> None:
        self.decisions.append(Decision(kind, {name.rstrip("_"): value for name, value in facts.items()}))

    def served(self) -> None:
        """Wait until each program has been answered again."""
        before = [program.done for program in self.programs]
        until(
            lambda: all(program.done > done for program, done in zip(self.programs, before, strict=True)),
            PATIENCE_S,
            lambda: f"the programs go on: {[program.trouble[-3:] for program in self.programs]}",
        )


def cannot_mount(directory: Path) -> str:
    """Why no file system can be mounted here; empty when it can."""
    try:
        _run("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(directory))
    except (AssertionError, OSError) as error:
        return str(error)
    _run("umount", "-l", str(directory))
    return ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
