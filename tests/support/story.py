"""One service's life in the pure core alone: an engine, an observer and commands that do what they are told.

Time stands still unless `wait` lets it pass. The engine's clock may be another than Redis's (`skew`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from contracts.codec import encode_snapshot
from contracts.commands import SELF_HEAL, Action
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import Snapshot
from contracts.times import format_ms
from worker.core.container import NEVER, Container, Health
from worker.core.decide import Act, Finish, decide
from worker.core.effects import at_begin, at_end_unseen, at_settle, without_call
from worker.core.heal import due_ms
from worker.core.labels import ServiceLabels
from worker.core.look import Clash, Ended, Look, Missing, Present, Verdict
from worker.core.observe import Observation, observe
from worker.core.policy import Policy, policy_for
from worker.core.state import Memo, ServiceState, run_of

START_MS = 4_102_444_800_000


@dataclass(slots=True)
class Story:
    """A service called `name`. `told` is what each write changed: (who, the changed fields)."""

    name: str = "web"
    labels: Mapping[str, str] = field(default_factory=dict)
    on_exhausted: str = "retry"
    health: Health = Health.NONE
    restart_policy: str = "no"
    skew: float = 0.0
    jitter: float = 0.0
    now_ms: int = START_MS
    state: ServiceState = field(default_factory=lambda: ServiceState(None, Memo()))
    container: Container | None = None
    clash: tuple[str, ...] = ()
    moved: bool = False
    told: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    exhausted: int = 0
    #: The engine's own count of starts and deaths.
    starts: int = 0
    deaths: int = 0
    _numbers: int = 0

    # Time and the engine

    def wait(self, seconds: float) -> "Story":
        self.now_ms += int(seconds * 1000)
        return self

    def stamp(self) -> str:
        """Return the engine's time, never the same twice."""
        self._numbers += 1
        ms = self.now_ms + int(self.skew * 1000)
        return format_ms(ms)[:-1] + f"{self._numbers:06d}Z"

    def create(self) -> "Story":
        self._numbers += 1
        self.container = Container(
            id=hashlib.sha256(f"{self.name}/{self._numbers}".encode()).hexdigest(),
            name=self.name,
            image="image:1",
            labels={"pointsman.enable": "true"} | dict(self.labels),
            restart_policy=self.restart_policy,
        )
        return self

    def start(self, *, error: str = "") -> "Story":
        container = self.there
        if error:
            self.container = changed(container, error=error, exit_code=127, state="exited")
            return self
        self.starts += 1
        health = Health.NONE if self.health is Health.NONE else Health.STARTING
        self.container = changed(
            container,
            state="running",
            running=True,
            restarting=False,
            paused=False,
            started_at=self.stamp(),
            exit_code=0,
            error="",
            oom_killed=False,
            health=health,
        )
        return self

    def run(self) -> "Story":
        return self.create().start()

    def die(self, code: int = 1, *, oom: bool = False, restarting: bool = False) -> "Story":
        self.deaths += 1
        container = self.there
        self.container = changed(
            container,
            state="restarting" if restarting else "exited",
            running=restarting,
            restarting=restarting,
            finished_at=self.stamp(),
            exit_code=code,
            oom_killed=oom,
            health=Health.NONE if container.health is Health.NONE else Health.UNHEALTHY,
            engine_restarts=container.engine_restarts + restarting,
        )
        return self

    def turn(self, health: Health, output: str = "") -> "Story":
        self.container = changed(self.there, health=health, health_output=output)
        return self

    def pause(self) -> "Story":
        self.container = changed(self.there, state="paused", paused=True)
        return self

    def remove(self) -> "Story":
        self.container = None
        return self

    @property
    def there(self) -> Container:
        assert self.container is not None
        return self.container

    # What is known

    @property
    def snapshot(self) -> Snapshot:
        assert self.state.snapshot is not None
        return self.state.snapshot

    @property
    def memo(self) -> Memo:
        return self.state.memo

    @property
    def policy(self) -> Policy:
        return policy_for(self.parsed, on_exhausted=self.on_exhausted)

    @property
    def parsed(self) -> ServiceLabels:
        return ServiceLabels.parse(self.there.labels if self.container is not None else self.labels)

    @property
    def due_in(self) -> float | None:
        """Return the seconds until the planned heal, None when none is planned."""
        due = due_ms(self.snapshot)
        return None if due is None else (due - self.now_ms) / 1000

    @property
    def verdict_run(self) -> str:
        return run_of(self.there) or ""

    def view(self) -> Look:
        if self.clash:
            return Clash(self.clash)
        if self.container is None:
            return Missing(moved=self.moved)
        return Present(self.container, ServiceLabels.parse(self.container.labels))

    # The observer

    def look(
        self,
        *,
        ready: bool | None = None,
        why: str = "refused",
        ended: Ended | None = None,
        heal: Receipt | None = None,
        waits_for: str | None = None,
    ) -> Observation:
        """Let the observer look and write."""
        verdict = None if ready is None else Verdict(self.verdict_run, ready, "" if ready else why)
        policy = self.policy if self.container is not None else policy_for(ServiceLabels())
        seen = observe(
            self.state,
            self.name,
            self.view(),
            policy,
            now_ms=self.now_ms,
            observed_at=format_ms(self.now_ms),
            jitter=self.jitter,
            verdict=verdict,
            ended=ended,
            heal=heal,
            waits_for=waits_for,
        )
        self.exhausted += seen.exhausted
        self.write("observation", seen.snapshot, seen.memo)
        return seen

    def write(self, who: str, snapshot: Snapshot, memo: Memo) -> None:
        before = encode_snapshot(self.state.snapshot) if self.state.snapshot is not None else {}
        after = encode_snapshot(snapshot)
        fields = {name for name in before | after if before.get(name) != after.get(name)} - {"observed_at"}
        if fields:
            self.told.append((who, frozenset(fields)))
        self.state = ServiceState(snapshot, memo, str(int(self.state.ver) + 1))

    # Commands

    def command(
        self,
        action: Action | str,
        *,
        issuer: str | None = None,
        command_id: str = "c",
        fails: str = "",
        dies: int | None = None,
        expect_container_id: str | None = None,
        expect_started_at: str | None = None,
    ) -> Receipt:
        """Run a command to its end as the executor does; `dies` lets what was started exit at once."""
        act = Action(action)
        receipt = Receipt(
            id=command_id,
            status=ReceiptStatus.QUEUED,
            action=act,
            service=self.name,
            issuer=issuer,
            expect_container_id=expect_container_id,
            expect_started_at=expect_started_at,
        )
        look = None if act in {Action.ENABLE, Action.DISABLE} else self.view()
        decision = decide(receipt, act, self.name, self.state, look)
        at = format_ms(self.now_ms)
        match decision:
            case Act(look=present):
                self.write(
                    "begin",
                    *at_begin(
                        self.state, receipt, act, self.name, present, now_ms=self.now_ms, observed_at=at
                    ),
                )
                self._effect(act, fails, dies)
                self.write(
                    "settle",
                    *at_settle(
                        self.state,
                        receipt,
                        act,
                        self.name,
                        self.view(),
                        done=not fails,
                        now_ms=self.now_ms,
                        observed_at=at,
                    ),
                )
                status = ReceiptStatus.FAILED if fails else ReceiptStatus.SUCCEEDED
                receipt = changed(receipt, status=status, started_at=at, finished_at=at, changed=not fails)
            case Finish(changed=differs):
                change = without_call(self.state, act, self.name, look, now_ms=self.now_ms, observed_at=at)
                self.write("settle", *change)
                status = ReceiptStatus.SUCCEEDED
                receipt = changed(receipt, status=status, started_at=at, finished_at=at, changed=differs)
            case _:
                withdrawn = at_end_unseen(self.state, receipt)
                if withdrawn is not None:
                    self.write("settle", *withdrawn)
                receipt = changed(
                    receipt,
                    status=ReceiptStatus.REJECTED,
                    finished_at=at,
                    code=decision.error.status,
                    error=decision.error.code,
                    message=decision.error.message,
                )
        return receipt

    def _effect(self, action: Action, fails: str, dies: int | None) -> None:
        if action is not Action.START and self.there.running:
            self.die(0)
        if action is not Action.STOP:
            self.start(error=fails)
            if dies is not None and not fails:
                self.die(dies)

    def heal(self, *, fails: str = "", dies: int | None = None) -> Receipt:
        """Let the planned heal come due and run, and let the observer look."""
        due, plan = due_ms(self.snapshot), self.memo.plan
        assert due is not None
        assert plan is not None
        self.now_ms = max(self.now_ms, due)
        unhealthy = self.snapshot.status == "unhealthy"
        receipt = self.command(
            Action.RESTART if unhealthy else Action.START,
            issuer=SELF_HEAL,
            command_id=plan,
            fails=fails,
            dies=dies,
            expect_container_id=self.snapshot.container_id,
            expect_started_at=self.snapshot.started_at,
        )
        self.look(heal=receipt)
        return receipt


def ended(story: Story, code: int = 137, *, oom: bool = False) -> Ended:
    """Return the hint that the engine gives about the end of the story's container now."""
    return Ended((story.now_ms + int(story.skew * 1000)) * 1_000_000, code, oom)


__all__ = ["NEVER", "START_MS", "Story", "ended"]
