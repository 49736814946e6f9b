"""The alarm rings when it was set to, and not before."""

from __future__ import annotations

import contextlib
import math
import select
import sys

import pytest

from mltbd.alarm import Alarm
from mltbd.processes import boottime_s


@pytest.mark.skipif(sys.platform != "linux", reason="there is no timer descriptor on this system")
@pytest.mark.parametrize(
    ("moments", "rings_within_s"),
    [
        ((0.0,), 0.0),
        ((0.05,), 0.05),
        ((9.0, 0.05), 0.05),
        ((math.inf, 0.05), 0.05),
        ((0.01, 9.0), None),
        ((0.01, math.inf), None),
    ],
    ids=["past", "soon", "earlier", "on again", "later", "off"],
)
def test_it_rings_at_the_last_moment_set(moments: tuple[float, ...], rings_within_s: float | None) -> None:
    with contextlib.closing(Alarm()) as alarm:
        begin = boottime_s()
        for moment in moments:
            alarm.set(begin + moment if moment else 0.0)
        assert alarm.fd is not None
        rang = bool(select.select([alarm.fd], [], [], 0.2 if rings_within_s is None else 5.0)[0])
        assert rang == (rings_within_s is not None)
        if rings_within_s is not None:
            assert boottime_s() - begin >= rings_within_s
