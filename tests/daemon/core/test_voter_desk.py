"""What an operator is told about the voters while clients keep the log busy."""

from __future__ import annotations

from mltb_transport.store import Batch
from mltbd.core.events import StopRequested, Tick
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.node_kit import Wired


def busy() -> Wired:
    """n1 leads n2 and n3, n4 observes; a client's command is committed by the others and not yet on n1's disk."""
    wired = Wired("n1", "n2", "n3", "n4").settled()
    leader = wired.nodes["n1"]
    assert (wired.leader(), leader.consensus.voters.get("n4")) == ("n1", None)
    wired.slow.add("n1")
    assert leader.consensus.propose(Batch(()), wired.now, WALL)
    wired.feed("n1", Tick())
    assert leader.consensus.commit > leader.state.applied
    return wired


def test_a_client_that_writes_all_the_time_keeps_nobody_from_changing_the_voters() -> None:
    wired = busy()
    wired.ask("n1", 1, "promote_node", target="n4", dry_run=True)
    (reply,) = wired.replies(1)
    assert (reply.code, reply.result["voters"]) == ("", ["n1", "n2", "n3", "n4"])
    wired.ask("n1", 2, "promote_node", target="n4")
    wired.slow.clear()
    wired.saved("n1")
    assert [reply.code for reply in wired.replies(2)] == [""]
    assert "n4" in wired.nodes["n1"].consensus.voters


def test_an_observer_that_is_gone_for_good_keeps_no_seat() -> None:
    """It would be sent every entry, and be waited for before the level rises, for as long as this leader leads."""
    wired = Wired("n1", "n2", "n3", "n4").settled()
    reign = wired.nodes["n1"].consensus.reign
    assert reign is not None
    assert wired.until(lambda: "n4" in reign.peers, 10.0)
    wired.isolate("n4")
    wired.run(reign.peers["n4"].acked_at + 10.0 - wired.now)
    assert "n4" in reign.peers, "silent, and a member still"
    wired.cut.clear()
    wired.feed("n4", StopRequested())
    assert wired.until(lambda: wired.left("n4"), 10.0)
    wired.stop("n4")
    assert wired.until(lambda: "n4" not in reign.peers, 10.0)
    assert wired.nodes["n1"].consensus.reign is reign


def test_what_is_committed_besides_clients_commands_is_waited_for() -> None:
    wired = busy()
    wired.ask("n1", 1, "remove_node", target="n4")
    assert not wired.replies(1), "answered when it is applied here"
    wired.ask("n1", 2, "promote_node", target="n4")
    assert not wired.replies(2), "judged only then"
    wired.slow.clear()
    wired.saved("n1")
    assert [(reply.code, reply.result["cause"]) for reply in wired.replies(1)] == [("", "removed")]
    assert [(reply.code, reply.message) for reply in wired.replies(2)] == [("refused", "n4 does not replicate here")]
