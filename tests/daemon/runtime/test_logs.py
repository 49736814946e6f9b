"""The log on stderr: both forms, and the change from one to the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from mltbd.runtime import logs

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
