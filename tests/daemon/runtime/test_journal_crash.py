"""A real writer killed at any moment, or out of room: what it acknowledged is there, and it acknowledges no more."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from mltbd.core.snapshots import Snapshot
from tests.daemon.runtime.journal_kit import PATIENCE_S, Book
from tests.daemon.runtime.journal_writer import COMPACT_EVERY, term_of

WRITER = Path(__file__).with_name("journal_writer.py")
KILLS = 10


@contextmanager
def writer(*arguments: str, before: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The writer and its lines. It is killed at the end, if it still runs."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [*before, sys.executable, str(WRITER), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def numbers(line: str, word: str) -> tuple[int, int]:
    found, first, second = line.split()
    assert found == word, line
    return int(first), int(second)


@pytest.mark.parametrize("how", [(), ("--compact",)], ids=["log", "snapshots"])
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path, how: tuple[str, ...]) -> None:
    chance = random.Random(9)
    acknowledged = (0, 0)
    for incarnation in range(1, KILLS + 1):
        with writer(str(tmp_path), *how) as (process, lines):
            begun, held = numbers(lines.readline(), "begin")
            assert begun == incarnation
            assert held >= acknowledged[0], "an acknowledged entry is gone"
            for _ in range(chance.randrange(1, 60)):
                acknowledged = numbers(lines.readline(), "ack")
            spin_until = time.monotonic() + chance.uniform(0.0, 0.004)
            while time.monotonic() < spin_until:
                pass
            process.kill()
            for line in lines:  # What it still managed to say counts, too; the last line may be torn.
                if line.endswith("\n"):
                    acknowledged = numbers(line, "ack")
    with Book(tmp_path) as book:
        assert book.recovered.incarnation == KILLS + 1
        assert book.recovered.last_index >= acknowledged[0] > KILLS
        assert book.recovered.term >= acknowledged[1]
        assert book.recovered.vote == f"n{book.recovered.term}"
        terms = [(entry.index, entry.term) for entry in book.recovered.entries]
        base, _ = book.recovered.base or (0, 0)
        last = book.recovered.last_index
        assert terms == [(index, term_of(index)) for index in range(base + 1, last + 1)]
        if how:
            snapshot = book.recovered.snapshot
            assert snapshot is not None
            assert snapshot.index == last // COMPACT_EVERY * COMPACT_EVERY - 1
            assert Snapshot.read(snapshot.data) == (snapshot, ["x" * (snapshot.index + 1)])


def test_at_the_limit_of_its_file_size_it_stops_acknowledging_and_says_so_once(tmp_path: Path) -> None:
    with writer(str(tmp_path), "--file-bytes-max", "200000") as (_, lines):
        said = lines.read().splitlines()
    assert said[0] == "begin 1 0"
    assert said[-1] in ("failed JournalFailed", "failed JournalFull")
    acknowledged = [numbers(line, "ack") for line in said[1:-1]]
    assert len(acknowledged) > 20
    with Book(tmp_path) as book:
        assert len(book.recovered.entries) >= acknowledged[-1][0]
        assert book.recovered.term >= acknowledged[-1][1]


def small_disk(tmp_path: Path, size: str, filler_bytes: int) -> tuple[Path, list[str]]:
    """Where it is, and the command before a command that sees it. It is gone with the last process that does."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no `unshare` to mount a small disk with")
    private = [unshare, "--user", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={size} none "{disk}" && head -c {filler_bytes} /dev/zero > "{disk}/filler"'
    tried = subprocess.run([*private, "sh", "-c", mount], capture_output=True, text=True, timeout=PATIENCE_S)
    if tried.returncode != 0:
        pytest.skip(f"no private mounts here: {tried.stderr.strip()}")
    return disk, [*private, "sh", "-c", f'{mount} && exec "$@"', "sh"]


def test_on_a_full_disk_the_ballast_goes_and_the_journal_goes_on(tmp_path: Path) -> None:
    disk, shell = small_disk(tmp_path, "48m", 0)
    with writer(str(disk / "state"), "--stuff", str(disk / "stuff"), before=shell) as (process, lines):
        said = [lines.readline().strip()]
        while said[-1] != "room False":
            assert said[-1].startswith(("begin", "ack")), said[-3:]
            said.append(lines.readline().strip())
        after = [lines.readline().strip() for _ in range(30)]
        process.kill()
    assert said[0] == "begin 1 0"
    acknowledged = [numbers(line, "ack")[0] for line in (*said[1:-1], *after)]
    assert acknowledged == list(range(1, len(acknowledged) + 1)), "in order, and none is missing"


def test_on_a_full_disk_it_stops_acknowledging_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    disk, shell = small_disk(tmp_path, "1m", 500_000)
    state, filler = str(disk / "state"), str(disk / "filler")
    with writer(state, "--filler", filler, before=shell) as (_, lines):
        said = lines.read().splitlines()
    assert said[0] == "begin 1 0"
    assert said[-2] == "failed JournalFull"
    index, term = numbers(said[-3], "ack")
    held, held_term = numbers(said[-1], "again")
    assert held >= index > 20
    assert held_term >= term
