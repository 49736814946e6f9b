"""A process that writes to a journal until it is killed or the disk is full; run by test_journal_crash.py.

Prints a line for each thing that happens: `begin <incarnation> <entries>`, `ack <index> <term>`,
`failed <error class>`, and with a filler file, after it made room again, `again <entries> <term>`.
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
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError

IN_FLIGHT = 8
TERM_EVERY = 7


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--file-bytes-max", type=int)
    parser.add_argument("--filler", type=Path)
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

    journal, found = Journal.open(options.directory, "n1", fail)
    say(f"begin {found.incarnation} {len(found.entries)}")
    index, number = len(found.entries), 0
    while True:
        room.acquire()
        if stopped.is_set():
            break
        index, number = index + 1, number + 1
        term = index // TERM_EVERY + 1
        entry = Entry(index, term, 0, Grant("main", "n1", "placement", reason="x" * 400))
        journal.submit(Save(number, term, f"n{term}", (entry,)), partial(done, index, term))
    journal.close()
    if options.filler:
        options.filler.unlink()
        journal, found = Journal.open(options.directory, "n1", fail)
        say(f"again {len(found.entries)} {found.term}")
        journal.close()


if __name__ == "__main__":
    main()
