"""Unsafe recovery as a program: `python -m mltbd.runtime.recover look|go DIR NODE [NAME]` prints one JSON object.

It takes the state directory like a daemon, so it runs only while none does. `go` wants the name of the cluster.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

from mltbd.core.events import Recovered
from mltbd.core.recovery import NothingToRecover, alone, replayed
from mltbd.core.snapshots import SnapshotError
from mltbd.runtime.ballast import BALLAST_BYTES
from mltbd.runtime.clock import wall_ms
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError

DISK_S = 60.0
DONE, REFUSED, UNSURE = 0, 5, 6


def main(arguments: list[str]) -> int:
    """Entry point. The journal must be there already: nothing is created where a path was mistyped."""
    match arguments:
        case ["look", directory, node]:
            name = ""
        case ["go", directory, node, name]:
            pass
        case _:
            return _say(REFUSED, error="usage: look DIR NODE, or go DIR NODE NAME")
    try:
        os.stat(Path(directory) / "journal.db")
    except (FileNotFoundError, NotADirectoryError):
        return _say(REFUSED, error=f"`{directory}` holds no journal", hint="name the directory with `--state-dir`")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return _say(REFUSED, error=f"cannot look into `{directory}`: {why}", hint="run it as the user of `mltbd`")
    written = _Written()
    try:
        journal, found = Journal.open(Path(directory), node, written.failed, ballast_bytes=BALLAST_BYTES)
    except JournalError as error:
        return _say(REFUSED, error=str(error), hint=error.hint)
    try:
        return _look(found, node) if not name else _go(journal, written, found, node, name)
    except (NothingToRecover, SnapshotError) as error:
        return _say(REFUSED, error=str(error), hint="")
    finally:
        journal.close()


def _look(found: Recovered, node: str) -> int:
    state = replayed(found)
    voters = [voter.node for voter in state.voters]
    lease_s = max((placement.lease_s for placement in state.placements.by_workload.values()), default=0.0)
    return _say(
        DONE, name=state.name, cluster=state.cluster, node=node, voters=voters, last_index=found.last_index,
        lease_s=lease_s,
    )  # fmt: skip


class _Written:
    """How the one write ended, told by the thread of the journal. `error`: it may be on the disk all the same."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: JournalError | None = None

    def failed(self, error: JournalError) -> None:
        self.error = error
        self.ended.set()


def _go(journal: Journal, written: _Written, found: Recovered, node: str, name: str) -> int:
    if name != replayed(found).name:
        return _say(REFUSED, error=f"this is not the cluster `{name}`", hint="")
    cluster = str(uuid.uuid4())
    save = alone(found, node, cluster, wall_ms())
    journal.submit(save, written.ended.set)
    if not written.ended.wait(DISK_S):
        # What waits is still written when the journal closes, if the disk comes back.
        return _say(UNSURE, error=f"the disk did not answer for {DISK_S:g} s", hint="mend the disk")
    if written.error is not None:
        return _say(UNSURE, error=str(written.error), hint=written.error.hint)
    index = save.snapshot.index if save.snapshot is not None else 0
    return _say(DONE, cluster=cluster, node=node, term=save.term, index=index)


def _say(code: int, **body: Any) -> int:
    json.dump(body, sys.stdout)
    sys.stdout.write("\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
