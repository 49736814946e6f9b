"""A wire with a delay: `slow_wire.py ONE OTHER SECONDS` carries frames between two devices until it is killed."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import sys
import time

FRAME_BYTES = 128 * 1024
SOL_PACKET, PACKET_VNET_HDR = 263, 15
"""With it each frame says what the card was to do to it: checksums that are not there yet, parts to be cut."""
HELD_MAX = 20_000
"""Frames on the wire; what comes on top is lost, as on a real one."""
ETH_P_ALL = 3


def main(one: str, other: str, delay_s: float) -> None:
    """Carries both ways, for ever."""
    wires = []
    for device in (one, other):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        wire.bind((device, 0))
        wires.append(wire)
    far_end = {wires[0]: wires[1], wires[1]: wires[0]}
    order = itertools.count()
    held: list[tuple[float, int, socket.socket, bytes]] = []
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        wait_s = max(held[0][0] - time.monotonic(), 0.0) if held else None
        for wire in select.select(wires, [], [], wait_s)[0]:
            frame, where = wire.recvfrom(FRAME_BYTES)
            if where[2] != socket.PACKET_OUTGOING and len(held) < HELD_MAX:
                heapq.heappush(held, (time.monotonic() + delay_s, next(order), far_end[wire], frame))
        while held and held[0][0] <= time.monotonic():
            _, _, wire, frame = heapq.heappop(held)
            wire.send(frame)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
