"""Lists everything: at the start, after a break, on a period, and whenever one name is not enough."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from worker.agenda import Agenda, Surveyed
from worker.core.discovery import Ambiguous, Found, Grouping, group
from worker.core.look import Clash, Missing
from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.lookout import Lookout, still_runs
from worker.memory import Memory
from worker.ports import Board, Clock, EngineError, EngineFailed, Log, RedisLost, RoomRefused
from worker.restoration import Restoration
from worker.tenure import Tenure


class Surveyor:
    """Has every service looked at that is or was; while another observes, remembers what that one writes.

    `news` is set when what is planned in the room is known.
    """

    def __init__(
        self,
        *,
        board: Board,
        lookout: Lookout,
        gauge: EngineGauge,
        memory: Memory,
        agenda: Agenda,
        tenure: Tenure,
        restoration: Restoration,
        clock: Clock,
        limits: Limits,
        log: Log,
        room: str,
        news: asyncio.Event,
    ) -> None:
        self._board = board
        self._lookout = lookout
        self._gauge = gauge
        self._memory = memory
        self._agenda = agenda
        self._tenure = tenure
        self._restoration = restoration
        self._clock = clock
        self._limits = limits
        self._log = log
        self._room = room
        self._news = news
        self._due = True
        self._began = clock.boot()
        self.under_way = False
        self._reported: frozenset[str] = frozenset()

    def soon(self) -> None:
        """Ask for a survey."""
        self._due = True
        self._agenda.kick.set()

    @property
    def next_at(self) -> float:
        """Return when the period asks for one, seconds of CLOCK_BOOTTIME."""
        return self._began + self._limits.resync

    def is_due(self, now: float) -> bool:
        """Say whether one is to begin; never two at once."""
        return (self._due or now >= self.next_at) and not self.under_way

    def begin(self, now: float) -> Coroutine[Any, Any, None]:
        """Return the survey to run."""
        self._due, self.under_way, self._began = False, True, now
        return self._run()

    async def _run(self) -> None:
        try:
            if self._tenure.mine:
                await self._survey()
            else:
                await self._refresh()
        except (RedisLost, RoomRefused) as error:
            self._log.warning("survey_failed", "Redis gave no answer; looking again", error=str(error))
            await self._clock.sleep(0.2)
            self._due = True
        except EngineFailed as error:
            self._log.warning("survey_failed", "The engine refused to list", error=error.message)
            await self._clock.sleep(self._limits.look_every)
            self._due = True
        except EngineError:
            self._due = True
            if await self._gauge.check():
                await self._clock.sleep(self._limits.look_every)
        finally:
            self.under_way = False
            self._agenda.kick.set()

    async def _refresh(self) -> None:
        """Remember what another observer writes, for the day that it and Redis forget."""
        names = await self._board.names()
        states = dict(zip(names, await self._board.states(names), strict=True))
        # While a lost room is being restored, what is remembered here may be all that there is.
        if await self._board.whole() and not self._tenure.mine:
            self._memory.replace(states)

    async def _survey(self) -> None:
        term, restore = self._tenure.term, self._restoration.due
        known = set(await self._board.names())
        if restore:
            await self._restoration.recall(known)
        elif not self._tenure.loaded:
            names = sorted(known)
            self._memory.replace(dict(zip(names, await self._board.states(names), strict=True)))
        ticket = await self._board.ticket()
        listed = await self._lookout.listed()
        if not self._tenure.mine or term != self._tenure.term:
            return
        self._tenure.loaded = True
        self._news.set()  # plans are known now
        found = group(listed, self._room)
        self._report(found)
        names = sorted(known | set(self._memory.states) | set(found.services))
        if restore:
            self._restoration.begin(names)

        def each() -> Iterator[tuple[str, Surveyed]]:
            for name in names:
                match found.services.get(name):
                    case None:
                        moved = still_runs(listed, self._memory.container_of(name))
                        yield name, Surveyed(ticket, Missing(moved=moved))
                    case Ambiguous(ids=ids):
                        yield name, Surveyed(ticket, Clash(ids))
                    case Found() as one:
                        yield name, Surveyed(ticket, one)

        self._agenda.survey(each())

    def _report(self, found: Grouping) -> None:
        ignored = {f"{one.container_name}: {one.why}" for one in found.ignored}
        for text in sorted(ignored - self._reported):
            self._log.warning(
                "container_ignored", "A container asks to be managed but cannot be", container=text
            )
        self._reported = frozenset(ignored)
