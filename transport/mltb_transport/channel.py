"""One connection to a daemon for all threads of a process: many calls at once, packed into few frames.

Nobody is kept to read: of those who wait for an answer one reads for all and hands over when it has its own. So a
call that is alone costs no change of threads. What several threads want to say at one moment leaves in one frame.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from io import FileIO

from mltb_transport.answers import Key, answers_in
from mltb_transport.calls import Call, bundle, request
from mltb_transport.control import CallFailed, Peer, Unreachable

CALLS_MAX = 2048
"""Without an answer, on one connection."""
BUNDLE_MAX = 256
BUNDLE_BYTES_MAX = 256 * 1024
"""A bundle leaves when it has grown so far."""
CROWD = 4
"""Threads that were answered together and are worth waiting for. Each frame costs the daemon as much as many calls."""
GAP_S = 0.002
"""How long those of a crowd who are back with their next calls wait for one more; a thread that computes meanwhile
costs the others so much, and not more."""
GATHER_S = 0.004
"""The same for all of it."""

LOOK_S = 0.25
"""A thread that somebody else reads for looks itself after so long."""
QUIET_S, SIGN_S = 1.0, 1.5
"""A daemon that says nothing for so long while somebody waits is asked for a sign of life, which may take so long."""


class Channel:
    """For any number of threads; nothing of it survives a fork. Every call ends: answered, or in trouble."""

    def __init__(self, peer: Peer) -> None:
        self.endpoint = peer.endpoint.text
        self.usable = True
        """Whether new calls belong here: it was neither lost nor retired."""
        self.holders = 0
        """How many hubs ask by it; theirs to count."""
        self.leader = ""
        """Id and control endpoint of the leader, when the daemon at the other end said that it is another."""
        self._peer = peer
        self._mutex = threading.Lock()
        self._calls: dict[Key, Call] = {}
        self._commands, self._reads, self._size = list[Call](), list[Call](), 0
        self._leader: Call | None = None
        self._reader: Call | None = None
        self._patient = False
        self._owed = 0
        self._owed_until = self._owed_end = 0.0
        self._heard_at = self._pinged_at = 0.0
        self._amid = False
        """Somebody is in the middle of sending or taking in. Who enters and finds it set knows that an exception came
        there, of a signal handler say: half a frame may have left, answers may be missing. It stays so: all is lost."""
        self._shut = False
        self._watchers: list[tuple[object, Callable[[], object]]] = []
        # As files, which end with the channel where nobody closes it: in the child of a fork.
        out, into = os.pipe()
        os.set_blocking(out, False)
        os.set_blocking(into, False)
        self._wake_out, self._wake_in = FileIO(out, "r"), FileIO(into, "w")
        self._poller = select.poll()
        for file in (*peer.files, out):
            self._poller.register(file, select.POLLIN)
        self._news = [(peer.files[0], select.POLLIN)]

    # -- for callers ---------------------------------------------------------------------------------------------

    def ask(self, call: Call, deadline: float) -> bool:
        """Send it, now or with what others are about to say, and wait. Whether it went through this channel: if not,
        nothing was sent. A call that is not `done` then was not answered in time, or not by a connection that has gone
        silent, and is not waited for any more."""
        try:
            if not self._begin(call):
                return False
            now = began = time.monotonic()
            while not call.done and now < deadline and (call.stays or not self.silent(call, began, now)):
                until = min(deadline, now + LOOK_S)
                if call.gate is None or call.leads:
                    self._lead(call, until)
                elif not call.gate.acquire(timeout=until - now):
                    # Whoever reads may be held up, in a signal handler say: that must not cost others their locks.
                    self.look()
                    self._lead_if_nobody_does(call)
                now = time.monotonic()
        finally:
            self.leave(call)
        return True

    def silent(self, call: Call, began: float, now: float) -> bool:
        """Whether nothing has come for long to somebody who waits for this call since `began`, not even what a ping is
        answered with. For whoever waits, now and again: it is asked for here."""
        if now - max(began, self._heard_at) < QUIET_S:
            return False
        with self._mutex:
            self._drain(None)
            if self._pinged_at <= self._heard_at:
                self._pinged_at = now
                self._send(request("ping", {}).body, [])
                self._drain_again(None)
            return now - max(self._pinged_at, self._heard_at) >= call.patience * (QUIET_S + SIGN_S) - QUIET_S

    def leave(self, call: Call) -> None:
        """Its answer is not waited for any more."""
        if call.done and not call.leads and self.usable:
            return
        with self._mutex:
            if self._amid:
                self._lose()
            if self._calls.get(call.key) is call:
                del self._calls[call.key]
            if self._leader is call:
                self._leader = None
                self._hand_over()
            self._shut_when_over()

    def retire(self) -> None:
        """New calls go elsewhere; those under way are still answered. Closed after the last one."""
        with self._mutex:
            self.usable = False
            self._shut_when_over()

    # -- for event loops -----------------------------------------------------------------------------------------

    def start(self, call: Call) -> bool:
        """As `ask`, without waiting: `call.tell` is called. It leaves with the next `flush`."""
        with self._mutex:
            if not self._register(call):
                return False
            if isinstance(call.key, int) or len(self._commands) + len(self._reads) >= BUNDLE_MAX:
                self._flush()
            self._keep(call)
        return True

    def flush(self) -> None:
        """Send what was started."""
        with self._mutex:
            self._flush()
            self._drain_again(None)

    def watch(self, watcher: object, end: Callable[[], object]) -> tuple[int, ...] | None:
        """Files that are readable when there is something to `look` at; the caller closes them. `end` is called
        when there will be nothing any more. None: this watcher is known, or it has ended. OSError where there is no
        descriptor left: then it is not known."""
        with self._mutex:
            if self._shut or any(watcher is known for known, _ in self._watchers):
                return None
            files: list[int] = []
            try:
                files += map(os.dup, self._peer.files)
            except OSError:
                for file in files:
                    os.close(file)
                raise
            self._watchers.append((watcher, end))
            return tuple(files)

    def unwatch(self, watcher: object) -> None:
        """Its `end` is not called any more."""
        with self._mutex:
            self._watchers = [known for known in self._watchers if known[0] is not watcher]

    def look(self) -> None:
        """Take in what has come, and send what was kept for long enough: whoever reads may be held up."""
        with self._mutex:
            cut = self._is_cut()  # This takes in what has come: a loop hears no more.
            self._drain(None)
            self._flush_if_due(None, time.monotonic())
            if cut:
                self._lose()

    # -- under the mutex -----------------------------------------------------------------------------------------

    def _register(self, call: Call) -> bool:
        if self._amid or (self.usable and not self._calls and self._is_cut()):
            self._lose()
        if not self.usable:
            return False
        if len(self._calls) >= CALLS_MAX:
            raise CallFailed("overloaded", f"{CALLS_MAX} calls of this process are under way", "use fewer at once")
        self._calls[call.key] = call
        return True

    def _begin(self, call: Call) -> bool:
        with self._mutex:
            if not self._register(call):
                return False
            if self._nobody_leads:
                self._leader = call
                call.leads = True
            else:
                call.gate = threading.Lock()
                call.gate.acquire()
            self._say(call)
        return True

    @property
    def _nobody_leads(self) -> bool:
        """Also where whoever did has its answer and does not read any more: interrupted before it could leave, say."""
        leader = self._leader
        return leader is None or (self._reader is not leader and self._calls.get(leader.key) is not leader)

    def _lead_if_nobody_does(self, call: Call) -> None:
        with self._mutex:
            if self._nobody_leads and not call.done:
                self._leader = call
                call.leads = True

    def _say(self, call: Call) -> None:
        """Send it, or keep it for a moment because others of a crowd come back from the same answer."""
        self._keep(call)
        if isinstance(call.key, int):
            self._drain_again(call)
            return
        full = len(self._commands) + len(self._reads) >= BUNDLE_MAX
        now = time.monotonic() if self._owed > 1 and not full else float("inf")
        if now < self._owed_until:
            self._owed -= 1
            self._owed_until = min(now + GAP_S, self._owed_end)
            if self._patient:
                self._wake()
            return
        self._owed = 0
        self._flush()
        self._drain_again(call)

    def _keep(self, call: Call) -> None:
        """A request is sent, all else waits for the next `_flush`."""
        if isinstance(call.key, int):
            self._send(call.body, [call])
            return
        (self._commands if call.key[0] else self._reads).append(call)
        self._size += len(call.body)
        if self._size >= BUNDLE_BYTES_MAX:
            self._flush()
            self._drain_again(None)

    def _flush(self) -> None:
        """Send what was kept."""
        commands, reads = self._commands, self._reads
        if not commands and not reads:
            return
        self._send(bundle(commands, reads), commands + reads)
        self._commands, self._reads, self._size = [], [], 0

    def _flush_if_due(self, me: Call | None, now: float) -> None:
        if self._owed and now >= self._owed_until:
            self._owed = 0
            self._flush()
            self._drain_again(me)

    def _send(self, frame: bytes, calls: list[Call]) -> None:
        if self._amid:
            self._lose()
        if self._amid or self._shut:
            return
        self._amid = True
        for call in calls:
            call.sent = True
        if self._peer.send(frame):
            self._amid = False
            return
        for call in calls:
            call.sent = False
        self._amid = False
        self._lose()

    def _is_cut(self) -> bool:
        if self._amid or self._shut:
            return False
        self._amid = True
        cut = self._peer.lost
        self._amid = False
        return cut

    def _drain_again(self, me: Call | None) -> None:
        """After a use that may have taken in the signal of what came meanwhile."""
        if self._peer.edges:
            self._drain(me)

    def _drain(self, me: Call | None) -> None:
        """Take in what has come."""
        if self._amid:
            self._lose()
        if self._amid or self._shut:
            return
        self._amid = True
        served = 0
        messages = self._peer.take()
        if messages:
            self._heard_at = time.monotonic()
        for message in messages:
            answers, leader = answers_in(message)
            self.leader = self.leader if leader is None else leader
            for key, answer in answers:
                call = self._calls.get(key)
                if call is not None:
                    call.answer = answer
                    self._finish(call, me)
                    del self._calls[key]
                    served += call.tell is None
        self._amid = False
        if served >= CROWD:
            self._expect(served)

    def _expect(self, crowd: int) -> None:
        """So many will be back in a moment."""
        now = time.monotonic()
        self._owed, self._owed_until, self._owed_end = crowd, now + GAP_S, now + GATHER_S

    def _finish(self, call: Call, me: Call | None) -> None:
        """Tell whoever waits for it; `me` is the call of this very thread."""
        call.done = True
        if call is me:
            return
        if call.tell is not None:
            call.tell()
        elif call is self._leader:
            self._wake()
        elif call.gate is not None:
            call.gate.release()

    def _wake(self) -> None:
        """Whoever reads is to look at its own call, or at what was kept."""
        self._wake_in.write(b".")  # In vain where it has been told often enough.

    def _lose(self) -> None:
        """The connection is gone: nobody who waits gets an answer that has not come by now."""
        if not self._amid:
            self._drain(None)
        self._amid = True
        self.usable = False
        for call in self._calls.values():
            if call.done:
                continue
            if call.sent:
                why, hint = "was lost before the answer", "run `mltbctl status` to see whether it took effect"
                call.trouble = Unreachable(f"the connection to `{self.endpoint}` {why}", hint, sent=True)
            else:
                call.trouble = Unreachable(f"the connection to `{self.endpoint}` was lost")
            self._finish(call, None)
        self._calls.clear()
        self._commands, self._reads = [], []
        self._shut_when_over()

    def _hand_over(self) -> None:
        for call in self._calls.values():
            if call.gate is not None:
                call.leads, self._leader = True, call
                call.gate.release()
                return

    def _shut_when_over(self) -> None:
        if not self.usable and not self._calls and self._leader is None and not self._shut:
            self._shut = True
            self._peer.close()
            self._wake_in.close()
            self._wake_out.close()
            for _, end in self._watchers:
                end()
            self._watchers.clear()

    # -- whoever reads -------------------------------------------------------------------------------------------

    def _lead(self, call: Call, deadline: float) -> None:
        """Read for all until this call is done, or the deadline."""
        while not call.done:
            try:
                with self._mutex:
                    self._drain(call)
                    now = time.monotonic()
                    self._flush_if_due(call, now)
                    if call.done or now >= deadline:
                        return
                    self._patient = not self._owed
                    until = deadline if self._patient else min(deadline, self._owed_until)
                    self._reader = call
                ready = self._poller.poll(max(0, int((until - now) * 1000)) + 1)
            finally:
                if self._reader is call:
                    self._reader = None
            self._patient = False
            if ready != self._news:
                self._look_around()

    def _look_around(self) -> None:
        """It was not, or not only, the socket that has news."""
        with self._mutex:
            if not self._shut:
                self._wake_out.read(4096)
        self.look()
