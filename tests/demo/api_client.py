"""A stand-in Bot API for one test, and bots that poll it: real processes, real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltbctl.demo.bot import API_VARIABLE, BOT_TOKEN_VARIABLE, RUNS_VARIABLE
from mltbctl.demo.bot_methods import TOKEN
from mltbctl.demo.stand_in import StandIn
from tests import waiting

DEADLINE_S = 15.0


def python_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


@contextmanager
def running_stand_in() -> Iterator[StandIn]:
    with StandIn(python_environment()) as stand_in:
        yield stand_in


def call(stand_in: StandIn, method: str, token: str = TOKEN, **params: Any) -> tuple[int, dict[str, Any]]:
    """(HTTP status, body) of one call of a method."""
    line = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=DEADLINE_S)
    try:
        line.request("POST", f"/bot{token}/{method}", json.dumps(params), {"Content-Type": "application/json"})
        response = line.getresponse()
        return response.status, json.loads(response.read())
    finally:
        line.close()


@contextmanager
def running_bot(stand_in: StandIn, node: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo's bot as `node`; killed in the end if it still runs."""
    environment = {
        **python_environment(),
        API_VARIABLE: stand_in.url,
        BOT_TOKEN_VARIABLE: TOKEN,
        RUNS_VARIABLE: str(directory),
        "MLTB_NODE_ID": node,
        "MLTB_TOKEN": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", "mltbctl.demo.bot"], env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(what: str, holds: Callable[[], bool], bound_s: float = DEADLINE_S) -> None:
    """Waits for a condition; an AssertionError names it when it does not come true in time."""
    waiting.until(holds, bound_s, what)
