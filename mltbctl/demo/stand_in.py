"""The demo's end of the stand-in Bot API: its process, the user who keeps writing, and what is answered."""

from __future__ import annotations

import http.client
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from mltbctl.demo.answers import Answer, parse_answer, question
from mltbctl.demo.runs import now_ns

START_S = 15.0
"""How long the stand-in may take to print its port."""
CALL_S = 5.0
RATE_MAX = 200.0
"""Questions a second at the most."""
BACK_OFF_S = 0.05


class StandInError(Exception):
    """The stand-in did not start, or does not answer."""


class StandIn:
    """A running stand-in Bot API server. Use as a context: leaving it ends the process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts it on a free port of loopback. StandInError when it does not come up in time."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mltbctl.demo.bot_api", "--port", "0"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.port = self._read_port()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """Ends the process. Safe to repeat."""
        self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def push(self, *texts: str) -> None:
        """A user writes these texts to the bot. StandInError when they were not taken."""
        self._call("POST", "push", {"texts": list(texts)})

    def sent(self, after: int = 0) -> list[dict[str, Any]]:
        """The bot's messages from number `after` + 1 on: {number, at_ns, chat_id, text}."""
        found = self._call("GET", f"sent?after={after}")
        if found["dropped"]:
            raise StandInError(f"{found['dropped']} messages of the bot were dropped, so none can be counted")
        return list(found["sent"])

    def counters(self) -> dict[str, int]:
        """What the stand-in counted: polls, conflicts, pending, ..."""
        return self._call("GET", "counters")

    def fault(self, method: str, *, status: int = 0, hold_s: float = 0.0, count: int = 1) -> None:
        """Lets the next `count` calls of `method` hang for `hold_s`, and fail with `status` unless 0."""
        body = {"method": method, "status": status, "hold_seconds": hold_s, "count": count}
        self._call("POST", "fault", body)

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_S)
        try:
            headers = {"Content-Type": "application/json"}
            line.request(verb, f"/__control/{path}", json.dumps(body) if body else None, headers)
            response = line.getresponse()
            found = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StandInError(f"the stand-in Bot API does not answer: {error}") from error
        finally:
            line.close()
        if response.status != 200:
            raise StandInError(f"the stand-in Bot API refused `{path}`: {found.get('error')}")
        return dict(found)

    def _read_port(self) -> int:
        stdout = self._process.stdout
        assert stdout is not None  # As asked for in __init__.
        ready, _, _ = select.select([stdout], [], [], START_S)
        line = os.read(stdout.fileno(), 64) if ready else b""
        if not line.strip().isdigit():
            raise StandInError("the stand-in Bot API did not start; is the `demo` extra installed?")
        return int(line)


class Sender:
    """A user who writes numbered questions at a steady rate, from a thread, and collects the answers."""

    def __init__(self, stand_in: StandIn, rate: float) -> None:
        """Nothing is sent before `start`. ValueError for a rate outside 0 to `RATE_MAX` a second."""
        if not 0 < rate <= RATE_MAX:
            raise ValueError(f"{rate} questions a second are outside 0 to {RATE_MAX}")
        self._stand_in = stand_in
        self._pause_s = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._heard = 0
        self.sent: dict[int, int] = {}
        """When each question was sent, in ns of `now_ns`, by number."""
        self.answers: list[Answer] = []
        self.unsure: set[int] = set()
        """Questions of which it is not known whether they were taken; not counted."""

    def start(self) -> None:
        """Begins to write and to listen."""
        self._thread.start()

    def finish(self, bound_s: float) -> None:
        """Stops writing and waits for the answers still missing, up to `bound_s`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + bound_s
        while time.monotonic() < deadline:
            self._listen()
            if not self.missing():
                break
            time.sleep(BACK_OFF_S)

    def missing(self) -> set[int]:
        """Questions sent and not answered yet."""
        return set(self.sent) - {answer.number for answer in list(self.answers)}

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self._pause_s, time.monotonic())
            number += 1
            at_ns = now_ns()
            try:
                self._stand_in.push(question(number))
                self.sent[number] = at_ns
                self._listen()
            except StandInError:
                if number not in self.sent:
                    self.unsure.add(number)
                self._stop.wait(BACK_OFF_S)

    def _listen(self) -> None:
        for message in self._stand_in.sent(self._heard):
            self._heard = message["number"]
            answer = parse_answer(message["text"], message["at_ns"])
            if answer is not None and answer.number not in self.unsure:
                self.answers.append(answer)
