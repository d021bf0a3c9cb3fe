"""Tasks end, also those that lose a cancellation."""

import asyncio

from worker.ending import end_all


async def test_a_lost_cancellation_is_given_again():
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    async def failing() -> None:
        raise ValueError("seen by nobody")

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_all(tasks)
    assert lost == 1
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), ValueError)


async def test_nothing_to_end_is_no_wait():
    await end_all([])
