"""The stand-in Bot API over HTTP: what Telegram does to a long-polling bot, and the control side."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mltbctl.demo import bot_api, bot_methods
from mltbctl.demo.bot_methods import CONFLICT_HOLD_S, ApiError, BotMethods, Fault
from mltbctl.demo.stand_in import StandIn, StandInError
from tests.demo.api_client import call, python_environment, running_stand_in, until


@pytest.fixture(scope="module")
def shared() -> Iterator[StandIn]:
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(shared: StandIn) -> StandIn:
    """The shared one with nothing pending."""
    call(shared, "deleteWebhook", drop_pending_updates=True)
    return shared


class Poll(threading.Thread):
    """One getUpdates in a thread; `answer` and `seconds` when it came back."""

    def __init__(self, stand_in: StandIn, **params: Any) -> None:
        super().__init__()
        self._stand_in, self._params = stand_in, params
        self.answer: tuple[int, dict[str, Any]] = (0, {})
        self.seconds = 0.0
        polls = stand_in.counters()["polls"]
        self.start()
        until("the poll arrived", lambda: stand_in.counters()["polls"] > polls)

    def run(self) -> None:
        began = time.monotonic()
        self.answer = call(self._stand_in, "getUpdates", **self._params)
        self.seconds = time.monotonic() - began

    def finish(self) -> tuple[int, dict[str, Any]]:
        self.join(20)
        assert not self.is_alive()
        return self.answer


def test_get_me_is_complete(stand_in: StandIn) -> None:
    status, body = call(stand_in, "getMe")
    assert status == 200
    assert body["ok"] is True
    assert body["result"]["is_bot"] is True
    assert {"id", "first_name", "username", "can_join_groups"} <= body["result"].keys()


def test_a_wrong_token_is_401_and_an_unknown_method_404(stand_in: StandIn) -> None:
    assert call(stand_in, "getMe", token="1:wrong") == (
        401,
        {"ok": False, "error_code": 401, "description": "Unauthorized"},
    )
    status, body = call(stand_in, "setWebhook", url="https://x")
    assert (status, body["error_code"]) == (404, 404)


def test_updates_are_delivered_again_until_the_offset_acknowledges(stand_in: StandIn) -> None:
    stand_in.push("/n 1", "/n 2")
    _, first = call(stand_in, "getUpdates")
    _, again = call(stand_in, "GETUPDATES")
    assert [update["message"]["text"] for update in first["result"]] == ["/n 1", "/n 2"]
    assert first == again
    assert first["result"][0]["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 2}]
    assert call(stand_in, "getWebhookInfo")[1]["result"]["pending_update_count"] == 2
    _, rest = call(stand_in, "getUpdates", offset=first["result"][1]["update_id"])
    assert [update["message"]["text"] for update in rest["result"]] == ["/n 2"]
    assert call(stand_in, "getUpdates", offset=first["result"][1]["update_id"] + 1)[1]["result"] == []
    assert call(stand_in, "getWebhookInfo")[1]["result"]["pending_update_count"] == 0


def test_a_long_poll_ends_with_the_next_message_or_with_its_timeout(stand_in: StandIn) -> None:
    poll = Poll(stand_in, timeout=20)
    stand_in.push("/n 3")
    status, body = poll.finish()
    assert status == 200
    assert [update["message"]["text"] for update in body["result"]] == ["/n 3"]
    assert poll.seconds < 10
    offset = body["result"][0]["update_id"] + 1
    idle = Poll(stand_in, offset=offset, timeout=1)
    assert idle.finish() == (200, {"ok": True, "result": []})
    assert idle.seconds >= 1


def test_the_newest_poll_wins_and_a_second_conflict_is_held_back() -> None:
    with running_stand_in() as stand_in:
        oldest = Poll(stand_in, timeout=20)
        older = Poll(stand_in, timeout=20)
        status, body = oldest.finish()
        assert status == body["error_code"] == 409
        assert body["description"] == (
            "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
        )
        assert oldest.seconds < CONFLICT_HOLD_S
        conflict_at = time.monotonic()
        newest = Poll(stand_in, timeout=20)
        stand_in.push("/n 4")
        assert newest.finish()[1]["result"][0]["message"]["text"] == "/n 4"
        assert older.finish()[0] == 409
        assert time.monotonic() - conflict_at >= CONFLICT_HOLD_S
        assert stand_in.counters()["conflicts"] == 2


def test_a_poll_whose_client_is_gone_swallows_nothing(stand_in: StandIn) -> None:
    conflicts = stand_in.counters()["conflicts"]
    line = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=10)
    line.request("GET", f"/bot{bot_methods.TOKEN}/getUpdates?timeout=30")
    until("the poll waits", lambda: stand_in.counters()["polling"] == 1)
    line.close()
    until("the poll is forgotten", lambda: stand_in.counters()["polling"] == 0)
    stand_in.push("/n 5")
    assert call(stand_in, "getUpdates")[1]["result"][0]["message"]["text"] == "/n 5"
    assert stand_in.counters()["conflicts"] == conflicts


def test_messages_of_the_bot_are_listed_from_any_number_on(stand_in: StandIn) -> None:
    before = len(stand_in.sent())
    for text in ("one", "two"):
        status, body = call(stand_in, "sendMessage", chat_id=7, text=text)
        assert status == 200
        assert body["result"]["text"] == text
        assert body["result"]["chat"]["id"] == 7
    assert [message["text"] for message in stand_in.sent(before)] == ["one", "two"]
    assert [message["text"] for message in stand_in.sent(before + 1)] == ["two"]
    assert stand_in.sent(before + 2) == []


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sendMessage", {"text": "x"}),
        ("sendMessage", {"chat_id": 1}),
        ("sendMessage", {"chat_id": 1, "text": "x" * (bot_methods.TEXT_CHARS_MAX + 1)}),
        ("sendMessage", {"chat_id": "x", "text": "x"}),
        ("getUpdates", {"offset": "x"}),
        ("getUpdates", {"timeout": [1]}),
        ("setMyCommands", {"commands": "no json"}),
        ("setMyCommands", {"commands": [1]}),
        ("setMyCommands", {"commands": [{"command": "n", "description": "d"}] * 101}),
    ],
)
def test_bad_parameters_are_400(stand_in: StandIn, method: str, params: dict[str, Any]) -> None:
    status, body = call(stand_in, method, **params)
    assert (status, body["ok"], body["error_code"]) == (400, False, 400)
    assert body["description"].startswith("Bad Request: ")


def test_parameters_may_come_as_form_or_query(stand_in: StandIn) -> None:
    line = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    line.request("POST", f"/bot{bot_methods.TOKEN}/sendMessage?chat_id=9", "text=from+a+form", headers)
    body = json.loads(line.getresponse().read())
    line.close()
    assert (body["result"]["chat"]["id"], body["result"]["text"]) == (9, "from a form")


def test_commands_are_kept(stand_in: StandIn) -> None:
    commands = [{"command": "n", "description": "a number"}]
    assert call(stand_in, "setMyCommands", commands=commands)[1]["result"] is True
    assert call(stand_in, "getMyCommands")[1]["result"] == commands
    assert call(stand_in, "deleteMyCommands")[1]["result"] is True
    assert call(stand_in, "getMyCommands")[1]["result"] == []


def test_planted_faults_fail_and_hang_as_often_as_asked(stand_in: StandIn) -> None:
    stand_in.fault("getMe", status=502, count=2)
    assert [call(stand_in, "getMe")[0] for _ in range(3)] == [502, 502, 200]
    stand_in.fault("getMe", hold_s=0.3)
    began = time.monotonic()
    assert call(stand_in, "getMe")[0] == 200
    assert time.monotonic() - began >= 0.3


def test_the_control_side_refuses_what_it_cannot_do(stand_in: StandIn) -> None:
    with pytest.raises(StandInError, match="no such method `fly`"):
        stand_in.fault("fly")
    with pytest.raises(StandInError, match="`status` must be"):
        stand_in.fault("getMe", status=200)
    with pytest.raises(StandInError, match="needs `text`"):
        stand_in.push("")
    with pytest.raises(StandInError, match="more than 1000 texts"):
        stand_in.push(*["/n 1"] * (bot_api.TEXTS_MAX + 1))


def test_a_full_queue_answers_429_and_keeps_what_it_has(stand_in: StandIn) -> None:
    for _ in range(10):
        stand_in.push(*["/n 1"] * bot_api.TEXTS_MAX)
    with pytest.raises(StandInError, match="updates wait already; 0 of 1 were taken"):
        stand_in.push("/n 2")
    assert stand_in.counters()["pending"] == 10 * bot_api.TEXTS_MAX


def test_it_ends_cleanly_on_sigterm_and_says_when_the_port_is_taken(stand_in: StandIn) -> None:
    command = [sys.executable, "-m", "mltbctl.demo.bot_api", "--port"]
    taken = subprocess.run(
        [*command, str(stand_in.port)],
        env=python_environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"error: cannot listen on `127.0.0.1:{stand_in.port}`")
    with subprocess.Popen([*command, "0"], env=python_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def _send(bot: BotMethods, count: int) -> None:
    for number in range(count):
        await bot.call("sendMessage", {"chat_id": 1, "text": f"{number}"})


def test_the_oldest_messages_are_dropped_and_counted_beyond_the_limit() -> None:
    import asyncio

    bot = BotMethods(sent_max=3)
    asyncio.run(_send(bot, 5))
    assert [message["text"] for message in bot.sent] == ["2", "3", "4"]
    assert bot.counters.sent_dropped == 2


def test_faults_are_limited() -> None:
    bot = BotMethods()
    for _ in range(bot_methods.FAULTS_MAX):
        bot.plant(Fault("getme", 500, 0.0, 1))
    with pytest.raises(ApiError, match="planted already"):
        bot.plant(Fault("getme", 500, 0.0, 1))
