"""Three nodes at work on commands of clients: what is submitted, and what becomes of it."""

from __future__ import annotations

from typing import Any

from mltb_transport.store import SET, Batch, Packed, packed
from mltbd.core.effects import Effect, Outcomes, Refusals
from mltbd.core.events import Submit
from mltbd.core.node import Node
from tests.daemon.core.node_kit import Wired


def put(client: str, seq: int = 1, key: str = "k", value: str = "1") -> Packed:
    return packed(client, seq, SET, key, value, -1, "", 0)


class Desk:
    """Three nodes at work; n1 leads."""

    def __init__(self, *names: str, **config: Any) -> None:
        self.wired = Wired(*(names or ("n1", "n2", "n3")), **config)
        self.wired.until(lambda: self.leader is not None and self.leader.placer.current, 20.0)
        self.wired.run(1.0)
        self.seen = len(self.wired.effects)

    @property
    def leader(self) -> Node | None:
        leading = [node for node in self.wired.nodes.values() if node.consensus.reign is not None]
        return leading[0] if leading else None

    @property
    def n1(self) -> Node:
        return self.wired.nodes["n1"]

    def submit(self, name: str, *commands: Packed) -> None:
        self.wired.feed(name, Submit(commands))

    def told(self, name: str, kind: type[Effect]) -> list[Any]:
        return [e for _, who, e in self.wired.effects[self.seen :] if who == name and isinstance(e, kind)]

    def outcomes(self, name: str) -> dict[tuple[str, int], tuple[Any, ...]]:
        return {(client, seq): o for effect in self.told(name, Outcomes) for client, seq, o in effect.done}

    def refusals(self, name: str) -> dict[tuple[str, int], str]:
        return {key: effect.code for effect in self.told(name, Refusals) for key in effect.keys}

    def batches(self) -> list[int]:
        log = self.n1.consensus.log
        return [len(entry.command.commands) for entry in log.after(0) if isinstance(entry.command, Batch)]
