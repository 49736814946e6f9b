"""Commands applied to a store one by one, for tests of what comes of them."""

from __future__ import annotations

from typing import Any

from mltb_transport.messages import Entry
from mltb_transport.store import ACQUIRE, EXPIRE, SET, Batch, packed
from mltbd.state.store import Store

TERM = 3


class Story:
    """Commands applied one by one; every client counts for itself."""

    def __init__(self) -> None:
        self.store = Store()
        self.index = 0
        self.seqs: dict[str, int] = {}

    def tell(self, kind: int, *args: str | int, client: str = "c", seq: int = 0, term: int = TERM) -> tuple[Any, ...]:
        if not client.startswith("~"):
            self.seqs[client] = seq = seq or self.seqs.get(client, 0) + 1
        return self.entry(packed(client, seq, kind, *args).body, term=term)[0][2]

    def entry(self, *bodies: bytes, term: int = TERM) -> list[tuple[str, int, tuple[Any, ...]]]:
        self.index += 1
        return self.store.apply(Entry(self.index, term, self.index * 1000, Batch(bodies)))

    def set(self, key: str, value: str = "1", version: int = -1, lock: str = "", token: int = 0, **who: Any) -> Any:
        return self.tell(SET, key, value, version, lock, token, **who)

    def acquire(self, name: str, wait_ms: int = 0, delay_ms: int = 0, **who: Any) -> tuple[Any, ...]:
        return self.tell(ACQUIRE, name, 5000, wait_ms, delay_ms, "holder", **who)

    def expire(self, name: str, term: int = TERM, client: str = "~clock", **other: int) -> tuple[Any, ...]:
        lock = self.store.locks.get(name)
        token = other.get("token", lock.token if lock else 0)
        generation = other.get("generation", lock.generation if lock else 0)
        return self.tell(EXPIRE, name, token, generation, term, client=client)
