"""What the service manager hears: the watchdog is fed by handled events and by nothing else."""

from __future__ import annotations

import pytest

from mltbd.core.node import Node
from mltbd.runtime.notify import FEEDS_PER_WATCHDOG, STATUS_S, TEXT_CHARS_MAX, Notifier, describe, watchdog_s
from tests.daemon.runtime.live import Live

WATCHDOG = {"WATCHDOG_USEC": "2000000"}
FEED_S = 2.0 / FEEDS_PER_WATCHDOG


class Told:
    """A notifier of a node that nobody else drives, and what it told."""

    def __init__(self, node: Node, environ: dict[str, str]) -> None:
        self.lines: list[list[str]] = []
        self.notifier = Notifier(self.lines.append, node, environ)

    def fed(self) -> int:
        return sum("WATCHDOG=1" in lines for lines in self.lines)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30000000", 30.0), ("1", 1e-6), ("", None), ("0", None), ("soon", None), ("9" * 40, None)]
)
def test_the_watchdog_of_the_unit(text: str, seconds: float | None) -> None:
    assert watchdog_s({"WATCHDOG_USEC": text}) == seconds
    assert watchdog_s({}) is None


def test_each_handled_event_may_feed_it_at_its_pace() -> None:
    with Live() as live:
        told = Told(live["n1"].node, WATCHDOG)
        told.notifier.ready()
        assert told.lines[0][0] == "READY=1"
        for hundredth in range(1000):
            told.notifier.handled(hundredth / 100)
        assert 10 / FEED_S * 0.9 <= told.fed() <= 10 / FEED_S + 1


def test_without_a_watchdog_it_is_not_fed() -> None:
    with Live() as live:
        told = Told(live["n1"].node, {})
        told.notifier.ready()
        for second in range(10):
            told.notifier.handled(float(second))
        assert told.fed() == 0


def test_a_driver_feeds_it_while_it_decides_and_stops_when_it_decides_nothing() -> None:
    with Live() as live:
        told = Told(live["n1"].node, {"WATCHDOG_USEC": "400000"})
        told.notifier.ready()
        live["n1"].driver.on_handled = told.notifier.handled
        live.until(lambda: told.fed() >= 3, "an idle node decides often enough")
        live.act(live["n1"].driver.close)
        before = told.fed()
        live.holds(lambda: told.fed() == before, 0.5)  # The loop turns on, and decides nothing.


def test_the_status_is_told_when_it_changes_and_not_more_often_than_once_a_second() -> None:
    with Live() as live:
        node = live["n1"].node
        told = Told(node, {})
        told.notifier.handled(-10.0)
        assert told.lines == [], "nothing before it is ready"
        told.notifier.ready()
        told.lines.clear()
        live.until(lambda: node.consensus.leader == "n1", "a leader")
        told.notifier.handled(0.0)
        told.notifier.handled(0.0 + STATUS_S / 2)
        told.notifier.handled(10.0)
        assert told.lines == [["READY=1", f"STATUS={describe(node)}"]], "READY may have been dropped"
        assert describe(node).startswith("n1 leads, term ")
        assert len(describe(node)) <= TEXT_CHARS_MAX
