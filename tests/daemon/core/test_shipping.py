"""A snapshot in pieces: lost, repeated and mixed ones, a follower that starts again, and limits on both sides."""

from __future__ import annotations

import random

import pytest

from mltb_transport.limits import PIECE_BYTES_MAX
from mltb_transport.pieces import Piece, PieceAnswer
from mltb_transport.voters import Voter
from mltbd.core.shipping import SHIPMENTS_MAX, DamagedOnTheWay, Intake, Shipments
from mltbd.core.snapshots import BYTES_MAX, Snapshot, SnapshotError

RETRY_S = 1.0


def snapshot(index: int = 10, size: int = 3 * PIECE_BYTES_MAX, letter: str = "x") -> Snapshot:
    return Snapshot.take(index, 2, "c1", (Voter("n1", "disk-n1"),), [letter * size])


def answer(piece: Piece, offset: int) -> PieceAnswer:
    return PieceAnswer(piece.term, piece.digest, offset, "disk-n2")


def must(piece: Piece | None) -> Piece:
    assert piece is not None
    return piece


def test_one_piece_after_the_other_makes_the_whole() -> None:
    whole, shipments, intake = snapshot(), Shipments(5, RETRY_S), Intake()
    offsets = []
    while True:
        piece = must(shipments.next_piece("n2", whole, 0.0))
        offsets.append(piece.offset)
        collected = intake.add(piece)
        if collected is not None:
            break
        assert shipments.answered("n2", answer(piece, len(intake))) == 0
    assert collected == whole.data
    assert offsets == [0, PIECE_BYTES_MAX, 2 * PIECE_BYTES_MAX, 3 * PIECE_BYTES_MAX]
    assert shipments.answered("n2", answer(piece, piece.total)) == 10


def test_one_piece_is_under_way_and_is_sent_again_when_no_answer_comes() -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    first = must(shipments.next_piece("n2", whole, 0.0))
    assert shipments.next_piece("n2", whole, 0.9) is None
    assert must(shipments.next_piece("n2", whole, 1.0)) == first
    shipments.answered("n2", answer(first, PIECE_BYTES_MAX))
    assert must(shipments.next_piece("n2", whole, 1.0)).offset == PIECE_BYTES_MAX
    shipments.answered("n2", answer(first, PIECE_BYTES_MAX))  # to the repeated one
    assert shipments.next_piece("n2", whole, 1.1) is None


def test_who_is_no_follower_any_more_keeps_nobody_waiting() -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    for number in range(SHIPMENTS_MAX):
        must(shipments.next_piece(f"n{number}", whole, 0.0))
    shipments.keep({"n1", "n9"})
    assert shipments.next_piece("n1", whole, 0.5) is None, "its piece is under way"
    for node in ("n9", "n8", "n7"):
        must(shipments.next_piece(node, whole, 0.5))
    assert shipments.next_piece("n6", whole, 0.5) is None


def test_a_follower_that_lost_its_beginning_gets_it_again() -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    piece = must(shipments.next_piece("n2", whole, 0.0))
    shipments.answered("n2", answer(piece, 2 * PIECE_BYTES_MAX))
    piece = must(shipments.next_piece("n2", whole, 0.1))
    shipments.answered("n2", answer(piece, 0))
    assert must(shipments.next_piece("n2", whole, 0.2)).offset == 0


def test_a_shipment_ends_with_the_snapshot_it_began_with() -> None:
    old, new, shipments = snapshot(10), snapshot(20), Shipments(5, RETRY_S)
    first = must(shipments.next_piece("n2", old, 0.0))
    shipments.answered("n2", answer(first, PIECE_BYTES_MAX))
    assert must(shipments.next_piece("n2", new, 0.1)).digest == old.digest
    assert shipments.answered("n2", answer(first, len(old.data))) == 10
    assert must(shipments.next_piece("n2", new, 0.2)).digest == new.digest


