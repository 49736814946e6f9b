"""What the stand-in Bot API answers, method by method, and the state behind it. No HTTP: see `bot_api`."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from mltbctl.demo.runs import now_ns
from mltbctl.demo.updates import LIMIT_MAX, UpdateQueue

TOKEN = "1234567890:demo-token-of-the-stand-in"
"""The token served unless others are given. It opens nothing anywhere else."""
BOT = {
    "id": 1234567890,
    "is_bot": True,
    "first_name": "Demo",
    "username": "mltb_demo_bot",
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
    "can_connect_to_business": False,
    "has_main_web_app": False,
}
CONFLICT = "terminated by other getUpdates request; make sure that only one bot instance is running"
CONFLICT_HOLD_S = 3.0
"""At most one 409 in this time is sent at once; each further one is held back as long."""
TIMEOUT_MAX_S = 50
TEXT_CHARS_MAX = 4096
SENT_MAX = 100_000
"""Messages of the bot kept for the control side; beyond it the oldest are dropped, and counted."""
FAULTS_MAX = 100
COMMANDS_MAX = 100

Params = dict[str, Any]


class ApiError(Exception):
    """Answered as Telegram does: an error code and a description."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclass(slots=True)
class Poll:
    """A getUpdates that waits for something to deliver."""

    offset: int
    limit: int
    answer: asyncio.Future[list[dict[str, Any]]]


@dataclass(slots=True)
class Fault:
    """The next `count` calls of `method` are held for `hold_s`, then fail with `status` unless it is 0."""

    method: str
    status: int
    hold_s: float
    count: int


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    calls: int = 0
    polls: int = 0
    conflicts: int = 0
    delivered: int = 0
    sent: int = 0
    sent_dropped: int = 0
    unauthorized: int = 0
    unknown_method: int = 0
    faulted: int = 0
    """Calls that met a planted fault."""


