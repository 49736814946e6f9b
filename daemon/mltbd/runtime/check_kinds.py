"""How each kind of check looks: one coroutine a kind, which returns what is wrong, or nothing. None blocks the loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mltbd.config.checks import CheckSpec
from mltbd.processes import LINUX, MARK, has_mark, marked, read, send
from mltbd.runtime.clock import boottime

T = TypeVar("T")
ANSWER_BYTES_MAX = 64 * 1024
SAID_CHARS_MAX = 160
WORDS_BYTES_MAX = 4096
SWEEPS_MAX = 16
"""At once. More of them than that hang at some process, as one more would."""
REAP_S = 2.0
"""How long a killed command is waited for; a process that survives SIGKILL longer sleeps in the kernel."""


_STATUS = re.compile(rb"[1-9][0-9]{2}")
_aside: dict[Hashable, Future[Any]] = {}
"""What is under way in threads, by what it is about."""
_sweeps = threading.BoundedSemaphore(SWEEPS_MAX)


class Failed(Exception):
    """The check does not pass; the text says why."""


class Untold(Exception):
    """Neither well nor ill: too early to tell."""


@dataclass(slots=True)
class Target:
    """What a check looks at: a run of a workload, or the node (pid 0)."""

    environ: Mapping[str, str]
    """For commands."""
    mark: str
    """Begins the mark of every process that a check starts."""
    pid: int = 0
    beat_path: str = ""
    beat: tuple[int, int] | None = None
    """What the file was like when it was first looked at, or last changed; an earlier run may have left it."""
    beat_at: float = field(default_factory=boottime)
    has_beaten: bool = False


async def look(spec: CheckSpec, target: Target) -> str | None:
    """What is wrong, in words; empty when it is well, None while it cannot be told.

    Takes `spec.timeout_s` at the most, and then a moment to kill.
    """
    try:
        async with asyncio.timeout(spec.timeout_s):
            await _KINDS[spec.kind](spec, target)
    except Untold:
        return None
    except Failed as why:
        return str(why)
    except TimeoutError:
        return f"no answer within {spec.timeout_s:g} s"
    except ssl.SSLError as error:
        return f"TLS: {error.reason or error}".lower()
    except OSError as error:
        return (error.strerror or str(error) or type(error).__name__).lower()
    return ""


async def aside(what: Hashable, call: Callable[[], T]) -> T:
    """Do what may hang in the kernel (a dead mount, a slow resolver) in a thread that nobody ever waits for. Where the
    last call for `what` has not returned, it is waited for, so that something that hangs holds one thread, not all."""
    future: Future[T] | None = _aside.get(what)
    if future is None:
        future = _begun(what, call)
    return await asyncio.wrap_future(future)


def _begun(what: Hashable, call: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # Who gives up waiting takes it from nobody else.

    def work() -> None:
        try:
            result = call()
        except Exception as error:
            del _aside[what]
            future.set_exception(error)
        else:
            del _aside[what]
            future.set_result(result)

    _aside[what] = future
    try:
        threading.Thread(target=work, name="check", daemon=True).start()
    except RuntimeError as error:  # No thread to be had.
        del _aside[what]
        raise Failed(str(error)) from error
    return future


async def _process(_spec: CheckSpec, target: Target) -> None:
    """There, and neither stopped nor a zombie. `Z` alone tells of its first thread; others may work on."""
    if not LINUX:
        os.kill(target.pid, 0)
        return
    try:
        fields = read(f"/proc/{target.pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise Failed(f"there is no process {target.pid}") from None
    state, threads = fields[0].decode(), int(fields[17])
    if state in "Tt":
        raise Failed(f"process {target.pid} is stopped")
    if state in "ZX" and threads <= 1:
        raise Failed(f"process {target.pid} is dead")


async def _connect(host: str, port: int, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = await aside("trust", _trust) if tls else None
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        try:
            resolve = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await aside(("resolve", host, port), resolve)
        except socket.gaierror as error:
            raise Failed(f"cannot resolve `{host}`: {(error.strerror or str(error)).lower()}") from error
    trouble: OSError | None = None
    for _, _, _, _, address in found[:4]:
        try:
            reader, writer = await asyncio.open_connection(
                str(address[0]), port, limit=ANSWER_BYTES_MAX, ssl=context, server_hostname=host if tls else None,
            )  # fmt: skip
        except OSError as error:
            trouble = error
            continue
        if writer.get_extra_info("sockname") != writer.get_extra_info("peername"):
            return reader, writer
        writer.transport.abort()  # Nobody listens: TCP lets a port of the ephemeral range connect to itself.
        trouble = OSError(errno.ECONNREFUSED, "")
    raise Failed(f"{host}:{port}: {_words(trouble)}")


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificates; slow to read."""
    return ssl.create_default_context()


