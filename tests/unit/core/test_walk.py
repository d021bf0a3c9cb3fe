"""Whatever happens to a service, in whatever order: what must hold at every step."""

import re

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.services import Desired, ServiceStatus
from contracts.times import parse_ms
from tests.support.story import Story, ended
from worker.core.container import Health
from worker.core.heal import due_ms

LABELS = st.fixed_dictionaries(
    {},
    optional={
        "pointsman.category": st.sampled_from(["infrastructure", "ai", "monitoring"]),
        "pointsman.max-failures": st.sampled_from(["1", "3"]),
        "pointsman.on-exhausted": st.sampled_from(["retry", "disable"]),
        "pointsman.self-heal": st.sampled_from(["true", "false"]),
        "pointsman.protected": st.sampled_from(["true", "false"]),
        "pointsman.probe": st.just("tcp://:1"),
        "pointsman.desired": st.sampled_from(["running", "stopped"]),
        "pointsman.grace": st.sampled_from(["0", "5"]),
    },
)


class Walk(RuleBasedStateMachine):
    """A service, an engine, an observer, commands."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Story()
        #: The ends of runs that there were since the last reset, and what was counted then.
        self.deaths_at_reset = 0
        self.bad = 0

    @initialize(labels=LABELS, checked=st.booleans(), skew=st.sampled_from([-3600.0, 0.0, 3600.0]))
    def begin(self, labels: dict[str, str], checked: bool, skew: float) -> None:
        self.told = Story(labels=labels, health=Health.STARTING if checked else Health.NONE, skew=skew)
        self.told.create()
        self.told.look()

    @property
    def there(self) -> bool:
        return self.told.container is not None

    @property
    def runs(self) -> bool:
        return self.there and self.told.there.running and not self.told.there.restarting

    @rule(seconds=st.sampled_from([0.01, 1.0, 4.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.told.wait(seconds)

    @precondition(lambda self: self.runs and not self.told.there.paused)
    @rule(code=st.integers(0, 137), oom=st.booleans(), restarting=st.booleans(), looked=st.booleans())
    def it_dies(self, code: int, oom: bool, restarting: bool, looked: bool) -> None:
        self.told.die(code, oom=oom, restarting=restarting)
        if looked:
            self.look()

    @precondition(lambda self: self.there and not self.runs)
    @rule(looked=st.booleans())
    def somebody_starts_it(self, looked: bool) -> None:
        self.told.start()
        if looked:
            self.look()

    @precondition(lambda self: self.runs)
    @rule(health=st.sampled_from([Health.HEALTHY, Health.UNHEALTHY]), output=st.text(max_size=600))
    def its_health_turns(self, health: Health, output: str) -> None:
        if self.told.health is not Health.NONE:
            self.told.turn(health, output)

    @precondition(lambda self: self.runs)
    @rule()
    def it_is_paused(self) -> None:
        self.told.pause()

    @rule(again=st.booleans())
    def it_is_removed(self, again: bool) -> None:
        if self.runs:
            self.told.die(137)
        self.told.remove()
        self.told.clash = ()
        if again:
            self.told.run()

    @precondition(lambda self: not self.there)
    @rule()
    def it_is_made(self) -> None:
        self.told.create()

    @rule()
    def it_is_scaled_to_two_and_back(self) -> None:
        self.told.clash = () if self.told.clash else ("a" * 64, "b" * 64)
        self.look()

    @rule(ready=st.sampled_from([None, True, False]), hinted=st.booleans())
    def it_is_looked_at(self, ready: bool | None, hinted: bool) -> None:
        self.look(ready=ready, hinted=hinted)

    def look(self, *, ready: bool | None = None, hinted: bool = False) -> None:
        told = self.told
        known = told.state.snapshot
        watched = known is not None and known.enabled and known.desired is Desired.RUNNING
        before = known.failure_count if known is not None else 0
        ready = ready if self.there else None
        told.look(ready=ready, ended=ended(told) if hinted else None)
        after = told.snapshot.failure_count
        assert after <= before + 2 + 1
        if known is not None and not watched and after > before:
            assert told.snapshot.desired is Desired.RUNNING  # its first start was seen in this look
        # A second look at the same, at the same time, finds nothing to tell.
        told.told.clear()
        told.look(ready=ready)
        assert told.told == []

    @rule(
        action=st.sampled_from(["restart", "start", "stop", "enable", "disable"]),
        fails=st.sampled_from(["", "", "no such file"]),
        dies=st.sampled_from([None, None, 1]),
    )
    def somebody_commands(self, action: str, fails: str, dies: int | None) -> None:
        told = self.told
        told.look()
        told.told.clear()
        starts = told.starts
        receipt = told.command(action, fails=fails, dies=dies)
        if receipt.status == "rejected":
            assert told.told == []
            assert told.starts == starts
        if receipt.status == "succeeded":
            assert told.snapshot.restart_scheduled_at is None
            if action in {"restart", "enable"}:
                assert told.snapshot.failure_count == 0
        assert len(told.told) <= 2

    @precondition(lambda self: self.told.state.snapshot is not None and self.told.due_in is not None)
    @rule(fails=st.sampled_from(["", "no such file"]), dies=st.sampled_from([None, 1]))
    def the_heal_comes_due(self, fails: str, dies: int | None) -> None:
        told = self.told
        before, desired, starts = told.snapshot.failure_count, told.snapshot.desired, told.starts
        plan = told.memo.plan
        told.heal(fails=fails, dies=dies)
        assert told.snapshot.desired is desired
        assert told.snapshot.failure_count >= before
        assert told.starts <= starts + 1
        assert told.memo.plan != plan

    @invariant()
    def the_snapshot_makes_sense(self) -> None:
        told = self.told
        if told.state.snapshot is None:
            return
        one = told.snapshot
        assert (one.status is ServiceStatus.DISABLED) is not one.enabled
        assert one.failure_count >= 0
        assert one.restart_count >= 0
        assert (one.message is None) == (one.reason is None)
        assert one.message is None or 0 < len(one.message) <= 500
        assert parse_ms(one.observed_at or "") <= told.now_ms

    @invariant()
    def a_plan_is_for_somebody_who_wants_it(self) -> None:
        told = self.told
        if told.state.snapshot is None or told.snapshot.restart_scheduled_at is None:
            return
        one, memo = told.snapshot, told.memo
        assert one.enabled
        assert one.desired is Desired.RUNNING
        assert told.labels.get("pointsman.self-heal") != "false"
        assert told.labels.get("pointsman.protected") != "true"
        assert memo.plan is not None
        assert re.fullmatch(r"self-heal:web:[0-9a-f]{12}:\d{13}", memo.plan)
        assert memo.plan.endswith(f":{due_ms(one)}")


Walk.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)
TestWalk = Walk.TestCase
