"""When a failing service is healed: delays, attempts, the budget, flapping, and what is never touched."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from contracts.commands import ID_PATTERN
from contracts.receipts import Receipt, ReceiptStatus
from contracts.services import ServiceStatus
from contracts.times import format_ms
from tests.support.story import Story
from worker.core.container import Health
from worker.core.heal import backoff, plan_id
from worker.core.labels import ServiceLabels
from worker.core.policy import Policy, policy_for

INFRASTRUCTURE = policy_for(ServiceLabels())


def watched(**settings: object) -> Story:
    told = Story(**settings).run()  # type: ignore[arg-type]
    told.look()
    return told


def labelled(**labels: str) -> Story:
    return watched(labels={f"pointsman.{name.replace('_', '-')}": value for name, value in labels.items()})


def ended_as(told: Story, status: ReceiptStatus, *, begun: bool) -> Receipt:
    at = format_ms(told.now_ms)
    return Receipt(id=told.memo.plan or "", status=status, started_at=at if begun else None, finished_at=at)


# The delay


@pytest.mark.parametrize(
    ("category", "delays", "limit", "grace"),
    [
        ("infrastructure", [2, 4, 8, 16, 32, 60, 60], 10, 15),
        ("ai", [5, 10, 20, 40, 80, 160, 300, 300], 5, 60),
        ("monitoring", [10, 20, 40, 80, 160, 320, 600, 600], 3, 30),
        ("anything-else", [2, 4, 8, 16, 32, 60, 60], 10, 15),
    ],
)
def test_defaults_by_category(category: str, delays: list[float], limit: int, grace: float) -> None:
    policy = policy_for(ServiceLabels(category=category))
    assert [backoff(n, policy, 0.0) for n in range(1, len(delays) + 1)] == delays
    assert (policy.limit, policy.grace) == (limit, grace)
    assert policy.clean_run == max(60.0, 10 * policy.base)


@pytest.mark.parametrize(
    ("base", "longest", "expected"),
    [
        (None, None, (2, 60)),
        (5.0, None, (5, 60)),
        (90.0, None, (90, 90)),
        (None, 1.0, (1, 1)),
        (3.0, 7.0, (3, 7)),
    ],
)
def test_a_label_beside_a_default_has_its_way(
    base: float | None, longest: float | None, expected: tuple[float, float]
) -> None:
    policy = policy_for(ServiceLabels(backoff_base=base, backoff_max=longest))
    assert (policy.base, policy.longest) == expected


policies = st.builds(
    Policy,
    grace=st.floats(0, 86_400),
    base=st.floats(0.001, 86_400),
    longest=st.floats(0.001, 86_400),
    limit=st.integers(1, 1_000_000),
    disable_when_exhausted=st.booleans(),
    heal=st.booleans(),
)
jitters = st.floats(0, 1, exclude_max=True)


@given(st.integers(-5, 10**30), policies, jitters)
def test_no_attempt_overflows_and_the_delay_stays_within_bounds(
    n: int, policy: Policy, jitter: float
) -> None:
    delay = backoff(n, policy, jitter)
    assert math.isfinite(delay)
    assert min(policy.base, policy.longest) <= delay <= policy.longest * 1.1


@given(st.integers(1, 2000), policies, jitters)
def test_delays_never_shrink_and_double_at_most(n: int, policy: Policy, jitter: float) -> None:
    plain, following = backoff(n, policy, 0.0), backoff(n + 1, policy, 0.0)
    assert plain <= following <= 2 * plain * (1 + 1e-9)
    assert plain <= backoff(n, policy, jitter) <= plain * 1.1


# Plans


def test_jitter_adds_up_to_a_tenth() -> None:
    policy = policy_for(ServiceLabels(backoff_base=2.0, backoff_max=30.0))
    assert [backoff(n, policy, 0.5) for n in (1, 2, 5)] == pytest.approx([2.1, 4.2, 31.5])
    assert backoff(1, policy, 0.999) == pytest.approx(2.2, rel=1e-3)


def test_the_first_delay_is_from_the_failure_and_later_ones_from_the_last_attempt() -> None:
    told = watched()
    told.wait(100).die().look()
    assert told.due_in == 2.0
    told.heal()
    told.wait(3).die().look()  # 3 s after the attempt: 1 s is left of the second delay of 4 s
    assert told.due_in == 1.0
    told.heal()
    told.wait(50).die().look()  # the third delay of 8 s has long passed
    assert told.due_in == 0.0
    assert told.snapshot.failure_count == 3


def test_a_plan_stands_while_the_need_does_and_is_dropped_with_it() -> None:
    told = watched()
    told.die().look()
    due, plan = told.snapshot.restart_scheduled_at, told.memo.plan
    told.wait(1).look()
    assert (told.snapshot.restart_scheduled_at, told.memo.plan) == (due, plan)
    told.start().look()
    assert (told.snapshot.restart_scheduled_at, told.memo.plan) == (None, None)


def test_the_id_is_made_of_service_container_and_time() -> None:
    told = watched()
    told.die().look()
    short, due = told.there.short_id, told.now_ms + 2000
    assert told.memo.plan == f"self-heal:web:{short}:{due}"
    assert told.snapshot.restart_scheduled_at == format_ms(due)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True), st.integers(0, 2**43))
def test_the_id_is_one_whatever_the_service_is_called(name: str, due: int) -> None:
    found = plan_id(name, "0123456789ab", due)
    assert re.fullmatch(ID_PATTERN, found)
    assert found.endswith(f":0123456789ab:{due}")
    if len(name) <= 80:
        assert found == f"self-heal:{name}:0123456789ab:{due}"


def test_long_names_that_differ_at_the_end_have_different_ids() -> None:
    assert plan_id("a" * 127 + "x", "0" * 12, 1) != plan_id("a" * 127 + "y", "0" * 12, 1)


def test_another_container_makes_the_plan_anew() -> None:
    told = watched()
    told.die().look()
    told.run().die()
    told.look()
    assert told.memo.plan is not None
    assert told.there.short_id in told.memo.plan


@pytest.mark.parametrize("action", ["start", "restart", "stop", "enable", "disable"])
def test_any_manual_command_drops_the_plan(action: str) -> None:
    told = watched()
    told.die().look()
    told.command(action)
    assert (told.snapshot.restart_scheduled_at, told.memo.plan) == (None, None)


def test_a_settled_heal_clears_its_time_and_counts_as_an_attempt() -> None:
    told = watched()
    told.die().look()
    told.heal()
    assert (told.snapshot.restart_scheduled_at, told.memo.plan, told.memo.attempts) == (None, None, 1)
    assert told.snapshot.failure_count == 1  # a heal resets nothing
    assert told.snapshot.restart_count == 0  # it was a start


def test_a_heal_of_an_unhealthy_service_is_a_restart_that_is_counted_and_resets_nothing() -> None:
    told = watched(health=Health.STARTING)
    told.turn(Health.HEALTHY).look()
    told.wait(60).turn(Health.UNHEALTHY).look()
    told.heal()
    assert (told.snapshot.restart_count, told.snapshot.failure_count) == (1, 1)
    assert told.snapshot.status is ServiceStatus.STARTING


@pytest.mark.parametrize(
    ("status", "begun", "failures", "attempts"),
    [
        (ReceiptStatus.EXPIRED, False, 1, 0),
        (ReceiptStatus.CANCELED, False, 1, 0),
        (ReceiptStatus.REJECTED, False, 1, 0),
        (ReceiptStatus.FAILED, True, 2, 1),
        (ReceiptStatus.DEAD, True, 2, 1),
        (ReceiptStatus.DEAD, False, 2, 0),
    ],
)
def test_a_heal_that_ended_otherwise_gets_a_new_and_later_time(
    status: ReceiptStatus, *, begun: bool, failures: int, attempts: int
) -> None:
    told = watched()
    told.die().look()
    before = told.memo.plan
    told.wait(2).look(heal=ended_as(told, status, begun=begun))
    assert told.due_in is not None
    assert told.due_in >= 2.0
    assert told.memo.plan not in {before, None}
    assert (told.snapshot.failure_count, told.memo.attempts) == (failures, attempts)


def test_a_new_plan_is_later_than_the_one_it_replaces_even_if_time_stood_still() -> None:
    told = labelled(backoff_base="0.001", backoff_max="0.001")
    told.die().look()
    first = told.snapshot.restart_scheduled_at
    told.look(heal=ended_as(told, ReceiptStatus.REJECTED, begun=False))
    assert first is not None
    assert told.snapshot.restart_scheduled_at is not None
    assert told.snapshot.restart_scheduled_at > first


def test_the_receipt_of_another_heal_is_not_taken_for_the_planned_one() -> None:
    told = watched()
    told.die().look()
    plan = told.memo.plan
    receipt = changed(ended_as(told, ReceiptStatus.FAILED, begun=True), id="self-heal:web:other:1")
    told.look(heal=receipt)
    assert (told.memo.plan, told.memo.attempts, told.snapshot.failure_count) == (plan, 0, 1)


@pytest.mark.parametrize(
    "why", ["self-heal", "protected", "disabled", "stopped", "paused", "engine", "removing", "dead", "grace"]
)
def test_what_healing_never_touches(why: str) -> None:
    labels = {"self-heal": {"pointsman.self-heal": "false"}, "protected": {"pointsman.protected": "true"}}
    told = watched(labels=labels.get(why, {}), health=Health.STARTING if why == "grace" else Health.NONE)
    match why:
        case "disabled":
            told.command("disable")
            told.die()
        case "stopped":
            told.command("stop")
        case "paused":
            told.pause()
        case "engine":
            told.die(restarting=True)
        case "removing":
            told.die()
            told.container = changed(told.there, state="removing")
        case "dead":
            told.die()
            told.container = changed(told.there, state="dead", dead=True)
        case "grace":
            told.turn(Health.UNHEALTHY)
        case _:
            told.die()
    told.look()
    assert (told.snapshot.restart_scheduled_at, told.memo.plan) == (None, None)


@pytest.mark.parametrize("now", ["started", "disabled", "stopped", "made anew", "started and died", "paused"])
def test_a_heal_whose_reason_is_gone_is_refused_and_touches_nothing(now: str) -> None:
    told = watched()
    told.die().look()
    plan, starts = told.memo.plan, told.starts
    expected = (told.snapshot.container_id, told.snapshot.started_at)
    match now:
        case "started":
            told.start()
        case "disabled":
            told.command("disable")
        case "stopped":
            told.command("stop")
        case "made anew":
            told.run().die()
        case "started and died":
            told.start().die()
        case "paused":
            told.start().pause()
    starts = told.starts
    receipt = told.command(
        "start",
        issuer="self-heal",
        command_id=plan or "",
        expect_container_id=expected[0],
        expect_started_at=expected[1],
    )
    assert (receipt.status, receipt.code, receipt.error) == ("rejected", 412, "precondition_failed")
    assert receipt.message == "Service 'web' needs no healing"
    assert told.starts == starts


# The budget


def crash(told: Story, times: int) -> None:
    """Let it fail so often, each time at once after the heal of the failure before."""
    for _ in range(times):
        if told.due_in is not None:
            told.heal(dies=1)
        else:
            told.die().look()


def test_at_the_limit_it_is_exhausted_once_and_goes_on_at_the_longest_delay() -> None:
    told = labelled(max_failures="4", backoff_base="2", backoff_max="50")
    crash(told, 3)
    assert (told.exhausted, told.snapshot.reason, told.due_in) == (0, "exited", 8.0)
    crash(told, 1)
    assert (told.exhausted, told.snapshot.reason, told.snapshot.failure_count) == (1, "exhausted", 4)
    assert told.due_in == 50.0
    crash(told, 5)
    assert (told.exhausted, told.due_in, told.snapshot.failure_count) == (1, 50.0, 9)


def test_at_the_limit_it_is_disabled_where_that_is_asked_for() -> None:
    told = labelled(max_failures="2", on_exhausted="disable")
    crash(told, 2)
    one = told.snapshot
    assert (told.exhausted, one.enabled, one.status, one.reason) == (1, False, "disabled", "exhausted")
    assert (one.restart_scheduled_at, one.desired) == (None, "running")
    told.told.clear()
    told.wait(500).look()
    assert told.told == []
    told.command("enable")
    assert (told.snapshot.failure_count, told.snapshot.enabled, told.memo.exhausted) == (0, True, False)
    told.look()
    assert (told.snapshot.reason, told.due_in) == ("exited", 2.0)


def test_the_setting_asks_for_it_too_and_the_label_overrides() -> None:
    for setting, label, disabled in [
        ("disable", "", True),
        ("disable", "retry", False),
        ("retry", "", False),
    ]:
        labels = {"pointsman.max-failures": "1"} | ({"pointsman.on-exhausted": label} if label else {})
        told = watched(on_exhausted=setting, labels=labels)
        told.die().look()
        assert told.snapshot.enabled is not disabled


@pytest.mark.parametrize("action", ["restart", "enable"])
def test_a_manual_restart_or_enable_resets(action: str) -> None:
    told = labelled(max_failures="3")
    crash(told, 3)
    told.command(action)
    assert (told.snapshot.failure_count, told.memo.attempts, told.memo.exhausted) == (0, 0, False)
    if action == "restart":
        told.die()
    told.look()
    assert told.due_in == 2.0
    crash(told, 4)
    assert told.exhausted == 2


def test_a_manual_start_resets_nothing() -> None:
    told = watched()
    crash(told, 3)
    told.command("start")
    assert (told.snapshot.failure_count, told.memo.attempts) == (3, 2)


def test_failures_are_forgotten_after_a_clean_run_judged_at_a_look() -> None:
    told = watched()
    crash(told, 3)
    told.heal()
    again = told.look().look_again_ms
    assert again == told.now_ms + 60_000
    told.wait(59).look()
    assert told.snapshot.failure_count == 3
    told.wait(1)
    assert told.snapshot.failure_count == 3  # not by time alone
    told.look()
    assert (told.snapshot.failure_count, told.memo.attempts) == (0, 0)
    told.die().look()
    assert told.due_in == 2.0


def test_a_moment_of_health_between_failures_does_not_reset_the_delay() -> None:
    told = labelled(max_failures="100")
    for delay in (2, 4, 8, 16, 32, 60, 60):
        told.die().look()
        assert told.due_in == (delay if told.memo.attempts == 0 else delay - 0.5)
        told.heal()
        told.wait(0.5).look()


def test_a_run_that_is_another_is_not_the_same_clean_run() -> None:
    told = watched()
    crash(told, 1)
    told.heal()
    told.wait(40).look()
    told.die().start().look()  # between two looks; it counts, and the clean run begins anew
    told.wait(30).look()
    assert told.snapshot.failure_count == 2
    told.wait(30).look()
    assert told.snapshot.failure_count == 0


def test_a_clean_run_forgives_what_was_exhausted() -> None:
    told = labelled(max_failures="2")
    crash(told, 2)
    told.heal()
    assert told.snapshot.reason is None
    told.wait(61).look()
    assert (told.memo.exhausted, told.snapshot.failure_count) == (False, 0)
    crash(told, 2)
    assert told.exhausted == 2


def test_flapping_is_told_by_turns_in_a_sliding_window() -> None:
    told = labelled(backoff_max="2")
    for n in range(1, 5):
        told.die().look()
        assert told.snapshot.reason == ("flapping" if n >= 4 else "exited")
        assert ("Flapping: 4 failures in ten minutes" in (told.snapshot.message or "")) is (n >= 4)
        told.heal()
        told.wait(20).look()
    assert told.snapshot.status is ServiceStatus.RUNNING
    told.wait(61).look()
    assert told.memo.flapping is False


def test_the_window_counts_turns_across_a_clean_run() -> None:
    told = watched()
    for _ in range(3):
        told.wait(5).die().look()
        told.wait(5).start().look()
    told.wait(61).look()
    assert (told.snapshot.failure_count, told.memo.flapping) == (0, False)
    told.wait(5).die().look()
    assert (told.snapshot.failure_count, told.memo.flapping) == (1, True)


def test_seldom_failures_are_no_flapping() -> None:
    told = watched()
    for _ in range(6):
        told.wait(400).look()
        told.die().look()
        assert told.snapshot.reason == "exited"
        told.heal()


def test_what_is_waited_for_is_told_while_a_heal_is_planned() -> None:
    told = watched()
    told.die().look(waits_for="db")
    assert told.snapshot.reason == "waits_for_dependency"
    assert (told.snapshot.message or "").startswith("Waits for 'db'")
    told.look()
    assert told.snapshot.reason == "exited"
    told.heal()
    told.look(waits_for="db")
    assert told.snapshot.reason is None


def test_the_time_of_the_next_heal_survives_whoever_planned_it() -> None:
    told = watched()
    told.die().look()
    due = told.snapshot.restart_scheduled_at
    told.wait(3600).look()  # all workers were gone for an hour
    assert told.snapshot.restart_scheduled_at == due
