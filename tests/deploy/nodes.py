"""Nodes as processes on loopback, each with its own environment and files, as deploy/ would start them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltbctl.client import Client, MltbError
from tests.mltbctl.terminal import environment

READY_S = 60.0
STOP_WITHIN_S = 60.0


@contextmanager
def running(environ: dict[str, str], log: Path, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """One node; at the end it stops in good order, and must. `before`: the words before its command."""
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*before, sys.executable, "-P", "-m", "mltbd.main", "run"],
            env=environment(**environ), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            finally:
                process.kill()


def picture(path: Path) -> dict[str, Any] | None:
    try:
        with Client(str(path), timeout=2) as client:
            return client.status()
    except MltbError:
        return None
