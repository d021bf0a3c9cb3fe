"""Looks at one service at a time and has written what it sees; no answer of the engine is not written."""

import asyncio
from collections.abc import Callable

from worker.agenda import Agenda, Surveyed
from worker.core.discovery import Found
from worker.core.look import Ended, Look, Present, after_end
from worker.core.state import run_of
from worker.gauge import EngineGauge
from worker.limits import Limits
from worker.lookout import Lookout
from worker.memory import Memory
from worker.ports import Board, Clock, EngineError, EngineFailed, Log, RedisLost, RoomRefused
from worker.prober import Prober
from worker.recorder import Outcome, Recorder
from worker.restoration import Restoration
from worker.tenure import Tenure


class Examiner:
    """The looks themselves.

    `news` is set whenever a service was written; `fenced` is called when another worker turns out to
    observe, `unknown` when the engine gives no answer.
    """

    def __init__(
        self,
        *,
        board: Board,
        lookout: Lookout,
        gauge: EngineGauge,
        recorder: Recorder,
        prober: Prober,
        memory: Memory,
        agenda: Agenda,
        tenure: Tenure,
        restoration: Restoration,
        clock: Clock,
        limits: Limits,
        log: Log,
        fenced: Callable[[], None],
        unknown: Callable[[], None],
        news: asyncio.Event,
    ) -> None:
        self._board = board
        self._lookout = lookout
        self._gauge = gauge
        self._recorder = recorder
        self._prober = prober
        self._memory = memory
        self._agenda = agenda
        self._tenure = tenure
        self._restoration = restoration
        self._clock = clock
        self._limits = limits
        self._log = log
        self._fenced = fenced
        self._unknown = unknown
        self._news = news
        self._near: dict[str, str] = {}
        self._deaths: dict[str, Ended] = {}
        self._last: dict[str, Present] = {}

    def hear_of_death(self, name: str, ended: Ended) -> None:
        """Take the engine's word that the service's process has ended, for its next look."""
        self._deaths[name] = ended

    def hear_of_container(self, name: str, container_id: str) -> None:
        """Take the engine's word that this container probably is the service, for its next look."""
        self._near[name] = container_id

    def clear(self) -> None:
        """Forget what was heard and seen."""
        self._prober.clear()
        self._near.clear()
        self._deaths.clear()
        self._last.clear()

    async def examine(self, name: str, surveyed: Surveyed | None) -> None:
        """Look at a service, by what a survey found of it where there is that; a failed look is looked again."""
        again = self._agenda.look_soon
        try:
            await self._look(name, surveyed)
        except RedisLost as error:
            self._log.warning("observe_failed", "Redis gave no answer", service=name, error=str(error))
            again([name], after=0.2)
        except RoomRefused as error:
            self._log.warning("observe_refused", "Redis refused a look", service=name, error=str(error))
            again([name], after=self._limits.look_every)
        except EngineFailed as error:
            self._log.warning("look_failed", "The engine refused a look", service=name, error=error.message)
            again([name], after=self._limits.look_every)
        except EngineError as error:
            # Unknown: nothing is written. The engine's return asks for a survey.
            if await self._gauge.check():
                self._log.warning("look_unanswered", "No answer to a look", service=name, error=str(error))
                again([name], after=self._limits.look_every)
            else:
                self._unknown()
        finally:
            self._agenda.end(name)

    async def _look(self, name: str, surveyed: Surveyed | None) -> None:
        look: Look
        ended = self._deaths.pop(name, None)
        if ended is not None and not await self._write_death(name, ended):
            return
        if surveyed is None or ended is not None:
            ticket = await self._board.ticket()
            known = self._memory.container_of(name)
            look = await self._lookout.look(name, self._near.pop(name, None) or known)
        else:
            ticket, found = surveyed.ticket, surveyed.found
            if isinstance(found, Found):
                look = await self._lookout.inspect(found.id) or await self._lookout.look(name)
            else:
                look = found
        await self._record(name, ticket, look)

    async def _write_death(self, name: str, ended: Ended) -> bool:
        """Write a death as the engine's event tells it; False where that ends the look.

        The engine answers no inspect of a container that has just died before it has cleared up after it,
        tens of milliseconds later. An event about the very run that was alive at the last write is word enough
        that it has ended; the look that follows has the last word.
        """
        last = self._last.get(name)
        dead = after_end(last, ended) if last is not None else None
        state = self._memory.states.get(name)
        if dead is None or state is None or not state.memo.alive or state.memo.run != run_of(dead.container):
            return True
        return await self._record(name, await self._board.ticket(), dead, once=True)

    async def _record(self, name: str, ticket: int, look: Look, *, once: bool = False) -> bool:
        """Have a look written; say whether it was."""
        if not self._tenure.mine:
            return False
        well = self._memory.is_well(name)
        restoring = self._restoration.covers(name)
        forgetful = restoring and self._restoration.forgetful
        outcome = await self._recorder.record(
            name, ticket, look, republish=restoring, forgetful=forgetful, once=once
        )
        match outcome:
            case Outcome.WRITTEN:
                self._after(name, look)
                if self._memory.is_well(name) != well:
                    self._agenda.look_soon(self._memory.waiting_for(name))
            case Outcome.NOTHING:
                self._prober.forget(name)
                self._last.pop(name, None)
            case Outcome.HELD:
                self._agenda.hold(name)
                return False
            case Outcome.AGAIN:
                self._agenda.look_soon([name])
                return False
            case Outcome.FENCED:
                self._log.info("fenced", "Another worker observes the room now")
                self._fenced()
                return False
        self._restoration.published(name)
        return True

    def _after(self, name: str, look: Look) -> None:
        self._agenda.held.discard(name)
        self._news.set()
        at_ms = self._recorder.look_again.get(name)
        if at_ms is not None:
            self._agenda.look_soon([name], after=max(0.0, (at_ms - self._clock.redis_ms()) / 1000))
        if isinstance(look, Present):
            self._last[name] = look
        else:
            self._last.pop(name, None)
        if isinstance(look, Present) and look.answers_probes:
            self._prober.watch(name, look)
        else:
            self._prober.forget(name)
