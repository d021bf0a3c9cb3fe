"""Calls of one script that wait together go out as one call, a batch."""

import asyncio
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from contracts.scripts import Script

Arg = str | bytes | int | float

#: Calls of one script that go out as one. More would save little, and Redis and worker would wait for each other.
BATCH = 16


class Reply(Protocol):
    """Where an answer goes: a future, or what behaves like one."""

    def done(self) -> bool:
        """Say whether nobody waits any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Give the answer."""
        ...

    def set_exception(self, exception: Exception, /) -> None:
        """Give the error."""
        ...


class Wire(Protocol):
    """The link, as far as it matters here."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that it lives in."""
        ...

    @property
    def up(self) -> bool:
        """Say whether a greeted connection is there."""
        ...

    async def ready(self) -> None:
        """Wait for a greeted connection. Raises RedisLost."""
        ...

    def post(self, joined: "Joined", /) -> None:
        """Let what waits be sent in this turn of the loop, or fail."""
        ...

    def send(self, reply: Reply, /, *args: Arg) -> None:
        """Send a command; its answer, or RedisLost, goes to `reply`."""
        ...


class Joined:
    """One script whose calls, where several wait together, go out as one: a batch (see `batch.lua`).

    `shared` comes before the batch. What the script answers for a call is that call's answer.
    """

    def __init__(self, wire: Wire, script: Script, key: str, *shared: Arg) -> None:
        self._wire = wire
        self._script = script
        self._key = key
        self._shared = shared
        self._waiting: list[tuple[tuple[Arg, ...], asyncio.Future[Any]]] = []

    async def call(self, *args: Arg) -> Any:
        """Make one of a batch's calls. Raises RedisLost, or redis's ResponseError."""
        wire = self._wire
        if not wire.up:
            await wire.ready()
        future: asyncio.Future[Any] = wire.loop.create_future()
        self._waiting.append((args, future))
        if len(self._waiting) == 1:
            wire.post(self)
        return await future

    def send(self) -> None:
        """Send what waits, `BATCH` calls together."""
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), BATCH):
            words: list[Arg] = [self._script.text, 1, self._key, *self._shared]
            some = waiting[first : first + BATCH]
            for args, _ in some:
                words.append(len(args))
                words += args
            batch = Batch(self._wire, words, [future for _, future in some])
            try:
                self._wire.send(batch, "EVALSHA", self._script.sha, *words[1:])
            except (TypeError, ValueError) as error:  # a word that cannot be packed: whoever said it is told
                batch.set_exception(error)

    def fail(self, error: Exception) -> None:
        """Tell those that wait that nothing was sent."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)


class Batch:
    """Calls under way together; a server that has not the script gets its text, once."""

    def __init__(self, wire: Wire, words: list[Arg], futures: list[asyncio.Future[Any]]) -> None:
        self._wire = wire
        self.words = words
        self._futures = futures

    def done(self) -> bool:
        """Say whether nobody waits any more."""
        return all(future.done() for future in self._futures)

    def set_result(self, answers: Any) -> None:
        """Give each call its answer. Raises TypeError or ValueError where these are not a batch's answers."""
        if len(answers) != len(self._futures):
            raise ValueError(f"{len(answers)} answers to {len(self._futures)} calls")
        for future, answer in zip(self._futures, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def set_exception(self, error: Exception) -> None:
        """Tell each call of an error; see to a missing script."""
        if isinstance(error, NoScriptError):
            # EVAL carries the text with it, so a flush of the script cache in between cannot fail it again.
            self._wire.send(self, "EVAL", *self.words)
            return
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
