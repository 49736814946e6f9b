"""Who ran, and when: each bot process records its own life, and the checker finds two lives at one instant.

The record is a small file mapped into memory, stamped every 2 ms by a thread of the bot: it survives SIGKILL,
and a process that is stopped or dead stamps nothing. Standard library only: the bot loads this first of all.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BEAT_S = 0.002
"""How often a run is stamped, and so how exactly its end is known."""
RUNS_MAX = 10_000
"""Runs one check reads."""
_BYTES = 256
_MAGIC = 0x6D6C7462_72756E31
# 64-bit words of the record; the node's name follows as UTF-8, padded with zeros.
_TOKEN, _PID, _FIRST, _LAST, _GAP = 1, 2, 3, 4, 5
_NAME_AT = 64


class RunRecordError(Exception):
    """A record that cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process of the workload: alive from `first_ns` to `last_ns`, in nanoseconds of `now_ns`.

    `gap_ns`: the longest time between two stamps, as a busy machine may delay them.
    """

    node: str
    token: int
    pid: int
    first_ns: int
    last_ns: int
    gap_ns: int = 0


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two processes that were alive at the same time, for this long at the least."""

    first: Run
    second: Run
    seconds: float


def now_ns() -> int:
    """Nanoseconds on the one clock all processes of a machine share; it runs on through suspend."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RunRecord:
    """The record of the calling process. `keep_beating` stamps it until the process ends."""

    def __init__(self, directory: Path, node: str, token: int) -> None:
        """Creates the record, first instant now. OSError when that fails; ValueError for a long name."""
        name = node.encode()
        if len(name) > _BYTES - _NAME_AT:
            raise ValueError(f"the node name `{node}` is longer than {_BYTES - _NAME_AT} bytes")
        first_ns, pid = now_ns(), os.getpid()
        self.path = directory / f"{first_ns}-{pid}.run"
        unfinished = self.path.with_suffix(".new")
        with unfinished.open("w+b") as file:
            file.truncate(_BYTES)
            self._map = mmap.mmap(file.fileno(), _BYTES)
        self._map[_NAME_AT : _NAME_AT + len(name)] = name
        # Whole words: a stamp is one store, never seen half-written.
        self._words = memoryview(self._map).cast("q")
        self._words[0], self._words[_TOKEN], self._words[_PID] = _MAGIC, token, pid
        self._words[_FIRST] = self._words[_LAST] = first_ns
        # Under its name only when complete, so that a reader finds no empty record.
        unfinished.rename(self.path)

    def beat(self) -> None:
        """Stamps this instant."""
        at_ns = now_ns()
        self._words[_GAP] = max(self._words[_GAP], at_ns - self._words[_LAST])
        self._words[_LAST] = at_ns

    def keep_beating(self) -> None:
        """Stamps every `BEAT_S` from a thread of its own, which ends with the process."""

        def beat_for_ever() -> None:
            while True:
                self.beat()
                time.sleep(BEAT_S)

        threading.Thread(target=beat_for_ever, name="run-record", daemon=True).start()

    def close(self) -> None:
        """Releases the mapping; only for a record that does not beat by itself."""
        self._words.release()
        self._map.close()


def read_runs(directory: Path) -> list[Run]:
    """All runs recorded there, by first instant. RunRecordError for a damaged one, or too many."""
    runs: list[Run] = []
    for path in sorted(directory.glob("*.run")):
        if len(runs) == RUNS_MAX:
            raise RunRecordError(f"more than {RUNS_MAX} runs in `{directory}`")
        runs.append(_read(path))
    return sorted(runs, key=lambda run: (run.first_ns, run.pid))


def overlaps(runs: Iterable[Run]) -> list[Overlap]:
    """Every pair of processes that were alive at one instant, whatever their nodes and tokens."""
    found: list[Overlap] = []
    alive: list[Run] = []
    for run in sorted(runs, key=lambda run: (run.first_ns, run.pid)):
        alive = [other for other in alive if other.last_ns >= run.first_ns]
        for other in alive:
            shared_ns = min(other.last_ns, run.last_ns) - run.first_ns
            found.append(Overlap(other, run, shared_ns / 1e9))
        alive.append(run)
    return found


def _read(path: Path) -> Run:
    content = path.read_bytes()
    if len(content) != _BYTES:
        raise RunRecordError(f"`{path}` has {len(content)} bytes, not {_BYTES}")
    with memoryview(content) as view, view.cast("q") as words:
        magic, token, pid, first_ns, last_ns, gap_ns = words[: _GAP + 1].tolist()
    if magic != _MAGIC or pid <= 0 or last_ns < first_ns:
        raise RunRecordError(f"`{path}` is not the record of a run")
    try:
        node = content[_NAME_AT:].rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise RunRecordError(f"`{path}` is not the record of a run") from error
    return Run(node, token, pid, first_ns, last_ns, gap_ns)
