"""Signals wait for their reader, but not for ever and not without bound."""

import asyncio
import gc

import pytest

from worker.adapters.mailbox import Mailbox, Signals
from worker.core.container import EngineConnected, EngineHint


def hint(number: int) -> EngineHint:
    return EngineHint(container_id="a", name="a", action="start", time_ns=number)


async def test_a_cancelled_wait_loses_nothing():
    box = Mailbox()
    waiting = asyncio.create_task(box.get())
    await asyncio.wait({waiting}, timeout=0)
    waiting.cancel()
    await asyncio.wait({waiting})
    box.put(hint(1))
    assert await box.get() == hint(1)


async def test_too_many_unread_hints_become_one_look_at_everything():
    box = Mailbox(most=3)
    for number in range(5):
        box.put(hint(number))
    assert [await box.get() for _ in range(2)] == [EngineConnected(), hint(4)]


async def test_the_end_is_told_to_who_waits_and_who_comes_later():
    box = Mailbox()
    waiting = asyncio.create_task(anext(Signals(box, bool), None))
    await asyncio.wait({waiting}, timeout=0)
    box.end()
    assert await waiting is None
    box.put(hint(1))
    with pytest.raises(StopAsyncIteration):
        await box.get()


async def test_an_error_of_the_listener_reaches_the_reader():
    box = Mailbox()
    box.end(RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        await anext(Signals(box, bool))


async def test_a_reader_that_is_dropped_hangs_up_once():
    calls: list[int] = []
    signals = Signals(Mailbox(), lambda: calls.append(1))
    del signals
    gc.collect()
    assert calls == [1]
    signals = Signals(Mailbox(), lambda: calls.append(2))
    await signals.aclose()
    await signals.aclose()
    del signals
    gc.collect()
    assert calls == [1, 2]
