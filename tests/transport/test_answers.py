"""What a daemon's frame answers; and that noise answers nothing."""

from __future__ import annotations

import msgpack
import pytest

from mltb_transport.answers import answers_in


@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([1, "", "n1", 1, 1, 31]),
        msgpack.packb([1, "", "n1", 1, 1, 31, [1, 2, 3]]),
        msgpack.packb([1, "", "n1", 1, 1, 31, [True, True, "{}"]]),
        msgpack.packb([1, "", "n1", 1, 1, 23, []]),
        msgpack.packb(
            [1, "", "n1", 1, 1, 23, [[b"\xc1", 7, msgpack.packb(["c", "1", "ok"]), msgpack.packb(["c", 1])]]]
        ),
        msgpack.packb([1, "", "n1", 1, 1, 22, [[msgpack.packb(["c", 1, "ok"])]]]),
        msgpack.packb([1, "", "n1", 1, 1, 99, [1, True, "{}"]]),
    ],
)
def test_noise_answers_nothing(frame: bytes) -> None:
    assert answers_in(frame)[0] == []
