"""What TCP itself notices of a connection that leads nowhere any more; options for whoever binds or connects."""

from __future__ import annotations

import zmq

DEAD_LINK_MS = 4000
"""Unacknowledged data closes a TCP connection after this long; the kernel alone would try for 15 minutes."""
KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 3,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: DEAD_LINK_MS,
}