@dataclass(slots=True)
class BotMethods:
    """One bot as Telegram's servers see it. All state lives in memory, in one event loop."""

    sent_max: int = SENT_MAX
    queue: UpdateQueue = field(default_factory=lambda: UpdateQueue(first_id=700_000_001))
    counters: Counters = field(default_factory=Counters)
    poll: Poll | None = None
    sent: deque[dict[str, Any]] = field(default_factory=deque)
    faults: deque[Fault] = field(default_factory=deque)
    _commands: list[dict[str, Any]] = field(default_factory=list)
    _conflict_free_at: float = 0.0
    _message_id: int = 0

    def known(self, name: str) -> bool:
        """Whether there is a method of that name; Telegram does not mind upper or lower case."""
        return name.lower() in self._methods()

    async def call(self, name: str, params: Params) -> Any:
        """The result of one call. ApiError where Telegram answers with an error."""
        self.counters.calls += 1
        method = self._methods().get(name.lower())
        if method is None:
            self.counters.unknown_method += 1
            raise ApiError(404, "Not Found: method not found")
        await self._suffer(name.lower())
        return await method(params)

    def push(self, text: str, chat_id: int) -> int:
        """A user writes `text` to the bot. Returns the update's id; QueueFull when too many wait."""
        user = {"id": chat_id, "is_bot": False, "first_name": "User"}
        update_id = self.queue.push({"message": self._message(chat_id, text, user)}, time.monotonic())
        poll = self.poll
        if poll is not None and not poll.answer.done():
            updates = self.queue.take(poll.offset, poll.limit, time.monotonic())
            self.poll = None
            poll.answer.set_result(updates)
        return update_id

    def plant(self, fault: Fault) -> None:
        """Lets the next calls of a method fail or hang. ApiError when `FAULTS_MAX` are planted already."""
        if len(self.faults) >= FAULTS_MAX:
            raise ApiError(429, f"{FAULTS_MAX} faults are planted already")
        self.faults.append(fault)

    def count(self) -> dict[str, int]:
        """All counters, and the state of the queue."""
        return {
            **asdict(self.counters),
            "pending": self.queue.pending(time.monotonic()),
            "acknowledged": self.queue.acknowledged,
            "expired": self.queue.expired,
            "polling": int(self.poll is not None),
        }

    def _methods(self) -> dict[str, Callable[[Params], Awaitable[Any]]]:
        return {
            "getme": self._get_me,
            "getupdates": self._get_updates,
            "getwebhookinfo": self._get_webhook_info,
            "deletewebhook": self._delete_webhook,
            "sendmessage": self._send_message,
            "sendchataction": self._send_chat_action,
            "setmycommands": self._set_my_commands,
            "getmycommands": self._get_my_commands,
            "deletemycommands": self._delete_my_commands,
        }

    async def _suffer(self, name: str) -> None:
        for fault in self.faults:
            if fault.method != name:
                continue
            self.counters.faulted += 1
            fault.count -= 1
            if fault.count <= 0:
                self.faults.remove(fault)
            await asyncio.sleep(fault.hold_s)
            if fault.status:
                raise ApiError(fault.status, "planted by /__control/fault")
            return

    async def _get_me(self, _params: Params) -> Any:
        return BOT

    async def _get_updates(self, params: Params) -> Any:
        self.counters.polls += 1
        offset, limit = integer(params, "offset", 0), integer(params, "limit", LIMIT_MAX)
        timeout_s = min(max(integer(params, "timeout", 0), 0), TIMEOUT_MAX_S)
        if self.poll is not None:
            self._end_poll(self.poll)
        updates = self.queue.take(offset, limit, time.monotonic())
        if not updates and timeout_s:
            updates = await self._wait(offset, limit, timeout_s)
        self.counters.delivered += len(updates)
        return updates

    async def _wait(self, offset: int, limit: int, timeout_s: float) -> list[dict[str, Any]]:
        poll = Poll(offset, limit, asyncio.get_running_loop().create_future())
        self.poll = poll
        try:
            async with asyncio.timeout(timeout_s):
                return await poll.answer
        except TimeoutError:
            return []
        except ApiError:
            await self._hold_conflict()
            raise
        finally:
            # Also when the client hung up: a dead bot's poll must not swallow what comes next.
            if self.poll is poll:
                self.poll = None

    def _end_poll(self, poll: Poll) -> None:
        self.poll = None
        self.counters.conflicts += 1
        if not poll.answer.done():
            poll.answer.set_exception(ApiError(409, f"Conflict: {CONFLICT}"))

    async def _hold_conflict(self) -> None:
        now = time.monotonic()
        if now >= self._conflict_free_at:
            self._conflict_free_at = now + CONFLICT_HOLD_S
            return
        await asyncio.sleep(CONFLICT_HOLD_S)

    async def _get_webhook_info(self, _params: Params) -> Any:
        pending = self.queue.pending(time.monotonic())
        return {"url": "", "has_custom_certificate": False, "pending_update_count": pending}

    async def _delete_webhook(self, params: Params) -> Any:
        if str(params.get("drop_pending_updates", "")).lower() in {"true", "1"}:
            self.queue.clear()
        return True

    async def _send_message(self, params: Params) -> Any:
        chat_id, text = integer(params, "chat_id", 0), str(params.get("text", ""))
        if not chat_id:
            raise ApiError(400, "Bad Request: chat_id is empty")
        if not text.strip():
            raise ApiError(400, "Bad Request: message text is empty")
        if len(text) > TEXT_CHARS_MAX:
            raise ApiError(400, "Bad Request: message is too long")
        if len(self.sent) >= self.sent_max:
            self.sent.popleft()
            self.counters.sent_dropped += 1
        self.counters.sent += 1
        self.sent.append({"number": self.counters.sent, "at_ns": now_ns(), "chat_id": chat_id, "text": text})
        return self._message(chat_id, text, BOT)

    async def _send_chat_action(self, _params: Params) -> Any:
        return True

    async def _set_my_commands(self, params: Params) -> Any:
        given = params.get("commands", [])
        try:
            commands = json.loads(given) if isinstance(given, str) else given
            kept = [{"command": str(c["command"]), "description": str(c["description"])} for c in commands]
        except (ValueError, TypeError, KeyError) as error:
            raise ApiError(400, "Bad Request: can't parse commands JSON object") from error
        if len(kept) > COMMANDS_MAX:
            raise ApiError(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
        self._commands = kept
        return True

    async def _get_my_commands(self, _params: Params) -> Any:
        return self._commands

    async def _delete_my_commands(self, _params: Params) -> Any:
        self._commands = []
        return True

    def _message(self, chat_id: int, text: str, sender: dict[str, Any]) -> dict[str, Any]:
        self._message_id += 1
        message: dict[str, Any] = {
            "message_id": self._message_id,
            "date": int(time.time()),
            "chat": {"id": chat_id, "type": "private", "first_name": "User"},
            "from": sender,
            "text": text,
        }
        if text.startswith("/") and len(text) > 1:
            length = len(text.split(maxsplit=1)[0])
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return message


def integer(params: Params, name: str, default: int) -> int:
    """A whole number among the parameters; absent or empty is `default`. ApiError 400 for anything else."""
    value = params.get(name)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ApiError(400, f"Bad Request: `{name}` must be a number") from error
