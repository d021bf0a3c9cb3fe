import asyncio
from typing import Any

import pytest

from worker.together import both


async def at_once(value: str, told: list[str]) -> str:
    told.append(value)
    return value


async def after(event: asyncio.Event, value: str, told: list[str]) -> str:
    told.append(f"{value} begins")
    await event.wait()
    await asyncio.sleep(0)
    told.append(f"{value} ends")
    return value


async def breaks(error: Exception, event: asyncio.Event | None = None) -> str:
    if event is not None:
        await event.wait()
    raise error


async def test_where_neither_waits_no_task_is_made_and_the_loop_does_not_turn():
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(told.append, "a turn")
    assert await both(at_once("a", told), at_once("b", told)) == ("a", "b")
    assert told == ["a", "b"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_second_goes_on_while_the_first_waits():
    told: list[str] = []
    event = asyncio.Event()

    async def second() -> str:
        told.append("second begins")
        await asyncio.sleep(0)
        event.set()
        return "b"

    async with asyncio.timeout(5):
        assert await both(after(event, "a", told), second()) == ("a", "b")
    assert told == ["a begins", "second begins", "a ends"]


async def test_the_first_at_once_and_the_second_in_its_own_time():
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    async with asyncio.timeout(5):
        assert await both(at_once("a", []), after(event, "b", [])) == ("a", "b")


@pytest.mark.parametrize("waits", [False, True])
async def test_an_error_of_the_first_cancels_the_second(waits: bool):
    never, event = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    with pytest.raises(ValueError, match="first"):
        await both(breaks(ValueError("first"), event if waits else None), after(never, "b", []))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("waits", [False, True])
async def test_an_error_of_the_second_comes_after_the_first_has_ended(waits: bool):
    told: list[str] = []
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    first: Any = after(event, "a", told) if waits else at_once("a", told)
    with pytest.raises(ValueError, match="second"):
        await both(first, breaks(ValueError("second")))
    assert told[-1] in {"a", "a ends"}


async def test_a_cancellation_reaches_both():
    never = asyncio.Event()
    told: list[str] = []

    async def whole() -> None:
        await both(after(never, "a", told), after(never, "b", told))

    task = asyncio.create_task(whole())
    while "b begins" not in told:  # noqa: ASYNC110 -- two turns of the loop
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_first_that_outlives_its_cancellation_is_heard_to_its_end():
    never = asyncio.Event()

    async def stubborn() -> str:
        try:
            await never.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "a, all the same"
        return "a"

    async def whole() -> tuple[str, str]:
        return await both(stubborn(), at_once("b", []))

    task = asyncio.create_task(whole())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == ("a, all the same", "b")
