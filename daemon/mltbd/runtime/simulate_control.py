"""`simulate` on the control plane: the present position goes to a process of its own, its answer to whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

from mltbd.core.node import Node
from mltbd.core.snapshots import SnapshotError
from mltbd.runtime import views
from mltbd.runtime.shield import Done
from mltbd.whatif.faults import FAULT_CHARS_MAX
from mltbd.whatif.position import packed, position_of

WALL_S = 30.0
"""The process has a limit on its own time as well; this one is for a machine that does not let it run."""
ANSWER_BYTES_MAX = 128 * 1024
INHERITED = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
"""What the child is told of our environment: no secret among it."""
COMMAND = (sys.executable, "-P", "-m", "mltbd.whatif.child")


class Simulations:
    """One at a time: a what-if must not take the machine from what is."""

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def ask(self, node: Node, fault: object, now: float, answer: Done) -> None:
        """Answers exactly once, now or later."""
        if not isinstance(fault, str) or not fault or len(fault) > FAULT_CHARS_MAX:
            answer(False, _error("usage", f"`fault` is a text of up to {FAULT_CHARS_MAX} characters"))
            return
        if not node.state.applied:
            answer(False, _error("refused", "there is no cluster yet that anything could happen to"))
            return
        if self.busy:
            answer(False, _error("unavailable", "another simulation runs", "try again"))
            return
        try:
            position = position_of(node, views.reachable(node, now), now)
        except SnapshotError as error:
            answer(False, _error("failed", str(error)))
            return
        question = json.dumps({"fault": fault, "position": packed(position)}).encode()
        self._running = asyncio.get_running_loop().create_task(_answered(question, answer), name="simulate")


async def _answered(question: bytes, answer: Done) -> None:
    try:
        body = await _asked(question)
    except TimeoutError:
        body = _error("failed", f"the simulation did not end within {WALL_S:g} s")
    except (OSError, ValueError) as error:
        body = _error("failed", f"the simulation failed: {error}")
    answer("code" not in body, body)


async def _asked(question: bytes) -> dict[str, Any]:
    """The child's answer. Whatever happens, no child is left behind."""
    environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *COMMAND, env=environ, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, limit=ANSWER_BYTES_MAX,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(child.communicate(question), WALL_S)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode or len(said) > ANSWER_BYTES_MAX:
        raise ValueError(f"its process ended with status {child.returncode}")
    body = json.loads(said)
    if not isinstance(body, dict):
        raise ValueError("its process answered with no object")
    return body


def _error(code: str, message: str, hint: str = "mltbctl simulate --help") -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint}
