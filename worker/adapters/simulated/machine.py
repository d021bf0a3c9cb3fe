"""The engine's own doings: containers that start, stop, fail and restart, by the rules of Docker's engine.

As measured on Docker 20.10: a stop leaves StartedAt as it was; starting a running container does nothing,
starting a paused one is a conflict; an action goes on although its caller has gone; two restarts at once
make one `die` and one `start`; a failed start leaves both times and sets the error; after any end of the
process health reads unhealthy. Nothing takes a task or a turn of the loop unless a delay asks for it.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from worker.adapters.simulated.container import KILLED, Behaviour, SimulatedContainer
from worker.adapters.simulated.events import Effect, Event, EventLog, Overlap
from worker.core.container import Health, Listed
from worker.ports import EngineFailed

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[object]]
Work = asyncio.Task[None]


class Machine:
    """Containers and what happens to them. `clock` returns nanoseconds, `sleep` waits for seconds."""

    def __init__(
        self,
        identity: str,
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = asyncio.sleep,
        journaled: bool = True,
    ) -> None:
        self.identity = identity
        self.journal: list[Effect] = []
        self.overlaps: list[Overlap] = []
        self.events = EventLog()
        #: Asked before an event is told: while it says yes, events are lost for everyone.
        self.losing: Callable[[], bool] = bool
        self._clock = clock
        self.sleep = sleep
        self._journaled = journaled
        self._last_ns = 0
        self._made = 0
        self._containers: dict[str, SimulatedContainer] = {}
        self._by_name: dict[str, SimulatedContainer] = {}
        self._listed: tuple[Listed, ...] | None = None
        self._tasks: set[Work] = set()

    # --- looking

    def find(self, key: str) -> SimulatedContainer | None:
        """Find a container by id, by name, or by an id's beginning that only one has."""
        found = self._containers.get(key) or self._by_name.get(key)
        if found is not None or not key:
            return found
        beginning = [one for one in self._containers.values() if one.id.startswith(key)]
        return beginning[0] if len(beginning) == 1 else None

    def get(self, key: str) -> SimulatedContainer:
        """Find a container; raises `EngineFailed` with 404 in the engine's words when there is none."""
        found = self.find(key)
        if found is None:
            raise EngineFailed(f"No such container: {key}", 404)
        return found

    def all(self) -> list[SimulatedContainer]:
        """Return every container, the newest first."""
        return list(self._containers.values())[::-1]

    def managed(self) -> tuple[Listed, ...]:
        """Return the rows of the containers that opted in, the newest first."""
        if self._listed is None:
            self._listed = tuple(
                one.listed() for one in self.all() if one.labels.get("pointsman.enable") == "true"
            )
        return self._listed

    def now(self) -> int:
        """Return the time; no two answers are the same."""
        self._last_ns = max(self._clock(), self._last_ns + 1)
        return self._last_ns

    # --- making and unmaking

    def create(
        self,
        name: str,
        image: str,
        labels: Mapping[str, str],
        behaviour: Behaviour,
        *,
        addresses: tuple[str, ...] = (),
        stop_timeout: int | None = None,
    ) -> SimulatedContainer:
        """Make a container that was never started. Raises `EngineFailed` with 409 when the name is taken."""
        self._claim(name)
        made = SimulatedContainer(
            self._new_id(), name, image, dict(labels), self.now(), behaviour, addresses, stop_timeout
        )
        return self._enter(made)

    def rename(self, one: SimulatedContainer, name: str) -> None:
        """Give it another name. Raises `EngineFailed` with 409 when the name is taken."""
        self._claim(name)
        old = one.name
        del self._by_name[old]
        one.name = name
        self._by_name[name] = one
        self.touch(one, "rename", oldName=f"/{old}")

    def replace(self, old: SimulatedContainer) -> SimulatedContainer:
        """Remove it and make another by the same recipe: same name, new id, never started."""
        self.destroy(old)
        return self._enter(old.successor(self._new_id(), self.now()))

    def destroy(self, one: SimulatedContainer) -> None:
        """Remove it, running or not."""
        one.manually_stopped = True
        if one.running:
            self._end(one, KILLED)
        one.removed = True
        self._containers.pop(one.id, None)
        self._by_name.pop(one.name, None)
        self._changed(one)
        self.emit(one, "destroy")

    def begin(self, one: SimulatedContainer) -> None:
        """Let it have been started, at once and whatever its behaviour."""
        self._started(one, by_hand=True)

    # --- actions, as the API asks for them: None when already done, else the work that goes on

    def begin_start(self, one: SimulatedContainer) -> Work | None:
        """Start it; a running one is left alone, a paused one is a conflict."""
        self._note_overlap(one, "start")
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
        self._note_overlap(one, "stop")
        if not one.running:
            return None
        if one.behaviour.leave(grace)[0] <= 0 and one.stopping is None:
            self._stop_now(one)
            return None
        return self._work(one, "stop", self._stop(one, grace))

    def begin_restart(self, one: SimulatedContainer, grace: float) -> Work | None:
        """Stop it if it runs, and start it."""
        self._note_overlap(one, "restart")
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
        self._changed(one)
        self._note(one, "die", one.finished_ns)
        self.emit(one, "die", exitCode=str(code))
        if not one.manually_stopped and not one.removed and self._policy_wants(one, code):
            one.running = one.restarting = True
            one.engine_restarts += 1
            self._changed(one)
            self.spawn(self._bring_back(one, one.run))

    def set_health(self, one: SimulatedContainer, health: Health, output: str) -> None:
        """Let the health check have found this."""
        one.health_output = output
        changed = one.health is not health
        one.health = health
        self._changed(one)
        if changed and health is not Health.STARTING:
            self.emit(one, f"health_status: {health.value}")

    def touch(self, one: SimulatedContainer, action: str, **attributes: str) -> None:
        """Tell of a change that was made to the container's state."""
        self._changed(one)
        self.emit(one, action, **attributes)

    def emit(self, one: SimulatedContainer, action: str, **attributes: str) -> None:
        """Tell the listeners, unless events are being lost."""
        log = self.events
        log.last += 1
        if not self.losing():
            log.add(Event(log.last, one.id, one.name, one.image, one.labels, action, self.now(), attributes))

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

    # --- inside

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
            self._changed(one)
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
            self._changed(one)
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
        self._changed(one)
        self._note(one, "start", one.started_ns)
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

    def _note_overlap(self, one: SimulatedContainer, action: str) -> None:
        if one.at_work:
            self.overlaps.append(Overlap(one.id, one.at_work[0], action, self.now()))

    def _note(self, one: SimulatedContainer, kind: str, time_ns: int) -> None:
        if self._journaled:
            self.journal.append(Effect(one.id, kind, time_ns))

    def _claim(self, name: str) -> None:
        if name in self._by_name:
            raise EngineFailed(f'Conflict. The container name "/{name}" is already in use', 409)

    def _enter(self, made: SimulatedContainer) -> SimulatedContainer:
        self._containers[made.id] = self._by_name[made.name] = made
        self._changed(made)
        self.emit(made, "create")
        return made

    def _changed(self, one: SimulatedContainer) -> None:
        one.changed()
        self._listed = None

    def _new_id(self) -> str:
        self._made += 1
        return hashlib.sha256(f"{self.identity}/{self._made}".encode()).hexdigest()
