"""After a new epoch: every snapshot is published anew, from memory where Redis has lost it."""

from collections.abc import Callable, Iterable

from worker.memory import Memory
from worker.ports import Board, Clock

#: Where the observer's memory has gaps, the others have so long to put down what they remember, seconds.
RECALL = 0.5


class Restoration:
    """What is still to be published anew in the present epoch, by the worker that observes."""

    def __init__(self, *, board: Board, memory: Memory, clock: Clock) -> None:
        self._board = board
        self._memory = memory
        self._clock = clock
        self.epoch = ""  # the present one, as far as this worker knows
        #: The epoch in which every snapshot has been published by this observer.
        self.restored = ""
        self.on_restored: Callable[[], None] = lambda: None
        #: A survey is to begin it.
        self.due = False
        #: This worker's memory may have gaps.
        self.forgetful = False
        self._left: set[str] | None = None

    def clear(self) -> None:
        """Leave it to whoever observes now."""
        self.due, self._left = False, None

    def begin(self, names: Iterable[str]) -> None:
        """Have these published anew; they are all that there are."""
        self.due, self._left = False, set(names)
        if not self._left:
            self._finish()

    def covers(self, name: str) -> bool:
        """Say whether this service is still to be published anew."""
        return self._left is not None and name in self._left

    def published(self, name: str) -> None:
        """Take note that what there is to say of a service has been said."""
        if self._left is None:
            return
        self._left.discard(name)
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        self._left = None
        if not self.due:
            self.restored = self.epoch
            self.on_restored()

    async def recall(self, known: set[str]) -> None:
        """Put down what this worker remembers, and take the rest from others. Raises RedisLost, RoomRefused."""
        memory = self._memory
        await self._board.remember(dict(memory.states), first=not self.forgetful)
        if self.forgetful:
            await self._board.rouse()
            await self._clock.sleep(RECALL)
        for name, state in (await self._board.recall()).items():
            if name not in memory.states:
                memory.keep(name, state)
        names = sorted(known)
        for name, state in zip(names, await self._board.states(names), strict=True):
            if name not in memory.states:
                memory.keep(name, state)
