"""Asks services with a probe label whether they are ready; one that hangs holds up no other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.core.labels import Probe
from worker.core.look import Present, Verdict
from worker.core.state import run_of
from worker.limits import Limits
from worker.ports import Asker, Clock


@dataclass(slots=True)
class _Target:
    """One run of one service. `due` is in seconds of CLOCK_BOOTTIME; `failures` counts those in a row."""

    run: str
    probe: Probe
    addresses: Sequence[str]
    due: float
    asking: bool = False
    failures: int = 0
    verdict: Verdict | None = None


class Prober:
    """Keeps a verdict on each watched run. `on_verdict` is called with the service when one turns."""

    def __init__(self, *, asker: Asker, clock: Clock, limits: Limits) -> None:
        self._asker = asker
        self._clock = clock
        self._limits = limits
        self._targets: dict[str, _Target] = {}
        self._gate = asyncio.Semaphore(limits.probes_at_once)
        self._kick = asyncio.Event()
        self.on_verdict: Callable[[str], None] = lambda _: None

    def watch(self, name: str, look: Present) -> None:
        """Ask this run from now on, or go on asking it; a new run is asked at once."""
        probe, run = look.labels.probe, run_of(look.container)
        if probe is None or run is None:
            self.forget(name)
            return
        known = self._targets.get(name)
        if known is not None and known.run == run and known.probe == probe:
            known.addresses = look.container.addresses
            return
        self._targets[name] = _Target(run, probe, look.container.addresses, self._clock.boot())
        self._kick.set()

    def forget(self, name: str) -> None:
        """Ask this service no more."""
        self._targets.pop(name, None)

    def clear(self) -> None:
        """Ask nobody any more."""
        self._targets.clear()

    def verdict(self, name: str) -> Verdict | None:
        """Return what is made of the watched run; None while that is not known."""
        target = self._targets.get(name)
        return target.verdict if target is not None else None

    async def run(self) -> None:
        """Ask whoever is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._clock.boot()
                idle = [(name, target) for name, target in self._targets.items() if not target.asking]
                for name, target in idle:
                    if target.due <= now:
                        target.asking = True
                        tasks.create_task(self._ask(name, target), name=f"probe-{name}")
                later = [target.due - now for _, target in idle if target.due > now]
                try:
                    async with asyncio.timeout(min(later, default=self._limits.idle)):
                        await self._kick.wait()
                except TimeoutError:
                    pass
                self._kick.clear()

    async def _ask(self, name: str, target: _Target) -> None:
        try:
            async with self._gate:
                why: str | None = f"no answer within {self._limits.probe_deadline:g} s"
                try:
                    async with asyncio.timeout(self._limits.probe_deadline):
                        why = await self._asker.ask(target.probe, target.addresses)
                except TimeoutError:
                    pass
            self._judge(name, target, why)
        finally:
            target.asking = False
            self._kick.set()

    def _judge(self, name: str, target: _Target, why: str | None) -> None:
        before = target.verdict
        if why is None:
            target.failures, target.verdict = 0, Verdict(target.run, ready=True)
        else:
            target.failures += 1
            if target.failures >= self._limits.probe_failures:
                target.verdict = Verdict(target.run, ready=False, why=why)
        well = why is None
        target.due = self._clock.boot() + (self._limits.probe_every if well else self._limits.probe_again)
        turned = target.verdict is not None and (before is None or before.ready != target.verdict.ready)
        if turned and self._targets.get(name) is target:
            self.on_verdict(name)
