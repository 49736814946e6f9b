"""Sets the demo's stage and clears it away on every way out: directory, stand-in Bot API, nodes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mltbctl.demo.bot import API_VARIABLE, BOT_TOKEN_VARIABLE, RUNS_VARIABLE
from mltbctl.demo.bot_methods import TOKEN
from mltbctl.demo.cluster import Cluster, NodePlan, Workload, clean_environment
from mltbctl.demo.runs import Run, read_runs
from mltbctl.demo.stand_in import StandIn
from mltbctl.demo.sweep import KEEP, MARK_VARIABLE

SWEEP_S = 15.0
"""How long the last resort may take to clear up."""

_Handler = Callable[[int, FrameType | None], object] | signal.Handlers | int | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the story plays on."""

    directory: Path
    cluster: Cluster
    stand_in: StandIn

    def runs(self) -> list[Run]:
        """Every process of the bot so far."""
        return read_runs(self.directory / "runs")


@contextlib.contextmanager
def stage(nodes: int, *, keep: bool, command: Callable[[NodePlan], list[str]] = NodePlan.command) -> Iterator[Stage]:
    """A stage for that many nodes, none started yet. Afterwards nothing is left of it, unless `keep`.

    An interruption clears up even then. ClusterError or StandInError when it cannot be set.
    """
    directory = Path(tempfile.mkdtemp(prefix="mltb-demo-")).resolve()
    last_resort = _last_resort(directory)
    try:
        with _ended_by_sigterm(), contextlib.ExitStack() as stack:
            runs = directory / "runs"
            runs.mkdir()
            stand_in = StandIn(clean_environment(f"{directory}/bot-api"))
            stack.callback(stand_in.close)
            environment = {API_VARIABLE: stand_in.url, BOT_TOKEN_VARIABLE: TOKEN, RUNS_VARIABLE: str(runs)}
            workload = Workload([sys.executable, "-m", "mltbctl.demo.bot"], environment)
            cluster = Cluster(nodes, directory, workload, command)
            stack.callback(cluster.stop)
            yield Stage(directory, cluster, stand_in)
            if keep:
                stack.pop_all()
                _tell(last_resort, KEEP)
    finally:
        with _undisturbed():
            _tell(last_resort, b"")


def end_command(directory: Path) -> str:
    """The command that ends what `keep` left running."""
    return f"{sys.executable} -m mltbctl.demo.sweep --mark {directory} --directory {directory}"


def _last_resort(directory: Path) -> subprocess.Popen[bytes]:
    # Waits for the end of its stdin, which comes with the end of this process, SIGKILL included.
    command = [sys.executable, "-m", "mltbctl.demo.sweep", "--when-stdin-ends"]
    environment = clean_environment("")
    del environment[MARK_VARIABLE]
    return subprocess.Popen(
        [*command, "--mark", str(directory), "--directory", str(directory)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _tell(last_resort: subprocess.Popen[bytes], word: bytes) -> None:
    if last_resort.stdin is None or last_resort.stdin.closed:
        return
    with contextlib.suppress(BrokenPipeError):
        last_resort.stdin.write(word)
        last_resort.stdin.close()
    try:
        last_resort.wait(SWEEP_S)
    except subprocess.TimeoutExpired:
        last_resort.kill()
        last_resort.wait()


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    with _handled({signal.SIGTERM: end, signal.SIGHUP: end}):
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    with _handled(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


@contextlib.contextmanager
def _handled(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's own.
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
