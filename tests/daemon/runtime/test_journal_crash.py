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

from tests.daemon.runtime.journal_kit import PATIENCE_S, Book
from tests.daemon.runtime.journal_writer import TERM_EVERY

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


def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(9)
    acknowledged = (0, 0)
    for incarnation in range(1, KILLS + 1):
        with writer(str(tmp_path)) as (process, lines):
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
        assert len(book.recovered.entries) >= acknowledged[0] > KILLS
        assert book.recovered.term >= acknowledged[1]
        assert book.recovered.vote == f"n{book.recovered.term}"
        terms = [(entry.index, entry.term) for entry in book.recovered.entries]
        assert terms == [(index, index // TERM_EVERY + 1) for index in range(1, len(terms) + 1)]


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


def test_on_a_full_disk_it_stops_acknowledging_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no `unshare` to mount a small disk with")
    private = [unshare, "--user", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=1m none "{disk}" && head -c 500000 /dev/zero > "{disk}/filler"'
    tried = subprocess.run([*private, "sh", "-c", mount], capture_output=True, text=True, timeout=PATIENCE_S)
    if tried.returncode != 0:
        pytest.skip(f"no private mounts here: {tried.stderr.strip()}")
    shell = [*private, "sh", "-c", f'{mount} && exec "$@"', "sh"]
    state, filler = str(disk / "state"), str(disk / "filler")
    with writer(state, "--filler", filler, before=shell) as (_, lines):
        said = lines.read().splitlines()
    assert said[0] == "begin 1 0"
    assert said[-2] == "failed JournalFull"
    index, term = numbers(said[-3], "ack")
    held, held_term = numbers(said[-1], "again")
    assert held >= index > 20
    assert held_term >= term
