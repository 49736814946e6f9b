"""A call that hangs holds up neither the others nor the end of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from mltbd.runtime.unjoined import THREADS_MAX, Unjoined


def test_results_and_failures_come_back_and_threads_are_used_again() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Unjoined())
        for _ in range(3 * THREADS_MAX):
            assert await loop.run_in_executor(None, int, "7") == 7
            with pytest.raises(ValueError, match="seven"):
                await loop.run_in_executor(None, int, "seven")

    before = threading.active_count()
    asyncio.run(play())
    assert threading.active_count() <= before + 3


def test_no_more_than_so_many_threads_and_all_calls_are_made() -> None:
    release = threading.Event()

    async def play() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Unjoined())
        calls = [loop.run_in_executor(None, release.wait) for _ in range(2 * THREADS_MAX)]
        given_up = loop.run_in_executor(None, release.clear)
        assert threading.active_count() <= before + THREADS_MAX
        given_up.cancel()
        await asyncio.sleep(0)
        release.set()
        assert all(await asyncio.gather(*calls))

    before = threading.active_count()
    asyncio.run(play())
    assert release.is_set(), "nobody wanted it any more"


def test_without_a_thread_a_call_fails_like_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    executor = Unjoined()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(BlockingIOError, match="can't start new thread"):
            executor.submit(int, "7").result()
    assert executor.submit(int, "8").result() == 8


SCRIPT = """
import asyncio, threading
from mltbd.runtime.unjoined import Unjoined

async def play():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Unjoined())
    loop.run_in_executor(None, threading.Event().wait)

asyncio.run(play())
"""


def test_the_process_ends_while_a_call_hangs() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
