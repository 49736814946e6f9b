"""Whole frames for tests. A daemon seals its own part by part, see `wire.Outbound`."""

from __future__ import annotations

from mltb_transport.frames import Frame, assembled, packed_message, packed_origin


def encode(frame: Frame) -> bytes:
    """The payload that `decode` makes this frame of. Raises FrameError for what cannot be sent."""
    origin = packed_origin(frame.version, frame.cluster, frame.sender, frame.incarnation)
    return assembled(origin, frame.seq, packed_message(frame.message), frame.to)
