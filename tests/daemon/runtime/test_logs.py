"""The log on stderr: both forms, and the change from one to the other."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from mltbd.runtime import logs
from tests.daemon.guarded import ROOT
from tests.waiting import PATIENCE_S

log = logging.getLogger("mltbd.test")


@pytest.fixture
def stderr() -> Iterator[StringIO]:
    """What the root logger writes while a test runs; the runner's own handlers are put aside."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = StringIO()
    root.handlers = [logging.StreamHandler(stream)]
    yield stream
    root.handlers = before
    root.setLevel(level)


def settings(form: str, level: str = "INFO") -> Any:
    return SimpleNamespace(node_id="n1", log_format=form, log_level=level)


def test_plain_lines_name_level_and_node(stderr: StringIO) -> None:
    logs.set_up(settings("plain"))
    log.info("leads term %d", 4)
    log.debug("not this")
    assert stderr.getvalue() == "I n1 leads term 4\n"


def test_json_lines_have_stable_keys(stderr: StringIO) -> None:
    logs.set_up(settings("json"))
    log.warning("100 %s done", 'of "it"', extra={"term": 4})
    line = json.loads(stderr.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "warning", "node": "n1", "event": '100 of "it" done', "term": 4}


def test_an_error_stays_on_its_line(stderr: StringIO) -> None:
    logs.set_up(settings("json"))
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log.error("failed", exc_info=error)
    (text,) = stderr.getvalue().splitlines()
    assert "ValueError: two\nlines" in json.loads(text)["error"]


def test_a_reload_changes_form_and_level(stderr: StringIO) -> None:
    logs.set_up(settings("json"))
    logs.set_up(settings("plain", "ERROR"))
    log.info("not this")
    log.error("this")
    assert stderr.getvalue() == "E n1 this\n"


WRITES = """
import logging, sys
from types import SimpleNamespace
from mltbd.runtime import logs
logs.set_up(SimpleNamespace(node_id="n1", log_format="plain", log_level="INFO"))
for line in sys.stdin:
    logging.info("%s", line.strip())
    print("on", flush=True)
"""


def test_a_log_that_nobody_reads_holds_up_nobody_and_says_what_it_lost() -> None:
    reader, writer = os.pipe()
    filled = fill(writer)
    with subprocess.Popen(
        [sys.executable, "-c", WRITES], env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer, text=True,
    ) as daemon:  # fmt: skip
        os.close(writer)
        assert daemon.stdin
        assert daemon.stdout
        try:
            for line in ("one", "two"):
                daemon.stdin.write(f"{line}\n")
                daemon.stdin.flush()
                assert select.select([daemon.stdout], [], [], PATIENCE_S)[0], "it waits for a reader"
                assert daemon.stdout.readline() == "on\n"
            while filled:
                filled -= len(os.read(reader, filled))
            daemon.communicate("three\nfour\n", timeout=PATIENCE_S)
        finally:
            daemon.kill()
    said = os.read(reader, 4096).decode()
    os.close(reader)
    assert said == ("W n1 2 lines before this one are lost: stderr did not take them\nI n1 three\nI n1 four\n")


def fill(pipe: int) -> int:
    """Until it takes no byte more; how many it took."""
    os.set_blocking(pipe, False)
    filled = 0
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(pipe, b"x" * size)
    os.set_blocking(pipe, True)
    return filled
