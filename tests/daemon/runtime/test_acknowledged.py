"""What the writer's thread says reaches the loop: all of it, in order, and nothing after the end."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path

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


def test_whoever_says_something_while_it_is_closed_is_not_disturbed_and_disturbs_nobody() -> None:
    """The number of the pipe may be that of another file the moment it is closed."""

    async def story(directory: Path) -> None:
        failures: list[BaseException] = []
        for turn in range(200):
            acknowledged = Acknowledged(lambda _: None)
            begun = threading.Event()

            def write(acknowledged: Acknowledged = acknowledged, begun: threading.Event = begun) -> None:
                try:
                    for number in range(400):
                        acknowledged.say(number)
                        begun.set()
                except BaseException as error:
                    failures.append(error)

            writer = threading.Thread(target=write)
            writer.start()
            begun.wait(20)
            acknowledged.close()
            others = [(directory / f"{turn}-{number}").open("wb", buffering=0) for number in range(4)]
            writer.join()
            assert [other.tell() for other in others] == [0] * 4
            for other in others:
                other.close()
        assert failures == []

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(story(Path(directory)))


def test_what_is_said_meanwhile_lets_others_have_their_turn() -> None:
    async def story() -> None:
        turns = 0
        done = asyncio.Event()

        def tell(number: int) -> None:
            if number == 50:
                done.set()
            else:
                acknowledged.say(number + 1)

        def turn() -> None:
            nonlocal turns
            turns += 1
            if not done.is_set():
                asyncio.get_running_loop().call_soon(turn)

        acknowledged = Acknowledged(tell)
        acknowledged.say(1)
        turn()
        await asyncio.wait_for(done.wait(), 20)
        assert turns >= 50
        acknowledged.close()

    asyncio.run(story())
