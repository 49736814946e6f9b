"""Which events can be dealt with without looking at everything a node does: those that only move clients along."""

from __future__ import annotations

from mltb_transport.messages import Append, AppendAnswer
from mltb_transport.store import Batch, Forward, Forwarded
from mltbd.core.events import Event, ReadState, Received, Saved, Submit


def only_clients(event: Event) -> bool:
    """Whether this event, where it changes neither leader nor term, can matter to clients' commands alone.

    Under load nearly all are such, some four for each command, and a whole look at the node would cost more than they.
    What they make due for others (an entry of another kind is committed, a round is confirmed) shows by itself.
    """
    match event:
        case Saved() | Submit() | ReadState() | Received(message=AppendAnswer() | Forward() | Forwarded()):
            return True
        case Received(message=Append(entries=entries)):
            return all(isinstance(entry.command, Batch) for entry in entries)
    return False
