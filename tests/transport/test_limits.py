"""The numbers kept apart for the command line agree with the messages they speak of."""

from __future__ import annotations

import subprocess
import sys

from mltb_transport.limits import (
    BUNDLE_ANSWER_KIND,
    BUNDLE_KIND,
    FRAME_BYTES_MAX,
    PROTOCOL,
    PROTOCOL_MIN,
    PROTOCOL_READ_MAX,
    REQUEST_KIND,
    RESPONSE_KIND,
    TEXT_CHARS_MAX,
)
from mltb_transport.messages import KINDS, Request, Response
from mltb_transport.store import Bundle, BundleAnswer


def test_kinds_of_the_control_plane() -> None:
    assert KINDS[REQUEST_KIND] is Request
    assert KINDS[RESPONSE_KIND] is Response
    assert KINDS[BUNDLE_KIND] is Bundle
    assert KINDS[BUNDLE_ANSWER_KIND] is BundleAnswer


def test_two_versions_at_the_most_and_none_below_one() -> None:
    assert 1 <= PROTOCOL_MIN <= PROTOCOL <= PROTOCOL_MIN + 1
    assert PROTOCOL_READ_MAX == PROTOCOL + 1


def test_json_text_of_plain_characters_fits_a_frame() -> None:
    assert TEXT_CHARS_MAX * 2 < FRAME_BYTES_MAX


def test_the_caller_side_loads_neither_messages_nor_asyncio() -> None:
    code = "import sys, mltb_transport.channel; print(*sys.modules)"
    path = [part for part in sys.path if part]
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert "mltb_transport.channel" in loaded
    assert not loaded & {"mltb_transport.messages", "mltb_transport.schema", "asyncio", "socket", "mltb_transport.keys"}
