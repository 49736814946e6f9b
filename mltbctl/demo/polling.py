"""The demo bot's loop over python-telegram-bot: poll, answer, then acknowledge; SIGTERM ends it cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from telegram import Update
from telegram.error import TelegramError
from telegram.ext import Application, ApplicationBuilder, CommandHandler, ContextTypes

from mltbctl.demo.answers import answer_text

POLL_S = 10
BACK_OFF_S = 0.2

log = logging.getLogger("bot")


async def serve(api: str, bot_token: str, node: str, token: int) -> None:
    """Serves the bot until SIGTERM or SIGINT. TelegramError when the API cannot be reached at the start."""
    logging.basicConfig(level=logging.WARNING, format="bot: %(message)s")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = ApplicationBuilder().token(bot_token).base_url(f"{api}/bot").base_file_url(f"{api}/file/bot").build()
    unanswered: list[object] = []

    async def answer(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        if update.effective_message is not None and context.args:
            await update.effective_message.reply_text(answer_text(context.args[0], node, token, os.getpid()))

    async def note(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        log.warning("not answered: %s", context.error)
        unanswered.append(update)

    app.add_handler(CommandHandler("n", answer))
    app.add_error_handler(note)
    async with app:
        await app.start()
        try:
            await _poll(app, stop, unanswered)
        finally:
            await app.stop()


async def _poll(app: Application[Any, Any, Any, Any, Any, Any], stop: asyncio.Event, unanswered: list[object]) -> None:
    stopping = asyncio.create_task(stop.wait())
    offset: int | None = None
    try:
        while not stop.is_set():
            polling = asyncio.create_task(app.bot.get_updates(offset=offset, timeout=POLL_S))
            await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
                break
            try:
                updates = polling.result()
            except TelegramError as error:
                log.warning("poll failed: %s", error)
                await asyncio.wait({stopping}, timeout=BACK_OFF_S)
                continue
            for update in updates:
                unanswered.clear()
                await app.process_update(update)
                if unanswered:
                    # Not acknowledged, so it comes again with the next poll.
                    await asyncio.wait({stopping}, timeout=BACK_OFF_S)
                    break
                offset = update.update_id + 1
                if stop.is_set():
                    break
    finally:
        stopping.cancel()
    if offset is not None:
        # The last word: the next owner must not be given again what was answered here.
        await app.bot.get_updates(offset=offset, limit=1, timeout=0)