def _words(error: OSError | None) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}".lower()
    number = getattr(error, "errno", None)
    # asyncio's own text repeats the address.
    return os.strerror(number).lower() if number else str(error).lower()


async def _tcp(spec: CheckSpec, _target: Target) -> None:
    """Somebody listens."""
    _, writer = await _connect(spec.host, spec.port, tls=False)
    writer.transport.abort()


async def _http(spec: CheckSpec, _target: Target) -> None:
    """GET answers with the status that is wanted, and with the text if one is. Redirects are answers like any other."""
    parts = urlsplit(spec.url)
    tls, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if tls else 80)
    reader, writer = await _connect(host, port, tls)
    try:
        where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = f"GET {where} HTTP/1.0\r\nHost: {parts.netloc}\r\nUser-Agent: mltbd\r\nAccept: */*\r\n\r\n"
        writer.write(request.encode("ascii"))
        await _judge(spec, reader)
    finally:
        writer.transport.abort()


async def _judge(spec: CheckSpec, reader: asyncio.StreamReader) -> None:
    """Reads no further than it takes to tell: a server need not end its answer, or the connection."""
    answer = await _read(reader, b"", lambda read: b"\r\n" in read)
    words = answer.split(b"\r\n", 1)[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not _STATUS.fullmatch(words[1]):
        raise Failed("what answers does not speak HTTP")
    if int(words[1]) != spec.status:
        raise Failed(f"status {int(words[1])} instead of {spec.status}")

    def has_text(read: bytes) -> bool:
        return spec.body.encode() in read.partition(b"\r\n\r\n")[2]

    if not has_text(await _read(reader, answer, has_text)):
        raise Failed(f"status {spec.status}, but without the text that is wanted")


async def _read(reader: asyncio.StreamReader, read: bytes, is_enough: Callable[[bytes], bool]) -> bytes:
    """What was read and more of the answer, until it is enough; at most so many bytes."""
    while len(read) < ANSWER_BYTES_MAX and not is_enough(read):
        piece = await reader.read(ANSWER_BYTES_MAX - len(read))
        if not piece:
            break
        read += piece
    return read


async def _command(spec: CheckSpec, target: Target) -> None:
    """Exits with 0. Whatever it started is killed with it."""
    with contextlib.closing(LastWords()) as words:
        try:
            process, ended = _begin(spec, target, words.open())
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread to be had.
            why = getattr(error, "strerror", None) or str(error)
            raise Failed(f"cannot run `{spec.argv[0]}`: {why.lower()}") from error
        try:
            status = await asyncio.wrap_future(ended)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            said = words.close()
            if not ended.done():
                await asyncio.wait([asyncio.wrap_future(ended)], timeout=REAP_S)
    if status:
        raise Failed(f"exited with status {status}" + (f": {said}" if said else ""))


def _begin(spec: CheckSpec, target: Target, stderr: int) -> tuple[subprocess.Popen[bytes], Future[int]]:
    """The command, and its status once it has ended.

    The thread that waits for it comes first: a process that nobody waits for would not be ended either.
    """
    mark = f"{target.mark}{os.urandom(6).hex()}"
    begun: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
    ended: Future[int] = Future()
    ended.set_running_or_notify_cancel()
    threading.Thread(target=_attend, args=(mark, begun, ended), name="command", daemon=True).start()
    process = None
    try:
        process = subprocess.Popen(
            spec.argv, env={**target.environ, MARK: mark}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip
    finally:
        begun.put(process)
    return process, ended


def _attend(mark: str, begun: SimpleQueue[subprocess.Popen[bytes] | None], ended: Future[int]) -> None:
    """Nobody waits for the sweep: a command that has passed has passed. What it misses, the next daemon sweeps."""
    process = begun.get()
    if process is None:
        return
    ended.set_result(process.wait())
    if _sweeps.acquire(blocking=False):
        try:
            sweep(mark)
        finally:
            _sweeps.release()


class LastWords:
    """The end of what a command writes to stderr, read as it comes, so that none waits for a full pipe."""

    def __init__(self) -> None:
        self._kept = b""
        self._ends: list[int] = []

    def open(self) -> int:
        """The end for the command."""
        self._ends = list(os.pipe())
        os.set_blocking(self._ends[0], False)
        asyncio.get_running_loop().add_reader(self._ends[0], self._read)
        return self._ends[1]

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._ends[0], ANSWER_BYTES_MAX)
            self._kept = (self._kept + piece)[-WORDS_BYTES_MAX:]

    def close(self) -> str:
        """The last line that has anything in it."""
        if self._ends:
            self._read()
            asyncio.get_running_loop().remove_reader(self._ends[0])
            for end in self._ends:
                os.close(end)
            self._ends = []
        lines = self._kept.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return "".join(c for c in last if c.isprintable())[:SAID_CHARS_MAX].strip()


def sweep(mark: str, but: str = "") -> None:
    """SIGKILL for every process whose mark begins so, whoever its parent is by now; not where it begins with `but`."""
    for row in marked(mark):
        if not but or not has_mark(row.pid, but):
            send(row, signal.SIGKILL)


async def _heartbeat(spec: CheckSpec, target: Target) -> None:
    """The file was touched lately. Only that it changed counts, and when we saw it: no wall clock is compared.

    Until it has changed for the first time nothing is said: a bot that was deaf from the start was never well.
    """
    now = boottime()
    seen: tuple[int, int] = (0, 0)
    try:
        stat = await aside(("stat", target.beat_path), lambda: os.stat(target.beat_path))
        seen = (stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        seen = target.beat or seen  # Not touched yet.
    if target.beat is not None and seen != target.beat:
        target.beat_at, target.has_beaten = now, True
    target.beat = seen
    age_s = now - target.beat_at
    if age_s > spec.max_age_s:
        raise Failed(f"no heartbeat for {age_s:.1f} s")
    if not target.has_beaten:
        raise Untold


async def _disk(spec: CheckSpec, _target: Target) -> None:
    """Enough room, and enough inodes where the file system counts them."""
    space = await aside(("statvfs", spec.path), lambda: os.statvfs(spec.path))
    free = 100.0 * space.f_bavail / space.f_blocks if space.f_blocks else 0.0
    if free < spec.min_free_percent:
        raise Failed(f"{spec.path} has {free:.1f} % free, {spec.min_free_percent:g} % are wanted")
    inodes = 100.0 * space.f_favail / space.f_files if space.f_files else 100.0
    if inodes < spec.min_free_percent:
        raise Failed(f"{spec.path} has {inodes:.1f} % of its inodes free, {spec.min_free_percent:g} % are wanted")


async def _memory(spec: CheckSpec, _target: Target) -> None:
    """Enough that could be given to a process without swapping."""
    lines = read("/proc/meminfo").decode().splitlines()
    sizes = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    free = 100.0 * sizes["MemAvailable"] / sizes["MemTotal"]
    if free < spec.min_free_percent:
        raise Failed(f"{free:.1f} % of memory available, {spec.min_free_percent:g} % are wanted")


_KINDS: Mapping[str, Callable[[CheckSpec, Target], Awaitable[None]]] = {
    "process": _process,
    "tcp": _tcp,
    "http": _http,
    "command": _command,
    "heartbeat": _heartbeat,
    "disk": _disk,
    "memory": _memory,
}
