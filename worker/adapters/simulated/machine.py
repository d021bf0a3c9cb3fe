"""The engine's own doings: containers that start, stop, fail and restart, by the rules of Docker's engine.

As measured on Docker 20.10: a stop leaves StartedAt as it was; starting a running container does nothing,
starting a paused one is a conflict; an action goes on although its caller has gone; two restarts at once
make one `die` and one `start`; a failed start leaves both times and sets the error; after any end of the
process health reads unhealthy. Nothing takes a task or a turn of the loop unless a delay asks for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from worker.adapters.simulated.container import KILLED, SimulatedContainer
from worker.adapters.simulated.registry import Clock, Registry
from worker.core.container import Health
from worker.ports import EngineFailed

Sleep = Callable[[float], Awaitable[object]]
Work = asyncio.Task[None]


class Machine(Registry):
    """Containers and what happens to them. `clock` returns nanoseconds, `sleep` waits for seconds."""

    def __init__(
        self,
        identity: str,
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = asyncio.sleep,
        journaled: bool = True,
    ) -> None:
        super().__init__(identity, clock, journaled=journaled)
        self.sleep = sleep
        self._tasks: set[Work] = set()

    # --- actions, as the API asks for them: None when already done, else the work that goes on

    def begin_start(self, one: SimulatedContainer) -> Work | None:
        """Start it; a running one is left alone, a paused one is a conflict."""
        self.note_overlap(one, "start")
        if one.paused:
            raise EngineFailed("cannot start a paused container, try unpause instead", 409)
        if one.running:
            return None
        if one.behaviour.start_delay <= 0 and one.starting is None:
            self._started(one, by_hand=True)
            return None
        return self._work(one, "start", self._start(one))

    def begin_stop(self, one: SimulatedContainer, grace: float) -> Work | None:
        """Stop it; one that does not run is left alone."""
        self.note_overlap(one, "stop")
        if not one.running:
            return None
        if one.behaviour.leave(grace)[0] <= 0 and one.stopping is None:
            self._stop_now(one)
            return None
        return self._work(one, "stop", self._stop(one, grace))

    def begin_restart(self, one: SimulatedContainer, grace: float) -> Work | None:
        """Stop it if it runs, and start it."""
        self.note_overlap(one, "restart")
        behaviour = one.behaviour
        waits = behaviour.start_delay > 0 or one.starting is not None or one.stopping is not None
        if waits or (one.running and behaviour.leave(grace)[0] > 0):
            return self._work(one, "restart", self._restart(one, grace))
        if one.running:
            self._stop_now(one)
        self._started(one, by_hand=True)
        self.emit(one, "restart")
        return None

    # --- what happens to a process

    def die(self, one: SimulatedContainer, code: int) -> None:
        """Let the process be gone; the engine's restart policy may bring it back."""
        one.finished_ns = self.now()
        one.exit_code = code
        one.running = one.paused = one.restarting = False
        if one.behaviour.health is not None:
            one.health = Health.UNHEALTHY
        self.changed(one)
        self.note(one, "die", one.finished_ns)
        self.emit(one, "die", exitCode=str(code))
        if not one.manually_stopped and not one.removed and self._policy_wants(one, code):
            one.running = one.restarting = True
            one.engine_restarts += 1
            self.changed(one)
            self.spawn(self._bring_back(one, one.run))

    def begin(self, one: SimulatedContainer) -> None:
        """Let it have been started, at once and whatever its behaviour."""
        self._started(one, by_hand=True)

    def replace(self, old: SimulatedContainer) -> SimulatedContainer:
        """Remove it and make another by the same recipe: same name, new id, never started."""
        self.destroy(old)
        return self.succeed(old)

    def destroy(self, one: SimulatedContainer) -> None:
        """Remove it, running or not."""
        one.manually_stopped = True
        if one.running:
            self._end(one, KILLED)
        self.leave(one)

    def set_health(self, one: SimulatedContainer, health: Health, output: str) -> None:
        """Let the health check have found this."""
        one.health_output = output
        changed = one.health is not health
        one.health = health
        self.changed(one)
        if changed and health is not Health.STARTING:
            self.emit(one, f"health_status: {health.value}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> Work:
        """Go on with it in the background; whoever waits hears its error, and nobody has to."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def halt(self) -> None:
        """End all background work, unfinished."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _work(self, one: SimulatedContainer, action: str, work: Coroutine[Any, Any, None]) -> Work:
        one.at_work.append(action)
        task = self.spawn(work)
        task.add_done_callback(lambda _: one.at_work.remove(action))
        return task

    def _finished(self, task: Work) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain of an error nobody waits for

    async def _stop(self, one: SimulatedContainer, grace: float) -> None:
        if one.stopping is not None:
            await asyncio.shield(one.stopping)
            return
        one.stopping = asyncio.get_running_loop().create_future()
        try:
            one.manually_stopped = True
            self.emit(one, "kill", signal="15")
            run = one.run
            delay, code = one.behaviour.leave(grace)
            await self.sleep(delay)
            if one.running and one.run == run:
                self._end(one, code)
            self.emit(one, "stop")
        finally:
            one.stopping.set_result(None)
            one.stopping = None

    def _stop_now(self, one: SimulatedContainer) -> None:
        one.manually_stopped = True
        self.emit(one, "kill", signal="15")
        self._end(one, one.behaviour.leave(0)[1])
        self.emit(one, "stop")

    def _end(self, one: SimulatedContainer, code: int) -> None:
        """End the process, or the wait for it where the restart policy is about to bring it back."""
        if one.restarting:
            one.running = one.restarting = False
            self.changed(one)
        else:
            self.die(one, code)

    async def _start(self, one: SimulatedContainer) -> None:
        if one.starting is not None:
            await asyncio.shield(one.starting)
            return
        one.starting = asyncio.get_running_loop().create_future()
        try:
            await self.sleep(one.behaviour.start_delay)
            if not one.running:
                self._started(one, by_hand=True)
        finally:
            one.starting.set_result(None)
            one.starting = None

    async def _restart(self, one: SimulatedContainer, grace: float) -> None:
        if one.running:
            await self._stop(one, grace)
        if not one.running:
            await self._start(one)
        self.emit(one, "restart")

    def _started(self, one: SimulatedContainer, *, by_hand: bool) -> None:
        if one.removed:
            raise EngineFailed(f"No such container: {one.id}", 404)
        behaviour = one.behaviour
        if behaviour.start_error is not None:
            one.error = behaviour.start_error
            one.exit_code = 127
            one.running = one.restarting = False
            self.changed(one)
            raise EngineFailed(behaviour.start_error, 400)
        one.started_ns = self.now()
        one.run += 1
        one.running = True
        one.paused = one.restarting = one.oom_killed = one.manually_stopped = False
        one.exit_code = 0
        one.error = ""
        if by_hand:
            one.engine_restarts = 0
        if behaviour.health is not None:
            one.health = Health.STARTING
            one.health_output = ""
        self.changed(one)
        self.note(one, "start", one.started_ns)
        self.emit(one, "start")
        if behaviour.health is not None:
            self._later(behaviour.health_delay, one, lambda: self._check_health(one))
        if behaviour.exit_after is not None:
            self._later(behaviour.exit_after, one, lambda: self.die(one, behaviour.exit_code))

    def _check_health(self, one: SimulatedContainer) -> None:
        if one.health is Health.STARTING:
            healthy = one.behaviour.health
            self.set_health(one, Health.HEALTHY if healthy else Health.UNHEALTHY, "" if healthy else "sick")

    def _later(self, delay: float, one: SimulatedContainer, happen: Callable[[], None]) -> None:
        run = one.run

        def unless_stale() -> None:
            if one.run == run and one.running and not one.restarting:
                happen()

        async def wait() -> None:
            await self.sleep(delay)
            unless_stale()

        if delay <= 0:
            unless_stale()
        else:
            self.spawn(wait())

    def _policy_wants(self, one: SimulatedContainer, code: int) -> bool:
        policy, _, most = one.behaviour.restart_policy.partition(":")
        if policy == "on-failure":
            return code != 0 and (not most or one.engine_restarts < int(most))
        return policy in {"always", "unless-stopped"}

    async def _bring_back(self, one: SimulatedContainer, run: int) -> None:
        await self.sleep(one.behaviour.restart_delay)
        if one.restarting and one.run == run and not one.removed:
            self._started(one, by_hand=False)
