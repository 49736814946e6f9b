"""What the writer's thread says reaches the loop: all of it, in order, and nothing after the end."""

from __future__ import annotations

import asyncio
import threading

from mltbd.runtime.acknowledged import Acknowledged

COUNT = 70_000
"""More than a pipe takes."""


def test_all_that_a_thread_says_is_told_in_order() -> None:
    async def story() -> None:
        told: list[int] = []
        done = asyncio.Event()

        def tell(number: int) -> None:
            told.append(number)
            if number == COUNT:
                done.set()

        acknowledged = Acknowledged(tell)

        def write() -> None:
            for number in range(1, COUNT + 1):
                acknowledged.say(number)

        writer = threading.Thread(target=write)
        writer.start()
        writer.join()  # The loop hears nothing meanwhile, and the pipe is full.
        assert told == []
        await asyncio.wait_for(done.wait(), 20)
        assert told == list(range(1, COUNT + 1))
        acknowledged.close()

    asyncio.run(story())


def test_one_at_a_time_each_is_heard() -> None:
    async def story() -> None:
        heard: asyncio.Queue[int] = asyncio.Queue()
        acknowledged = Acknowledged(heard.put_nowait)
        for number in range(1, 200):
            await asyncio.to_thread(acknowledged.say, number)
            assert await asyncio.wait_for(heard.get(), 20) == number
        acknowledged.close()

    asyncio.run(story())


def test_after_the_end_nobody_hears_and_nothing_breaks() -> None:
    async def story() -> None:
        told: list[int] = []
        acknowledged = Acknowledged(told.append)
        acknowledged.say(1)
        acknowledged.close()
        acknowledged.close()
        acknowledged.say(2)
        for _ in range(3):
            await asyncio.sleep(0)
        assert told == []

    asyncio.run(story())
