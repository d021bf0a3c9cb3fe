"""The simulated engine as its users know it: containers to make and break, and the engine port."""

import asyncio
import time
from collections.abc import Mapping

from worker.adapters.simulated.client import SimulatedClient
from worker.adapters.simulated.container import KILLED, Behaviour, SimulatedContainer
from worker.adapters.simulated.events import Effect, EventLog, Overlap
from worker.adapters.simulated.faults import Faults, Late
from worker.adapters.simulated.machine import Machine, Sleep
from worker.adapters.simulated.registry import Clock
from worker.core.container import Container, Health
from worker.ports import EngineFailed

ENABLE = "pointsman.enable"


class SimulatedEngine(SimulatedClient):
    """An engine in memory.

    It is an engine port itself; `client()` gives further ones, so that several workers can share it and
    lose sight of it one by one. Containers are named by name, id or an id's beginning. `clock` returns
    nanoseconds and `sleep` waits for seconds, so that tests can set the time. Without `journaled` no
    effects are kept (for long benchmarks).
    """

    def __init__(
        self,
        identity: str = "SIMU:LATE:DENG:INE0",
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = asyncio.sleep,
        look_bound: float = 10.0,
        start_bound: float = 60.0,
        journaled: bool = True,
    ) -> None:
        self.machine = Machine(identity, clock=clock, sleep=sleep, journaled=journaled)
        super().__init__(self.machine, Faults(), look_bound=look_bound, start_bound=start_bound)
        self.faults = self._shared  # what befalls this port befalls all
        self.machine.losing = lambda: self.faults.losing
        self._clients: list[SimulatedClient] = []

    @property
    def journal(self) -> list[Effect]:
        """Return every `die` and `start` there was, in order."""
        return self.machine.journal

    @property
    def overlaps(self) -> list[Overlap]:
        """Return the actions that were asked for while another was at work on the same container."""
        return self.machine.overlaps

    @property
    def events(self) -> EventLog:
        """Return the engine's event log."""
        return self.machine.events

    def client(self, *, look_bound: float | None = None, start_bound: float | None = None) -> SimulatedClient:
        """Return another port to this engine, with faults of its own beside the engine's."""
        made = SimulatedClient(
            self.machine,
            self.faults,
            look_bound=self._look_bound if look_bound is None else look_bound,
            start_bound=self._start_bound if start_bound is None else start_bound,
        )
        self._clients.append(made)
        return made

    async def close(self) -> None:
        """End everything, the ports made by `client` and unfinished work too."""
        self.faults.recover()
        for one in self._clients:
            await one.close()
        await super().close()
        await self.machine.halt()

    # --- containers

    def add(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        image: str = "simulated:1",
        running: bool = True,
        addresses: tuple[str, ...] = ("127.0.0.1",),
        stop_timeout: int | None = None,
        health: bool | None = None,
        health_delay: float = 0.0,
        stop_delay: float = 0.0,
        start_delay: float = 0.0,
        exit_after: float | None = None,
        exit_code: int = 0,
        term_code: int = 0,
        ignores_term: bool = False,
        start_error: str | None = None,
        restart_policy: str = "no",
        restart_delay: float = 0.1,
    ) -> str:
        """Make a container, started unless `running` is False, and return its id.

        It is labelled `pointsman.enable=true` unless `labels` say otherwise; see `Behaviour` for the rest.
        Raises `EngineFailed` when the name is taken.
        """
        behaviour = Behaviour(
            stop_delay=stop_delay,
            start_delay=start_delay,
            exit_after=exit_after,
            exit_code=exit_code,
            term_code=term_code,
            ignores_term=ignores_term,
            health=health,
            health_delay=health_delay,
            start_error=None,
            restart_policy=restart_policy,
            restart_delay=restart_delay,
        )
        made = self.machine.create(
            name,
            image,
            {ENABLE: "true"} | dict(labels or {}),
            behaviour,
            addresses=addresses,
            stop_timeout=stop_timeout,
        )
        if running:
            self.machine.begin(made)
        behaviour.start_error = start_error
        return made.id

    def container(self, key: str) -> SimulatedContainer:
        """Return the container itself, to look at or to change its `behaviour`; raises `EngineFailed`."""
        return self.machine.get(key)

    def look(self, key: str) -> Container:
        """Return what an inspect would show, faults or not; raises `EngineFailed`."""
        return self.machine.get(key).inspected()

    def remove(self, key: str) -> None:
        """Remove it, running or not."""
        self.machine.destroy(self.machine.get(key))

    def recreate(self, key: str, *, image: str | None = None, running: bool = True) -> str:
        """Put another container in its place, as compose does: same name and recipe; return the new id."""
        made = self.machine.replace(self.machine.get(key))
        if image is not None:
            made.image = image
        if running:
            self.machine.begin(made)
        return made.id

    def kill(self, key: str, exit_code: int = KILLED, *, oom: bool = False) -> None:
        """Let its process end, as by a crash: the restart policy may bring it back.

        Raises `EngineFailed` when no process runs.
        """
        one = self.machine.get(key)
        if not one.running or one.restarting:
            raise EngineFailed(f"Container {one.id} is not running", 409)
        if oom:
            one.oom_killed = True
            self.machine.touch(one, "oom")
        self.machine.die(one, exit_code)

    def set_health(self, key: str, health: Health | bool, output: str = "") -> None:
        """Let its health check find this now and after each start."""
        one = self.machine.get(key)
        found = health if isinstance(health, Health) else (Health.HEALTHY if health else Health.UNHEALTHY)
        one.behaviour.health = None if found is Health.NONE else found is Health.HEALTHY
        self.machine.set_health(one, found, output)

    def pause(self, key: str) -> None:
        """Freeze its processes."""
        one = self.machine.get(key)
        one.paused = True
        self.machine.touch(one, "pause")

    def unpause(self, key: str) -> None:
        """Let them go on."""
        one = self.machine.get(key)
        one.paused = False
        self.machine.touch(one, "unpause")

    def rename(self, key: str, name: str) -> None:
        """Give it another name."""
        self.machine.rename(self.machine.get(key), name)

    def relabel(self, key: str, labels: Mapping[str, str | None]) -> None:
        """Set labels, or take away those that are None; a real engine needs a new container for that."""
        one = self.machine.get(key)
        kept = {name: value for name, value in (one.labels | dict(labels)).items() if value is not None}
        one.labels = kept
        self.machine.touch(one, "update")

    def effects(self, key: str | None = None, kind: str | None = None) -> list[Effect]:
        """Return the journal's effects on one container (by id, or a name there is), of one kind."""
        found = None if key is None else self.machine.find(key)
        wanted = key if found is None else found.id
        return [
            effect
            for effect in self.journal
            if (wanted is None or effect.container_id == wanted) and (kind is None or effect.kind == kind)
        ]

    # --- faults of the engine, which every port suffers; see `Faults`

    def outage(self) -> None:
        """Be out of reach until `recover`."""
        self.faults.outage()

    def hang(self, *calls: str, late: str = Late.NEVER) -> None:
        """Accept calls and answer none until `recover`."""
        self.faults.hang(*calls, late=late)

    def fail_next(
        self, call: str, status: int = 500, message: str = "boom", *, effect: bool = False, times: int = 1
    ) -> None:
        """Answer the next such calls with an error; status 0 breaks the connection instead."""
        self.faults.fail_next(call, status, message, effect=effect, times=times)

    def lose_events(self) -> None:
        """Lose the events from now on, until `recover`."""
        self.faults.lose_events()

    def cut_events(self) -> None:
        """End the open event streams."""
        self.faults.cut_events()

    def stall_events(self) -> None:
        """Keep the event streams open and silent, until `recover`."""
        self.faults.stall_events()

    def recover(self) -> None:
        """Turn every fault off."""
        self.faults.recover()
