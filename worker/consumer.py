"""Takes lanes and runs them, no more at once than the worker can; hands back what it cannot finish."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from worker.core.decide import STATE_ONLY
from worker.core.delivery import Grant, Taken
from worker.course import LeaseLost, NotBegun
from worker.ending import end_all
from worker.executor import Executor
from worker.limits import Limits
from worker.ports import Clock, Inbox, Ledger, Log, RedisLost, RoomRefused

#: Lanes that need no engine may run beside a full house: they take milliseconds.
STATE_ONLY_EXTRA = 4
#: A lane that cannot be run here now rests this long before anybody takes it again, seconds.
REST = 0.25
#: Lanes that a waiting take may bring: one that is asked for at the moment, and one more that tells whether more wait.
RING = 2
#: Seconds for a waiting take to end when the worker stops.
LET_GO = 1.0


class _Ring(NamedTuple):
    """A take that waits. Once what it brought is on its way, `rang` has the seconds until the next plain take."""

    task: asyncio.Task[None]
    rang: asyncio.Future[float]


class Consumer:
    """The take loop and its slots. `engine_up` says whether this worker reaches its engine."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        ledger: Ledger,
        executor: Executor,
        clock: Clock,
        limits: Limits,
        log: Log,
        engine_up: Callable[[], bool],
    ) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._executor = executor
        self._clock = clock
        self._limits = limits
        self._log = log
        self._engine_up = engine_up
        self._slots: dict[asyncio.Task[None], Grant] = {}
        self._nudge = asyncio.Event()
        #: Somebody wants a take at once; and whether a slot that ends is a reason to.
        self._asked = False
        self._hungry = False
        self._position = "0-0"
        self._unsure = False
        self._balked = False
        self.stopping = False

    @property
    def held(self) -> list[Grant]:
        """Return the lanes that this worker holds."""
        return list(self._slots.values())

    @property
    def slots(self) -> list[asyncio.Task[None]]:
        """Return the tasks that run them."""
        return list(self._slots)

    @property
    def running(self) -> int:
        """Return how many commands run."""
        return len(self._slots)

    def doubt(self) -> None:
        """Say that an answer was lost: a lane that came with it is ours without our knowing."""
        self._unsure = True
        self.nudge()

    def nudge(self) -> None:
        """Make the loop take again at once."""
        self._asked = True
        self._nudge.set()

    async def run(self) -> None:
        """Take and run until `stopping` is set; what still runs then goes on."""
        ring: _Ring | None = None
        try:
            while not self.stopping:
                pause = await self._take_once()
                while pause > 0 and not self.stopping:
                    # Where we balked, what would ring is still there, and would ring at once.
                    if ring is None and not self._balked:
                        ring = self._set_up()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._nudge.wait()
                    self._nudge.clear()
                    pause = 0.0
                    if ring is not None and ring.rang.done():
                        pause, ring = ring.rang.result(), None
                    if self._asked:
                        pause = 0.0
            if ring is not None:
                await self._let_go(ring)
        finally:
            if ring is not None and ring.task not in self._slots:
                await end_all([ring.task])

    def _set_up(self) -> "_Ring":
        """Let a take wait; what it brings first is run by who waited for it, without another turn of the loop."""
        rang: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        rang.add_done_callback(lambda _: self._nudge.set())
        task = asyncio.create_task(self._wait_and_run(rang), name="inbox-ring")

        def end(task: asyncio.Task[None]) -> None:
            if task in self._slots:
                self._end_slot(task)
            elif task.cancelled():
                rang.cancel()
            elif (error := task.exception()) is not None:
                rang.set_exception(error)

        task.add_done_callback(end)
        return _Ring(task, rang)

    async def _wait_and_run(self, rang: asyncio.Future[float]) -> None:
        """Take as soon as there is something: little, because whoever sleeps may be unable to run it."""
        free = min(RING, self._free())
        taken = await self._inbox.await_take(
            self._position,
            self._limits.idle,
            free,
            state_only=not self._engine_up(),
            count=self._limits.intake,
        )
        if taken is None:
            self._unsure = True
            rang.set_result(0.0)
            return
        first = taken.grants[0] if taken.grants and self._free() > 0 else None
        task = asyncio.current_task()
        if first is None or task is None:
            rang.set_result(self._accept(taken, taken.grants, free))
            return
        self._slots[task] = first
        self._inbox.after_lull(partial(rang.set_result, self._accept(taken, taken.grants[1:], free)))
        await self._run_slot(first)

    async def _let_go(self, ring: "_Ring") -> None:
        """End the wait so that nothing is taken behind our back; what still comes is given back by its slot."""
        try:
            async with asyncio.timeout(LET_GO):
                await self._inbox.release()
                await asyncio.shield(ring.rang)
        except (RedisLost, RoomRefused, TimeoutError) as error:
            self._log.warning(
                "ring_lost", "A waiting take did not end in time; what it takes lapses", error=str(error)
            )

    def _free(self) -> int:
        """Return how many lanes more can be run; without the engine some that need none."""
        free = max(0, self._limits.capacity - len(self._slots))
        return free if self._engine_up() else max(free, STATE_ONLY_EXTRA)

    async def _take_once(self) -> float:
        """Take once; return how long to wait before the next, 0 for at once."""
        self._asked = False
        free = self._free()
        try:
            if self._unsure:
                await self._ledger.reconcile(lambda: self.held)
                self._unsure = False
            taken = await self._inbox.take(free, state_only=not self._engine_up(), count=self._limits.intake)
        except RedisLost as error:
            self._unsure = self._balked = True
            self._log.warning("redis_lost", "Redis gave no answer to a take; trying again", error=str(error))
            return 0.2
        except RoomRefused as error:
            self._balked = True
            self._log.warning("take_refused", "Redis refused a take; nothing was taken", error=str(error))
            return 0.5
        self._balked = False
        return self._accept(taken, taken.grants, free)

    def _accept(self, taken: Taken, grants: Sequence[Grant], free: int) -> float:
        """Run these of what was taken; return how long to wait before the next take, 0 for at once."""
        self._position = taken.position
        for grant in grants:
            self._start(grant, surplus=self._free() == 0)  # the house was filled while a take waited
        # All that was asked for came, so there may be more: at once, or when a slot ends.
        self._hungry = len(taken.grants) >= free
        if taken.more or (self._hungry and self._free() > 0):
            return 0.0
        if not taken.due_ms:
            return self._limits.idle
        return min(self._limits.idle, max(0.001, (taken.due_ms - self._clock.redis_ms()) / 1000 + 0.001))

    def _start(self, grant: Grant, *, surplus: bool) -> None:
        work = self._give_back(grant, 0.0) if surplus else self._run_slot(grant)
        task = asyncio.create_task(work, name=f"command-{grant.id}")
        self._slots[task] = grant
        task.add_done_callback(self._end_slot)

    def _end_slot(self, task: asyncio.Task[None]) -> None:
        self._slots.pop(task, None)
        if self._hungry or self._unsure:
            self.nudge()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning(
                "slot_failed", "A command's task failed; its lease will lapse", error=repr(error)
            )

    async def _run_slot(self, first: Grant) -> None:
        """Run a lane, and the lanes that come with each settlement, until none comes."""
        task = asyncio.current_task()
        grant: Grant | None = first
        while grant is not None and task is not None:
            self._slots[task] = grant
            if self.stopping or not self._can_run(grant):
                await self._give_back(grant, 0.0 if self.stopping else REST)
                return
            grant = await self._run_one(grant)

    def _can_run(self, grant: Grant) -> bool:
        """Say whether it can be run now; without the engine, only what is begun already or needs none."""
        return self._engine_up() or grant.takeover or grant.receipt.action in STATE_ONLY

    async def _run_one(self, grant: Grant) -> Grant | None:
        try:
            return await self._executor.run(grant)
        except LeaseLost:
            self._log.warning(
                "lease_lost", "The lane went to another worker; nothing more is written", command=grant.id
            )
        except NotBegun as error:
            self._log.info("handed_back", "The lane is handed back", command=grant.id, why=str(error))
            await self._give_back(grant, 0.0 if self.stopping else REST)
        except RedisLost as error:
            self._unsure = True
            self._log.warning(
                "redis_lost",
                "Redis gave no answer for as long as the lease",
                command=grant.id,
                why=str(error),
            )
        except RoomRefused as error:
            self._log.warning("write_refused", "Redis refused a write", command=grant.id, error=str(error))
            await self._give_back(grant, 1.0)
        return None

    async def _give_back(self, grant: Grant, rest: float) -> None:
        """Hand a lane back; where Redis does not hear of it, the lease lapses by itself."""
        try:
            await self._ledger.hand_back([grant], rest=rest)
            if rest > 0:
                self.nudge()  # so that we know when the rest is over
        except (RedisLost, RoomRefused) as error:
            self._unsure = True
            self._log.warning(
                "handback_lost", "A lane could not be handed back", command=grant.id, error=str(error)
            )

    async def drain(self, seconds: float) -> None:
        """Wait for what runs, at most `seconds`; then cut it off and hand its lanes back in one step."""
        if self._slots:
            await asyncio.wait(set(self._slots), timeout=seconds)
        if left := self.slots:
            await end_all(left)
            try:
                # All that this process holds, a lane too that came with a settlement whose answer was cut off.
                await self._ledger.reconcile(lambda: ())
            except (RedisLost, RoomRefused) as error:
                self._log.warning(
                    "handback_lost", "Lanes could not be handed back; leases lapse", error=str(error)
                )
