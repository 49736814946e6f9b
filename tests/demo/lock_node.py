"""A node for tests of the demo: ownership is a file lock its bot inherits, everything else is files in one directory.

`python lock_node.py NODE DIRECTORY SOCKET NODES` speaks the control plane, starts the demo's bot as owner, and moves
it on request. With a file `careless` in the directory a move starts the bot without the lock: a planted bug.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.messages import Request, Response
from mltbctl.demo.bot import RUNS_VARIABLE
from tests.transport.frame_kit import encode

ALIVE_S = 0.4
TICK_MS = 20


class LockNode:
    """One node; `tick` does all the work."""

    def __init__(self, node: str, directory: Path, nodes: list[str]) -> None:
        self.node, self.directory, self.nodes = node, directory, nodes
        self.bot: subprocess.Popen[bytes] | None = None
        self.lock = -1

    def alive(self) -> list[str]:
        def is_fresh(node: str) -> bool:
            try:
                return time.time() - (self.directory / f"alive-{node}").stat().st_mtime < ALIVE_S
            except FileNotFoundError:
                return False

        return [node for node in self.nodes if is_fresh(node)]

    def placed(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.directory / "placed").read_text())
        except FileNotFoundError:
            return {"owner": None, "wanted": None, "token": 0}
        return found

    def place(self, **changes: Any) -> None:
        unfinished = self.directory / f"placed-{self.node}"
        unfinished.write_text(json.dumps({**self.placed(), **changes}))
        unfinished.rename(self.directory / "placed")

    def tick(self) -> None:
        (self.directory / f"alive-{self.node}").touch()
        placed, alive = self.placed(), self.alive()
        quorate = len(alive) > len(self.nodes) // 2
        wanted = placed["wanted"] if placed["wanted"] in alive else None
        if self.bot is None and quorate and wanted in (None, self.node):
            self.start(placed["token"] + 1)
        elif self.bot is not None and wanted not in (None, self.node):
            # Careless, it waits until the other bot runs: each placement has left one record then.
            runs = len(list(Path(os.environ[RUNS_VARIABLE]).glob("*.run")))
            careless = (self.directory / "careless").exists()
            if not careless or (placed["owner"] != self.node and runs >= placed["token"]):
                self.stop()

    def start(self, token: int) -> None:
        careless = (self.directory / "careless").exists() and self.placed()["wanted"] == self.node
        if not careless:
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return
            self.lock = lock
        self.place(owner=self.node, wanted=self.node, token=token)
        environment = {**os.environ, "MLTB_NODE_ID": self.node, "MLTB_TOKEN": str(token)}
        command = [sys.executable, "-m", "mltbctl.demo.bot"]
        # The bot holds the lock as well: it is free only when both are dead.
        held = [self.lock] if self.lock >= 0 else []
        self.bot = subprocess.Popen(command, env=environment, pass_fds=held)

    def stop(self) -> None:
        if self.bot is not None:
            self.bot.terminate()
            self.bot.wait()
            self.bot = None
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def status(self) -> dict[str, Any]:
        placed, alive = self.placed(), self.alive()
        owner = placed["owner"]
        quorate = len(alive) > len(self.nodes) // 2
        states = {node: "LEADER" if node == owner else "ACTIVE" for node in alive}
        running = owner in alive and placed["wanted"] in (None, owner)
        return {
            "cluster": {
                "leader": owner if owner in alive and quorate else None,
                "term": placed["token"],
                "quorum": {"has_quorum": quorate},
            },
            "nodes": [{"id": node, "state": states.get(node, "UNREACHABLE")} for node in self.nodes],
            "workloads": [
                {
                    "name": "main",
                    "owner": owner,
                    "token": placed["token"],
                    "state": "RUNNING" if running else "UNKNOWN",
                }
            ],
        }

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method in ("switchover", "failback"):
            self.place(wanted=params.get("to", "n1"))
            return {"operation": 1}
        if method == "operation":
            placed = self.placed()
            done = placed["owner"] == placed["wanted"]
            return {"state": "done" if done else "running", "phases": [{"name": "move", "seconds": 0.1}]}
        return self.status()


def main() -> None:
    node, directory, path, nodes = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).unlink(missing_ok=True)
    this = LockNode(node, Path(directory), nodes.split(","))
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.bind(f"ipc://{path}")
        try:
            while True:
                if router.poll(TICK_MS):
                    route, payload = router.recv_multipart()
                    request = decode(payload).message
                    assert isinstance(request, Request)
                    body = json.dumps(this.answer(request.method, json.loads(request.params)))
                    response = Response(request.id, ok=True, body=body)
                    router.send_multipart([route, encode(Frame(PROTOCOL, "", node, 1, 1, response))])
                this.tick()
        finally:
            this.stop()


if __name__ == "__main__":
    main()
