"""Term, vote and log made durable in the background: Saves in, acknowledgements out, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.snapshots import Snapshot
from mltbd.runtime.ballast import Ballast
from mltbd.runtime.journal_errors import InvalidSave, JournalBusy, JournalClosed, JournalError, JournalFull, as_ours
from mltbd.runtime.journal_file import JournalFile
from mltbd.runtime.state_directory import StateLock

WAITING_MAX = 1024
"""Saves that may wait for the disk."""
BATCH_MAX = 256
"""Saves in one transaction."""
LOOK_S = 2.0
"""How often a journal without its ballast looks whether there is room again."""


Work = tuple[Save, Callable[[], None]]


def _nobody(_enough: bool) -> None:
    """Does not want to know."""


class Journal:
    """One writer thread owns the file; `submit` and `close` may be called from any thread."""

    def __init__(
        self,
        lock: StateLock,
        ballast: Ballast,
        on_failure: Callable[[JournalError], None],
        on_room: Callable[[bool], None],
    ) -> None:
        """Use `open`."""
        self._ballast = ballast
        self._full = False
        self._file: JournalFile | None = None
        self._look_at = 0.0
        self._on_room = on_room
        self._lock = lock
        self._on_failure = on_failure
        self._queue: SimpleQueue[Work | None] = SimpleQueue()  # None: nothing comes after this
        self._closed = False
        self._failed = False
        self._ended = False  # nothing comes any more
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        state_dir: Path,
        node_id: str,
        on_failure: Callable[[JournalError], None],
        on_room: Callable[[bool], None] = _nobody,
        ballast_bytes: int = 0,
    ) -> tuple[Journal, Recovered]:
        """Take the state directory, prove the journal whole (or create it), begin a new incarnation.

        `on_failure` is called at most once, in the writer thread, at the first error of disk or file; from
        then on nothing is acknowledged any more. `on_room`, in the writer thread as well, is told False when the
        disk is full, and True when there is room again; as long as there is a ballast to drop the journal goes on.
        Raises StateLocked, WrongStateDirectory, JournalCorrupt, JournalFailed.
        """
        journal = cls(StateLock(state_dir), Ballast(state_dir, ballast_bytes), on_failure, on_room)
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

    def submit(self, save: Save, done: Callable[[], None]) -> None:
        """Make `save` durable, then call `done` in the writer thread. It must be quick and must not raise.

        In the order of the calls. After a failure Saves are dropped, never acknowledged. Raises JournalBusy
        when WAITING_MAX wait already, JournalClosed after `close`.
        """
        if self._closed:
            raise JournalClosed(f"save {save.save} came after the journal was closed")
        if self._failed:
            return
        if self._queue.qsize() >= WAITING_MAX:
            raise JournalBusy(f"{WAITING_MAX} saves wait for the disk", "the disk is too slow: see `iostat`")
        self._queue.put((save, done))

    def close(self) -> None:
        """Write and acknowledge what waits, then give the state directory back. May be repeated."""
        self._closed = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self._lock.release()

    def _run(self, state_dir: Path, node_id: str, born: SimpleQueue[Recovered | JournalError]) -> None:
        reopen = partial(JournalFile, state_dir, node_id)
        try:
            try:
                self._file = reopen()
            except JournalFull:
                if not self._ballast.drop():
                    raise
                self._file = reopen()
            self._full = not self._ballast.take()
            recovered = self._file.recovered()
            self._weigh(recovered.snapshot)
            born.put(recovered)
            del recovered
        except Exception as error:  # Whatever it is: somebody waits for this thread, and would wait for ever.
            born.put(as_ours(error))
            return
        try:
            self._serve(reopen)
        except Exception as error:
            self._failed = True
            self._on_failure(as_ours(error))
        finally:
            if self._file is not None:
                self._file.close()

    def _serve(self, reopen: Callable[[], JournalFile]) -> None:
        last = 0
        if self._full:
            self._on_room(False)
        while batch := self._next_batch():
            self._look_for_room()
            for save, _ in batch:
                if save.save <= last:
                    raise InvalidSave(f"save {save.save} came after save {last}")
                last = save.save
            self._write([save for save, _ in batch], reopen)
            for _, done in batch:
                done()
            for save, _ in batch:
                self._weigh(save.snapshot)

    def _write(self, saves: list[Save], reopen: Callable[[], JournalFile]) -> None:
        """Where the disk is full: drop the ballast, prove the file whole, and write once more what was not written."""
        file = self._must_file()
        commits = file.commits
        try:
            file.write(saves)
        except JournalFull:
            committed = file.commits > commits  # It was the mark that found no room.
            if not self._ballast.drop():
                raise
            file.close()
            self._file = None
            self._full = True
            self._on_room(False)
            self._file = reopen()
            self._file.recovered()  # Nobody asks for it again.
            if not committed:
                self._file.write(saves)

    def _weigh(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            self._ballast.carry(len(snapshot.data))

    def _must_file(self) -> JournalFile:
        if self._file is None:
            raise JournalClosed("the journal was not opened again")
        return self._file

    def _next_batch(self) -> list[Work]:
        """Waits for work; empty when closed and all is done."""
        batch: list[Work] = []
        while len(batch) < BATCH_MAX and not self._ended:
            try:
                work = self._queue.get(not batch, LOOK_S if self._full else None)
            except Empty:
                if batch:
                    break
                self._look_for_room()
                continue
            if work is None:
                self._ended = True
            else:
                batch.append(work)
        return batch

    def _look_for_room(self) -> None:
        """Take the ballast up again."""
        now = time.monotonic()
        if self._full and now >= self._look_at:
            self._look_at = now + LOOK_S
            self._full = not self._ballast.take()
            if not self._full:
                self._on_room(True)
