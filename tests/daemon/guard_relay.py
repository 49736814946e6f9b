"""Stands where the daemon would: passes datagrams between the guard and the test that drives it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys


def main() -> int:
    """Exits with the code the test sends; 9 when the guard's channel is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guard = socket.socket(fileno=int(os.environ["MLTB_GUARD_FD"]))
    test = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    test.connect("\0" + sys.argv[1])
    test.send(json.dumps({"pid": os.getpid(), "nice": os.nice(0)}).encode())
    poller = select.poll()
    poller.register(guard, select.POLLIN)
    poller.register(test, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == guard.fileno():
                news = guard.recv(1 << 17)
                if not news:
                    return 9
                test.send(news)
            else:
                order = test.recv(1 << 17)
                if not order or order.startswith(b"exit "):
                    return int(order[5:] or 8)
                if order in (b"hang up", b"read no more"):
                    poller.unregister(guard)
                    if order == b"hang up":
                        guard.close()
                else:
                    guard.send(order)


if __name__ == "__main__":
    sys.exit(main())
