"""A stand-in Bot API server that behaves as Telegram's does towards a long-polling bot, with a control side.

`python -m mltbctl.demo.bot_api --port 0` prints its port on the first line of stdout and serves until
SIGTERM.

What is kept of the real thing: the newest getUpdates wins and the older, still pending one is answered
with 409 (a second 409 within 3 s is held back for 3 s), offsets acknowledge, what is not acknowledged is
delivered again, and waits for 24 h at the most. Webhooks are not served. `/__control/` is for tests and
the demo and answers loopback only:

    POST push      {"text": ...} or {"texts": [...]}, and "chat_id"? -> {"update_ids": [...]}
    GET  sent      ?after=NUMBER -> {"sent": [{number, at_ns, chat_id, text}], "dropped": count}: by the bot
    GET  counters  -> {"calls", "polls", "conflicts", "pending", ...}
    POST fault     {"method", "status"?, "hold_seconds"?, "count"?}: the next calls hang, fail, or both
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from mltbctl.demo.bot_methods import TOKEN, ApiError, BotMethods, Fault, integer
from mltbctl.demo.updates import QueueFull

BODY_BYTES_MAX = 1 << 20
TEXTS_MAX = 1000
"""Texts in one push."""
HOLD_MAX_S = 3600
SHUTDOWN_S = 0.2


class BotApi:
    """The HTTP face of one bot: `bot` holds the state, `app()` is what aiohttp serves."""

    def __init__(self, tokens: frozenset[str] = frozenset({TOKEN}), bot: BotMethods | None = None) -> None:
        self.tokens = tokens
        self.bot = bot or BotMethods()

    def app(self) -> web.Application:
        """The application: the bot's side under `/bot<token>/`, the control side under `/__control/`."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/bot{token:[^/]+}/{method}", self._call)
        app.router.add_post("/__control/push", _control(self._push))
        app.router.add_get("/__control/sent", _control(self._sent))
        app.router.add_get("/__control/counters", _control(self._counters))
        app.router.add_post("/__control/fault", _control(self._fault))
        return app

    async def _call(self, request: web.Request) -> web.Response:
        try:
            if request.match_info["token"] not in self.tokens:
                self.bot.counters.unauthorized += 1
                raise ApiError(401, "Unauthorized")
            result = await self.bot.call(request.match_info["method"], await _params(request))
        except ApiError as error:
            body = {"ok": False, "error_code": error.code, "description": error.description}
            return web.json_response(body, status=error.code)
        return web.json_response({"ok": True, "result": result})

    async def _push(self, request: web.Request) -> dict[str, Any]:
        body = await _json_object(request)
        texts = body.get("texts", [body.get("text")])
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise ApiError(400, "needs `text`, or `texts` as a list of strings")
        if len(texts) > TEXTS_MAX:
            raise ApiError(413, f"more than {TEXTS_MAX} texts in one push")
        chat_id = integer(body, "chat_id", 4242)
        ids: list[int] = []
        for text in texts:
            try:
                ids.append(self.bot.push(text, chat_id))
            except QueueFull as error:
                raise ApiError(429, f"{error}; {len(ids)} of {len(texts)} were taken") from error
        return {"update_ids": ids}

    async def _sent(self, request: web.Request) -> dict[str, Any]:
        after = integer(dict(request.query), "after", 0)
        sent = self.bot.sent
        # Numbers are consecutive, so the place of the first one wanted is known.
        skipped = max(after + 1 - sent[0]["number"], 0) if sent else 0
        return {"sent": list(sent)[skipped:], "dropped": self.bot.counters.sent_dropped}

    async def _counters(self, _request: web.Request) -> dict[str, Any]:
        return dict(self.bot.count())

    async def _fault(self, request: web.Request) -> dict[str, Any]:
        body = await _json_object(request)
        method, hold_s = str(body.get("method", "")), body.get("hold_seconds", 0)
        if not self.bot.known(method):
            raise ApiError(400, f"no such method `{method}`")
        if isinstance(hold_s, bool) or not isinstance(hold_s, int | float) or not 0 <= hold_s <= HOLD_MAX_S:
            raise ApiError(400, f"`hold_seconds` must be a number from 0 to {HOLD_MAX_S}")
        status, count = integer(body, "status", 0), integer(body, "count", 1)
        if status and not 400 <= status <= 599:
            raise ApiError(400, "`status` must be 0 or 400 to 599")
        if count < 1:
            raise ApiError(400, "`count` must be 1 or more")
        self.bot.plant(Fault(method.lower(), status, float(hold_s), count))
        return {"faults": len(self.bot.faults)}


def _control(
    handle: Callable[[web.Request], Awaitable[dict[str, Any]]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        if request.remote not in {"127.0.0.1", "::1"}:
            return web.json_response({"error": "the control side answers loopback only"}, status=403)
        try:
            return web.json_response(await handle(request))
        except ApiError as error:
            return web.json_response({"error": error.description}, status=error.code)

    return answer


async def _params(request: web.Request) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        params.update(await _json_object(request))
    elif request.can_read_body:
        form = await request.post()
        params.update({key: value for key, value in form.items() if isinstance(value, str)})
    return params


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise ApiError(400, "Bad Request: can't parse the body as JSON") from error
    if not isinstance(body, dict):
        raise ApiError(400, "Bad Request: the body must be a JSON object")
    return body


async def serve(api: BotApi, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT. Prints the port as the first line. OSError when it is taken."""
    # A handler is cancelled when its client is gone, so that a killed bot's poll ends with it.
    runner = web.AppRunner(api.app(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await web.TCPSite(runner, host, port).start()
        print(runner.addresses[0][1], flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """The command line of the stand-in."""
    parser = argparse.ArgumentParser(
        prog="python -m mltbctl.demo.bot_api",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", action="append", help="a token to accept, repeatable (default: a built-in one)")
    given = parser.parse_args()
    api = BotApi(frozenset(given.token)) if given.token else BotApi()
    try:
        asyncio.run(serve(api, given.host, given.port))
    except OSError as error:
        raise SystemExit(f"error: cannot listen on `{given.host}:{given.port}`: {error.strerror}") from error


if __name__ == "__main__":
    main()
