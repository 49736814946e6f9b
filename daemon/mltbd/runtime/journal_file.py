"""The journal on disk: one SQLite file, one connection, one thread. Writes what it is given, proves what it reads.

SQLite 3.7.0 to 3.51.2 can corrupt a file in WAL mode that two connections write and checkpoint at the same moment.
So there is never a second one: the connection holds the file locked exclusively from its first read to its end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mltb_transport.messages import Entry
from mltb_transport.schema import FrameError, UnknownCommand, pack_entry, unpack_entry
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.snapshots import Snapshot, SnapshotError
from mltbd.runtime.journal_errors import (
    NEWER,
    InvalidSave,
    JournalFailed,
    NewerJournal,
    WrongStateDirectory,
    corrupt,
    failed,
)  # fmt: skip
from mltbd.runtime.journal_row import (
    FORMAT,
    SCHEMA,
    WRITE_ENTRY,
    WRITE_STATE,
    State,
    read_format,
    read_rows,
)
from mltbd.runtime.state_directory import Mark, MarkFile, sync_directory

JOURNAL = "journal.db"
MARK = "journal.mark"
STORE_BYTES = 16
WAL_BYTES = 32 + (1000 + 64) * (24 + 4096)
"""After the commit that fills 1,000 pages SQLite makes a checkpoint, and begins the write-ahead log anew."""
Row = tuple[int, int, int, bytes]
"""Of the log: index, term, checksum, the entry packed."""
_CHAINED = struct.Struct(">QQI")  # index, term, checksum of the entry before


class JournalFile:
    """Every method raises JournalError and nothing else. After any error only `close` may be called: a commit that
    failed is never tried again, for the system forgets what it could not write."""

    def __init__(self, directory: Path, node: str) -> None:
        """Opens or creates the journal, proves it whole, and begins a new incarnation, durably."""
        self.path = directory / JOURNAL
        with self._own_errors(), contextlib.ExitStack() as opened:
            self._mark = MarkFile(directory / MARK)
            opened.callback(self._mark.close)
            self._state, entries, snapshot = self._open(directory, node, opened)
            opened.pop_all()
        state = self._state
        base = (state.base, state.base_term)
        self._recovered: list[Recovered] = [
            Recovered(state.store, state.incarnation, state.term, state.vote, entries, snapshot, base)
        ]

    def recovered(self) -> Recovered:
        """What was in it when it was opened. Once: the entries would stay in memory for as long as the file is open."""
        return self._recovered.pop()

    @property
    def commits(self) -> int:
        """How many there were, in all its runs."""
        return self._state.commits

    def write(self, saves: Sequence[Save]) -> None:
        """All of them in one transaction, in their order; durable when this returns. Raises InvalidSave, too."""
        with self._own_errors():
            if self._go_on(saves):
                return
            self._connection.execute("BEGIN IMMEDIATE")
            state = self._state
            for save in saves:
                state = self._apply(save, state)
            self._commit(state)

    def close(self) -> None:
        # What is acknowledged is in the file or its write-ahead log; tidying up may fail.
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._mark.close()

    # -- opening ---------------------------------------------------------------------------------------------

    def _open(
        self, directory: Path, node: str, opened: contextlib.ExitStack
    ) -> tuple[State, tuple[Entry, ...], Snapshot | None]:
        mark = self._mark.read()
        exists = self.path.exists() and self.path.stat().st_size > 0
        if exists and mark is None:
            raise corrupt(self.path, f"`{MARK}` beside it is missing or damaged")
        if not exists and mark is not None and mark.commits > 0:
            raise corrupt(self.path, f"missing or empty, after {mark.commits} commits")
        if mark is None:
            self._mark.write(Mark(0, 0, 0))
            self._mark.sync()
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(directory)
        self._connection = sqlite3.connect(self.path, timeout=0.0, isolation_level=None)
        opened.callback(self._connection.close)
        # Damaged text shall fail its checksum, not the decoder.
        self._connection.text_factory = lambda text: text.decode("utf-8", "replace")
        prepare(self._connection, self.path)
        state, entries = self._read_log(self._read_state(mark or Mark(0, 0, 0), node))
        if mark is not None and state.commits < mark.commits:
            raise corrupt(
                self.path,
                f"its end is lost: it stands at commit {state.commits} (index {state.last}),"
                f" and {mark.commits} (index {mark.index}) was acknowledged",
            )
        snapshot = self._read_snapshot(state)
        # Written anew, also what an earlier run may have read back from memory after a failed write.
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise JournalFailed(f"`{self.path}` is open in another program", "close it")
        make_room(self.path.with_name(self.path.name + "-wal"))
        self._connection.execute("BEGIN IMMEDIATE")
        if state.commits == 0:
            for statement in SCHEMA:
                self._connection.execute(statement)
        self._commit(replace(state, incarnation=state.incarnation + 1))
        self._mark.sync()
        return self._state, entries, snapshot

    def _read_state(self, mark: Mark, node: str) -> State:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        found = read_format(self._connection) if tables else None
        if found is None:
            if tables or mark.commits > 0:
                raise corrupt(self.path, f"empty after {mark.commits} commits")
            return State(FORMAT, node, secrets.token_hex(STORE_BYTES), incarnation=0, commits=0)
        if isinstance(found, int) and found > FORMAT:
            raise NewerJournal(f"`{self.path}` has format {found}, this mltbd reads {FORMAT}", "install a newer mltbd")
        rows = read_rows(self._connection)
        state, seal = rows[0]
        if found != FORMAT or len(rows) != 1 or state.seal() != seal:
            raise corrupt(self.path, "its state row does not match its checksum")
        if state.node != node:
            raise WrongStateDirectory(
                f"`{self.path.parent}` belongs to node `{state.node}`, this is `{node}`",
                "give each node its own directory with `--state-dir`, or correct CLUSTER_NODE_ID",
            )
        return state

    def _read_log(self, state: State) -> tuple[State, tuple[Entry, ...]]:
        """The entries, and the state as it stands behind the last of them."""
        if state.commits == 0:
            return state, ()
        for (verdict,) in self._connection.execute("PRAGMA quick_check(1)"):
            if verdict != "ok":
                raise corrupt(self.path, verdict)
        entries = []
        index, term, crc = state.base, state.base_term, state.base_crc
        end = (state.last, state.last_term, state.last_crc)
        met = (index, term, crc) == end
        for idx, entry_term, entry_crc, body in self._connection.execute("SELECT * FROM log ORDER BY idx"):
            index += 1
            if idx != index:
                raise corrupt(self.path, f"entry {index} is missing")
            if not isinstance(body, bytes) or not isinstance(entry_term, int) or not entry_term >= 0:
                raise corrupt(self.path, f"entry {index} is no entry")
            crc = chained(index, entry_term, crc, body)
            if crc != entry_crc:
                raise corrupt(self.path, f"entry {index} does not match its checksum")
            try:
                entry = unpack_entry(body)
            except UnknownCommand as error:
                raise NewerJournal(f"`{self.path}`: entry {index}: {error}", NEWER) from error
            except FrameError as error:
                raise corrupt(self.path, f"entry {index} cannot be read: {error}") from error
            if entry.index != index or entry.term != entry_term or not term <= entry_term <= state.term:
                raise corrupt(self.path, f"entry {index} of term {entry_term} stands out of order")
            term = entry_term
            met = met or (index, term, crc) == end
            entries.append(entry)
        if index < state.last:
            raise corrupt(self.path, f"it ends with entry {index}, and {state.last} was acknowledged")
        if not met:
            raise corrupt(self.path, f"entry {state.last} is another one than was acknowledged")
        commits = state.commits + index - state.last
        return replace(state, commits=commits, last=index, last_term=term, last_crc=crc), tuple(entries)

    def _read_snapshot(self, state: State) -> Snapshot | None:
        if state.snapshot == 0:
            return None
        ((body, *_), *_) = self._connection.execute("SELECT body FROM snapshot").fetchall() or [(None,)]
        if not isinstance(body, bytes) or zlib.crc32(body) != state.snapshot_crc:
            raise corrupt(self.path, f"the snapshot of entry {state.snapshot} does not match its checksum")
        try:
            snapshot, _ = Snapshot.read(body)
        except SnapshotError as error:
            # Whole, as its checksum says: not damaged, but not for us.
            raise NewerJournal(f"`{self.path}`: {error}", NEWER) from error
        if not (snapshot.index == state.snapshot and state.base <= snapshot.index <= state.last):
            raise corrupt(self.path, f"a snapshot of entry {snapshot.index} stands beside a log it does not belong to")
        return snapshot

    # -- writing ---------------------------------------------------------------------------------------------

    def _apply(self, save: Save, state: State) -> State:
        flaw = invalid(save, state)
        if flaw:
            raise InvalidSave(f"save {save.save} refused: {flaw}")
        state = replace(state, term=save.term, vote=save.vote)
        if save.snapshot is not None:
            state = self._keep(save.snapshot, *save.base, state)
        if not save.entries:
            return state
        first = save.entries[0].index
        if first <= state.last:
            state = self._cut(first, state)
        rows = rows_of(save, state.last, state.last_term, state.last_crc)
        self._connection.executemany(WRITE_ENTRY, rows)
        last, last_term, last_crc, _ = rows[-1]
        return replace(state, last=last, last_term=last_term, last_crc=last_crc)

    def _cut(self, first: int, state: State) -> State:
        """The log without `first` and what follows it."""
        self._connection.execute("DELETE FROM log WHERE idx >= ?", (first,))
        term, crc = self._found(first - 1, state) or (0, 0)
        return replace(state, last=first - 1, last_term=term, last_crc=crc)

    def _found(self, index: int, state: State) -> tuple[int, int] | None:
        """Term and checksum of the entry at `index`, also of the one before the first."""
        if index == state.base:
            return state.base_term, state.base_crc
        row: tuple[int, int] | None = self._connection.execute(
            "SELECT term, crc FROM log WHERE idx = ?", (index,)
        ).fetchone()
        return row

    def _keep(self, snapshot: Snapshot, base: int, base_term: int, state: State) -> State:
        """The snapshot in place of the one before, and the log behind `base`."""
        self._connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?)", (snapshot.data,))
        state = replace(state, snapshot=snapshot.index, snapshot_crc=zlib.crc32(snapshot.data))
        found = self._found(base, state)
        if found is not None and found[0] == base_term:
            self._connection.execute("DELETE FROM log WHERE idx <= ?", (base,))
            return replace(state, base=base, base_term=base_term, base_crc=found[1])
        self._connection.execute("DELETE FROM log")
        return replace(state, base=base, base_term=base_term, base_crc=0, last=base, last_term=base_term, last_crc=0)

    def _commit(self, state: State) -> None:
        state = replace(state, commits=state.commits + 1)
        self._connection.execute(WRITE_STATE, (*state.values(), state.seal()))
        self._connection.execute("COMMIT")
        self._written(state)

    def _go_on(self, saves: Sequence[Save]) -> bool:
        """The usual case, saves that do nothing but go on where the log ends; False for any other. Their rows stand for
        themselves: the state row is written when it says something else. A single one is one statement, a transaction
        by itself, for which the interpreter is let go and wanted back only once."""
        state, last = self._state, self._state.last
        for save in saves:
            plain = save.snapshot is None and save.term == state.term and save.vote == state.vote
            if not (plain and save.entries and save.entries[0].index == last + 1):
                return False
            last += len(save.entries)
        rows: list[Row] = []
        end = (state.last, state.last_term, state.last_crc)
        for save in saves:
            rows += rows_of(save, *end)
            end = rows[-1][:3]
        if len(rows) == 1:
            self._connection.execute(WRITE_ENTRY, rows[0])
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(WRITE_ENTRY, rows)
            self._connection.execute("COMMIT")
        state.last, state.last_term, state.last_crc = end
        state.commits += len(rows)
        self._written(state)
        return True

    def _written(self, state: State) -> None:
        """This is on disk: from here on a journal that lacks it has lost something."""
        self._state = state
        self._mark.write(Mark(state.commits, state.last, state.term))

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise failed(self.path, error) from error


def rows_of(save: Save, last: int, term: int, crc: int) -> list[Row]:
    """Its entries as rows, behind an entry of this index, term and checksum. Raises InvalidSave."""
    rows = []
    for place, entry in enumerate(save.entries, start=last + 1):
        if entry.index != place or not term <= entry.term <= save.term:
            raise InvalidSave(f"save {save.save} refused: entry {entry.index} of term {entry.term} at {place}")
        try:
            body = pack_entry(entry)
        except FrameError as error:
            raise InvalidSave(f"save {save.save} refused: {error}") from error
        term, crc = entry.term, chained(place, entry.term, crc, body)
        rows.append((place, term, crc, body))
    return rows


def invalid(save: Save, state: State) -> str:
    """Why this Save must not be written; empty when it may. Checked again here, at the last moment before disk."""
    if save.term < state.term:
        return f"its term {save.term} is before {state.term}"
    if save.term == state.term and state.vote and save.vote != state.vote:
        return f"a second vote in term {save.term}: `{save.vote}` after `{state.vote}`"
    base, last = max(state.base, state.snapshot), state.last
    if save.snapshot is not None:
        if not (state.base <= save.base[0] <= save.snapshot.index and state.snapshot <= save.snapshot.index):
            return f"its snapshot of {save.snapshot.index} with base {save.base[0]} goes back behind {state.snapshot}"
        base, last = save.snapshot.index, max(last, save.base[0])
    if save.entries and not base < save.entries[0].index <= last + 1:
        return f"its entries begin at {save.entries[0].index}, and could from {base + 1} to {last + 1}"
    return ""


def make_room(wal: Path) -> None:
    """Fill an empty write-ahead log with zeros up to where SQLite begins it anew.

    It overwrites them, and takes what is not overwritten for nothing. A commit then changes no size, which spares the
    file system a transaction of its own for every one of ours: the first thousand pages take half the time.
    """
    with contextlib.suppress(OSError), wal.open("r+b", buffering=0) as file:  # Without it all works as well.
        file.write(bytes(max(0, WAL_BYTES - wal.stat().st_size)))
        os.fsync(file)


def chained(index: int, term: int, before: int, body: bytes) -> int:
    """The checksum of an entry: over itself, its place and the checksum of the entry before."""
    return zlib.crc32(body, zlib.crc32(_CHAINED.pack(index, term, before)))


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set what durability and exclusiveness need, and read it back. Raises JournalFailed where SQLite cannot."""
    demands = (
        ("locking_mode", "EXCLUSIVE", "exclusive"),
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
    )
    for name, value, wanted in demands:
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if str(found) != wanted:
            raise JournalFailed(
                f"`{path}`: SQLite {sqlite3.sqlite_version} offers {name} {found}, {value} is needed",
                "put the state directory on a local disk",
            )
    # On macOS fsync alone leaves it in the cache of the drive.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA cell_size_check = ON")
