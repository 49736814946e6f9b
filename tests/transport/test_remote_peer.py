"""A connection to a daemon anywhere, before anybody answers."""

from __future__ import annotations

from contextlib import closing

import zmq

from mltb_transport.control import Endpoint
from mltb_transport.remote_peer import RemotePeer


def test_the_kernel_looks_after_it_while_nobody_calls() -> None:
    """A firewall forgets a connection that says nothing; and a peer that is gone is noticed."""
    with closing(RemotePeer(Endpoint("127.0.0.1:1"), None)) as peer:
        assert peer.socket.getsockopt(zmq.TCP_KEEPALIVE) == 1
        assert peer.socket.getsockopt(zmq.TCP_KEEPALIVE_IDLE) == 10
        assert peer.socket.getsockopt(zmq.TCP_MAXRT) == 4000
