"""ZMTP 3.1 as far as a DEALER on a local socket needs it: greeting, NULL handshake, frames. Bytes in, messages out.

Source: RFC 37 of rfc.zeromq.org. Spoken with libzmq alone; nothing here is secret or signed: the mode of the socket
is the door.
"""

from __future__ import annotations

GREETING_BYTES = 64
VERSION_MIN = 3
MECHANISM = b"NULL"
_MORE, _LONG, _COMMAND = 1, 2, 4
_SHORT_MAX = 255


class ZmtpError(Exception):
    """Whoever is at the other end is no daemon of ours."""


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def _command(name: bytes, body: bytes) -> bytes:
    whole = bytes([len(name)]) + name + body
    return bytes([_COMMAND, len(whole)]) + whole


_GREETING = b"\xff" + bytes(8) + b"\x7f" + bytes([3, 1]) + MECHANISM.ljust(20, b"\0") + bytes(32)
HELLO = _GREETING + _command(b"READY", _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""))
"""All that a client has to say before its first message; which has to wait until the other end is `ready`."""


def framed(message: bytes) -> bytes:
    """A message of one part as it travels."""
    size = len(message)
    head = bytes([0, size]) if size <= _SHORT_MAX else bytes([_LONG]) + size.to_bytes(8, "big")
    return head + message


class Incoming:
    """What the other end says. `ready`: the handshake is over, and messages may be sent."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: of one frame."""
        self.ready = False
        self._greeted = False
        self._bytes_max = bytes_max
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole by now; of one in several parts the last part. Raises ZmtpError."""
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._greeted:
            at = self._greeting(data)
        messages: list[bytes] = []
        while self._greeted:
            frame = self._frame(data, at)
            if frame is None:
                break
            flags, start, at = frame
            body = data[start:at]
            if flags & _COMMAND:
                self._commanded(body)
            elif not self.ready:
                raise ZmtpError("a message before the handshake was over")
            elif not flags & _MORE:
                messages.append(body)
        self._rest = data[at:]
        return messages

    def _greeting(self, data: bytes) -> int:
        if data[:1] != b"\xff"[: len(data)] or data[9:10] not in (b"", b"\x7f"):
            raise ZmtpError("no greeting")
        if len(data) < GREETING_BYTES:
            return 0
        if data[10] < VERSION_MIN or data[12:32].rstrip(b"\0") != MECHANISM:
            raise ZmtpError(f"version {data[10]}, mechanism {data[12:32].rstrip(bytes(1))!r}")
        self._greeted = True
        return GREETING_BYTES

    def _frame(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """Flags, beginning and end of the body of a frame that is whole."""
        if len(data) < at + 2:
            return None
        flags, size, start = data[at], data[at + 1], at + 2
        if flags & _LONG:
            start = at + 9
            if len(data) < start:
                return None
            size = int.from_bytes(data[at + 1 : start], "big")
        if size > self._bytes_max:
            raise ZmtpError(f"a frame of {size} bytes")
        return (flags, start, start + size) if len(data) >= start + size else None

    def _commanded(self, body: bytes) -> None:
        """Nothing else is said by a daemon that asks for no heartbeats."""
        name = body[1 : 1 + body[0]] if body else b""
        if name == b"READY":
            self.ready = True
        elif name == b"ERROR":
            raise ZmtpError(f"refused: {body[7:].decode(errors='replace')}")