@pytest.mark.parametrize("offset", [-1, 10**9])
def test_an_answer_beyond_the_snapshot_changes_nothing(offset: int) -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    piece = must(shipments.next_piece("n2", whole, 0.0))
    assert shipments.answered("n2", answer(piece, offset)) == 0
    assert must(shipments.next_piece("n2", whole, 1.0)).offset == 0


def test_an_answer_about_another_snapshot_is_no_answer() -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    piece = must(shipments.next_piece("n2", whole, 0.0))
    other = PieceAnswer(5, snapshot(11).digest, len(snapshot(11).data), "disk-n2")
    assert shipments.answered("n2", other) == 0
    assert shipments.answered("n3", answer(piece, piece.total)) == 0


def test_a_few_are_served_at_a_time() -> None:
    whole, shipments = snapshot(), Shipments(5, RETRY_S)
    served = [f"n{number}" for number in range(SHIPMENTS_MAX)]
    assert all(shipments.next_piece(node, whole, 0.0) for node in served)
    assert shipments.next_piece("late", whole, 0.0) is None
    shipments.drop(served[0])
    assert shipments.next_piece("late", whole, 0.0) is not None


def test_pieces_of_another_snapshot_begin_anew() -> None:
    one, two, intake = snapshot(10, letter="x"), snapshot(10, letter="y"), Intake()
    ones, twos = pieces(one), pieces(two)
    assert intake.add(ones[0]) is None
    assert intake.add(twos[1]) is None
    assert len(intake) == 0, "what was there belongs to the other one; a piece from the middle begins nothing"
    for piece in twos[:-1]:
        assert intake.add(piece) is None
    assert intake.add(twos[-1]) == two.data


def pieces(whole: Snapshot, term: int = 5) -> list[Piece]:
    starts = range(0, len(whole.data), PIECE_BYTES_MAX)
    data = [whole.data[start : start + PIECE_BYTES_MAX] for start in starts]
    return [
        Piece(term, whole.index, whole.term, whole.digest, len(whole.data), start, part)
        for start, part in zip(starts, data, strict=True)
    ]


def test_bytes_that_do_not_match_the_digest_are_not_a_snapshot() -> None:
    whole, intake = snapshot(size=50), Intake()
    (piece,) = pieces(whole)
    forged = Piece(5, 10, 2, piece.digest, piece.total, 0, piece.data[:-1] + b"?")
    with pytest.raises(DamagedOnTheWay, match="entry 10"):
        intake.add(forged)
    assert intake.add(piece) == whole.data


def test_a_snapshot_beyond_the_limit_is_not_collected() -> None:
    with pytest.raises(SnapshotError, match="exceeds the limit"):
        Intake().add(Piece(5, 10, 2, "d", BYTES_MAX + 1, 0, b"x"))


@pytest.mark.parametrize("seed", range(20))
def test_any_loss_and_any_order_ends_with_the_whole(seed: int) -> None:
    """Both sides over a line that loses, repeats and turns around; the leader changes half-way."""
    dice = random.Random(seed)
    whole = snapshot(size=5 * PIECE_BYTES_MAX)
    intake = Intake()
    now, sent = 0.0, 0
    for term in (5, 6):
        shipments = Shipments(term, RETRY_S)
        line: list[Piece | PieceAnswer] = []
        for _ in range(400):
            now += dice.uniform(0.0, 0.5)
            piece = shipments.next_piece("n2", whole, now)
            if piece is not None:
                sent += 1
                line += [piece] * dice.choice((0, 1, 1, 1, 2))
            if not line:
                continue
            thing = line.pop(dice.randrange(len(line)))
            if isinstance(thing, PieceAnswer):
                shipments.answered("n2", thing)
                continue
            collected = intake.add(thing)
            if collected is not None:
                assert collected == whole.data
                return
            line += [answer(thing, len(intake))] * dice.choice((0, 1, 1, 2))
            if term == 5 and len(intake) > 2 * PIECE_BYTES_MAX:
                break
    pytest.fail(f"not done after {sent} pieces")
