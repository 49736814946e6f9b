"""Term, vote and log made durable in the background: Saves in, acknowledgements out, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.runtime.journal_errors import InvalidSave, JournalBusy, JournalClosed, JournalError
from mltbd.runtime.journal_file import JournalFile
from mltbd.runtime.state_directory import StateLock

WAITING_MAX = 1024
"""Saves that may wait for the disk."""
BATCH_MAX = 256
"""Saves in one transaction."""


class Journal:
    """One writer thread owns the file; `submit` and `close` may be called from any thread."""

    def __init__(self, lock: StateLock, on_failure: Callable[[JournalError], None]) -> None:
        """Use `open`."""
        self._lock = lock
        self._on_failure = on_failure
        self._wake = threading.Condition()
        self._waiting: deque[tuple[Save, Callable[[], None]]] = deque()
        self._closed = False
        self._failed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls, state_dir: Path, node_id: str, on_failure: Callable[[JournalError], None]
    ) -> tuple[Journal, Recovered]:
        """Take the state directory, prove the journal whole (or create it), begin a new incarnation.

        `on_failure` is called at most once, in the writer thread, at the first error of disk or file; from
        then on nothing is acknowledged any more. Raises StateLocked, WrongStateDirectory, JournalCorrupt,
        JournalFailed.
        """
        journal = cls(StateLock(state_dir), on_failure)
        born: SimpleQueue[Recovered | JournalError] = SimpleQueue()
        journal._thread = threading.Thread(
            target=journal._run, args=(state_dir, node_id, born), name="journal", daemon=True
        )
        journal._thread.start()
        outcome = born.get()
        if isinstance(outcome, JournalError):
            journal.close()
            raise outcome
        return journal, outcome

    @property
    def waiting(self) -> int:
        """Saves not yet taken up by the writer."""
        return len(self._waiting)

    def submit(self, save: Save, done: Callable[[], None]) -> None:
        """Make `save` durable, then call `done` in the writer thread. It must be quick and must not raise.

        In the order of the calls. After a failure Saves are dropped, never acknowledged. Raises JournalBusy
        when WAITING_MAX wait already, JournalClosed after `close`.
        """
        with self._wake:
            if self._closed:
                raise JournalClosed(f"save {save.save} came after the journal was closed")
            if self._failed:
                return
            if len(self._waiting) >= WAITING_MAX:
                raise JournalBusy(f"{WAITING_MAX} saves wait for the disk", "the disk is too slow: see `iostat`")
            self._waiting.append((save, done))
            self._wake.notify()

    def close(self) -> None:
        """Write and acknowledge what waits, then give the state directory back. May be repeated."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._lock.release()

    def _run(self, state_dir: Path, node_id: str, born: SimpleQueue[Recovered | JournalError]) -> None:
        try:
            file = JournalFile(state_dir, node_id)
        except JournalError as error:
            born.put(error)
            return
        born.put(file.recovered)
        try:
            self._serve(file)
        except JournalError as error:
            with self._wake:
                self._failed = True
                self._waiting.clear()
            self._on_failure(error)
        finally:
            file.close()

    def _serve(self, file: JournalFile) -> None:
        last = 0
        while batch := self._next_batch():
            for save, _ in batch:
                if save.save <= last:
                    raise InvalidSave(f"save {save.save} came after save {last}")
                last = save.save
            file.write([save for save, _ in batch])
            for _, done in batch:
                done()

    def _next_batch(self) -> list[tuple[Save, Callable[[], None]]]:
        """Waits for work; empty when closed and all is done."""
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
