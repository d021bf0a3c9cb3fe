"""Waits that a held command can afford: between looks, and for an engine that gives no answer."""

from collections.abc import Callable

from contracts.times import parse_ms
from worker.core.look import Look
from worker.course import Course, LeaseLost, NotBegun
from worker.limits import Limits
from worker.lookout import Lookout
from worker.ports import Clock, EngineBusy, EngineFailed, EngineUnavailable, Log


class Patience:
    """Rests and looks, for as long as the lane is ours and this worker is not `stopping`.

    `engine_lost` is called whenever the engine gave no answer.
    """

    def __init__(
        self,
        *,
        lookout: Lookout,
        clock: Clock,
        limits: Limits,
        log: Log,
        engine_lost: Callable[[], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._lookout = lookout
        self._clock = clock
        self._limits = limits
        self._log = log
        self._engine_lost = engine_lost
        self._stopping = stopping

    async def rest(self, course: Course, seconds: float) -> None:
        """Let time go by. Raises LeaseLost, NotBegun."""
        if course.grant.lost:
            raise LeaseLost(course.grant.id)
        if self._stopping():
            raise NotBegun("this worker is stopping")
        await self._clock.sleep(seconds)
        if course.grant.lost:
            raise LeaseLost(course.grant.id)

    async def look(self, course: Course) -> Look | None:
        """Look; while the engine gives no answer, wait for it until the command's deadline. None: that has come."""
        grant = course.grant
        while True:
            try:
                if course.container_id:
                    return await self._lookout.look_again(grant.service, course.container_id)
                return await self._lookout.look(grant.service)
            except EngineFailed as error:
                self._log.warning(
                    "look_failed", "The engine refused a look", command=grant.id, error=error.message
                )
            except (EngineUnavailable, EngineBusy):
                self._engine_lost()
            if self._clock.redis_ms() >= parse_ms(grant.receipt.expires_at or "1970-01-01T00:00:00Z"):
                return None
            await self.rest(course, self._limits.look_every / 4)
