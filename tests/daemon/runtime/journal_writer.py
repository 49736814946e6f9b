"""A process that writes to a journal until it is killed or the disk is full; run by test_journal_crash.py.

Prints a line for each thing that happens: `begin <incarnation> <entries>`, `ack <index> <term>`,
`failed <error class>`, `room <True or False>`, and with a filler file, after it made room again,
`again <last index> <term>`. With `--compact` it takes a snapshot every few entries; with `--stuff` it has a ballast and
fills the disk with this file after its first entries.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import threading
from functools import partial
from pathlib import Path

from mltb_transport.messages import Entry, Grant
from mltbd.core.effects import Save
from mltbd.core.snapshots import Snapshot
from mltbd.runtime.ballast import BALLAST_BYTES
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError

IN_FLIGHT = 8
TERM_EVERY = 7
COMPACT_EVERY, TAIL = 5, 3
STUFF_AFTER = 20
LEFT_BYTES = 200_000


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def term_of(index: int) -> int:
    return index // TERM_EVERY + 1


def compacted(index: int) -> tuple[Snapshot | None, tuple[int, int]]:
    """Now and then, of all before this entry; with a tail, or without one."""
    if index % COMPACT_EVERY:
        return None, (0, 0)
    base = index - 1 - TAIL * (index // COMPACT_EVERY % 2)
    return Snapshot.take(index - 1, term_of(index - 1), "c1", (), ["x" * index]), (base, term_of(base))


def stuff(path: Path) -> None:
    """Fill the disk but for a little."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            file.truncate(max(0, file.tell() - LEFT_BYTES))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--file-bytes-max", type=int)
    parser.add_argument("--filler", type=Path)
    parser.add_argument("--compact", action="store_true")
    parser.add_argument("--stuff", type=Path)
    options = parser.parse_args()
    if options.file_bytes_max:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_bytes_max, options.file_bytes_max))
    room = threading.Semaphore(IN_FLIGHT)
    stopped = threading.Event()

    def done(index: int, term: int) -> None:
        say(f"ack {index} {term}")
        room.release()

    def fail(error: JournalError) -> None:
        stopped.set()
        say(f"failed {type(error).__name__}")
        room.release()

    size = BALLAST_BYTES if options.stuff else 0
    journal, found = Journal.open(options.directory, "n1", fail, lambda enough: say(f"room {enough}"), size)
    say(f"begin {found.incarnation} {found.last_index}")
    index, number = found.last_index, 0
    while True:
        room.acquire()
        if stopped.is_set():
            break
        index, number = index + 1, number + 1
        term = term_of(index)
        entry = Entry(index, term, 0, Grant("main", "n1", "placement", reason="x" * 400))
        snapshot, base = compacted(index) if options.compact else (None, (0, 0))
        journal.submit(Save(number, term, f"n{term}", (entry,), snapshot, base), partial(done, index, term))
        if options.stuff and number == STUFF_AFTER:
            stuff(options.stuff)
    journal.close()
    if options.filler:
        options.filler.unlink()
        journal, found = Journal.open(options.directory, "n1", fail)
        say(f"again {found.last_index} {found.term}")
        journal.close()


if __name__ == "__main__":
    main()
