"""What a look makes of the snapshot: the status table, the words, `desired`, grace and the exits noted."""

import pytest
from msgspec.structs import replace as changed

from contracts.services import Desired, ServiceStatus
from tests.support.story import START_MS, Story, ended
from worker.core.container import Health

R, S, U, X, D, N = (
    ServiceStatus.RUNNING,
    ServiceStatus.STARTING,
    ServiceStatus.UNHEALTHY,
    ServiceStatus.STOPPED,
    ServiceStatus.DISABLED,
    ServiceStatus.NOT_FOUND,
)


def story(**labels: str) -> Story:
    return Story(labels={f"pointsman.{name.replace('_', '-')}": value for name, value in labels.items()})


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        ({"state": "running", "running": True}, R, None),
        ({"state": "running", "running": True, "health": Health.HEALTHY}, R, None),
        ({"state": "running", "running": True, "health": Health.STARTING}, S, "health_starting"),
        ({"state": "running", "running": True, "health": Health.UNHEALTHY}, U, "health_check_failed"),
        ({"state": "paused", "running": True, "paused": True}, X, "paused"),
        ({"state": "paused", "running": True, "paused": True, "health": Health.UNHEALTHY}, X, "paused"),
        ({"state": "restarting", "running": True, "restarting": True}, S, "engine_restarting"),
        ({"state": "dead", "dead": True}, X, "dead"),
        ({"state": "removing", "dead": True}, X, "removing"),
        ({"state": "exited", "exit_code": 3}, X, "exited"),
        ({"state": "exited", "exit_code": 137, "oom_killed": True}, X, "oom_killed"),
        ({"state": "exited", "error": "no such file"}, X, "start_failed"),
        # after any end of the process the engine's health reads unhealthy
        ({"state": "exited", "health": Health.UNHEALTHY}, X, "exited"),
        ({"state": "running", "running": True, "engine_restarts": 2}, R, "engine_restarted"),
    ],
)
def test_status_is_a_projection_of_what_is_observed(
    facts: dict[str, object], status: ServiceStatus, reason: str | None
) -> None:
    told = story().run()
    told.container = changed(told.there, **{"running": False, **facts})  # type: ignore[arg-type]
    told.look()
    assert (told.snapshot.status, told.snapshot.reason) == (status, reason)
    assert (told.snapshot.container_state, told.snapshot.health) == (told.there.state, told.there.health)

    told.command("disable")
    assert (told.snapshot.status, told.snapshot.reason) == (D, "disabled")
    told.look()
    assert (told.snapshot.status, told.snapshot.reason) == (D, "disabled")
    assert told.snapshot.container_state == told.there.state
    told.command("enable")
    assert told.snapshot.status is status


def test_one_that_was_never_started_is_created_and_desired_stopped_until_its_first_start_is_seen() -> None:
    told = story().create()
    told.look()
    assert (told.snapshot.status, told.snapshot.reason, told.snapshot.desired) == (X, "created", "stopped")
    told.wait(5).start().look()
    assert (told.snapshot.status, told.snapshot.desired) == (R, "running")


def test_a_first_start_seen_does_not_overrule_a_command() -> None:
    told = story().create()
    told.look()
    told.command("enable")
    told.command("stop")
    told.start().look()
    assert told.snapshot.desired is Desired.STOPPED


@pytest.mark.parametrize("desired", ["running", "stopped"])
def test_a_label_decides_what_is_desired_at_first_sight(desired: str) -> None:
    told = story(desired=desired).create()
    told.look()
    assert told.snapshot.desired == desired
    told.start().look()
    assert told.snapshot.desired == desired


def test_a_changed_label_decides_for_the_container_that_has_it_but_not_over_a_command() -> None:
    told = story().run()
    told.look()
    told.labels = {"pointsman.desired": "stopped"}
    told.remove().look()
    told.run().look()
    assert told.snapshot.desired is Desired.STOPPED
    told.command("start")
    told.look()
    told.remove().look()
    told.run().look()
    assert told.snapshot.desired is Desired.RUNNING


def test_a_container_gone_keeps_snapshot_and_counters_and_reappears_as_the_same_service() -> None:
    told = story().run()
    told.look()
    told.command("restart")
    told.look()
    before = told.snapshot
    told.remove().look()
    gone = told.snapshot
    assert (gone.status, gone.reason, gone.container_id, gone.container_state) == (
        N,
        "no_container",
        None,
        None,
    )
    assert (gone.restart_count, gone.image, gone.enabled) == (1, before.image, True)
    told.wait(3).run().look()
    back = told.snapshot
    assert (back.status, back.restart_count) == (R, 1)
    assert back.container_id != before.container_id


def test_several_containers_are_ambiguous_with_all_ids_and_count_nothing() -> None:
    told = story().run()
    told.look()
    told.clash = ("a" * 64, "b" * 64)
    told.look()
    one = told.snapshot
    assert (one.status, one.reason, one.failure_count) == (N, "ambiguous", 0)
    assert "a" * 12 in (one.message or "")
    assert "b" * 12 in (one.message or "")
    assert one.restart_scheduled_at is None
    told.clash = ()
    told.look()
    assert (told.snapshot.status, told.snapshot.failure_count) == (R, 0)


def test_a_disabled_service_without_a_container_is_disabled_and_enabling_says_so() -> None:
    told = story().run()
    told.look()
    told.command("disable")
    told.remove().look()
    assert told.snapshot.status is D
    told.command("enable")
    assert (told.snapshot.status, told.snapshot.reason) == (N, "no_container")


def test_health_output_is_in_the_message_cut_at_500_and_changes_only_with_what_it_explains() -> None:
    told = Story(health=Health.STARTING).run()
    told.wait(100).turn(Health.UNHEALTHY, "x" * 900).look()
    assert told.snapshot.message == "x" * 500
    told.told.clear()
    told.wait(1).turn(Health.UNHEALTHY, "something else").look()
    assert told.told == []
    told.turn(Health.HEALTHY).look()
    told.turn(Health.UNHEALTHY, "a third").look()
    assert told.snapshot.message == "a third"


def test_bad_labels_are_reported_and_defaults_used() -> None:
    told = story(grace="soon", backoff_base="-1").run()
    told.look()
    assert (told.snapshot.status, told.snapshot.reason) == (R, "bad_label")
    assert "pointsman.grace" in (told.snapshot.message or "")
    assert told.policy.grace == 15.0


# Grace and probes


def test_a_probe_is_starting_inside_the_grace_unhealthy_after_it_and_running_once_passed() -> None:
    told = story(probe="http://:80/", grace="10").run()
    told.look()
    assert (told.snapshot.status, told.snapshot.reason) == (S, "probe_pending")
    told.wait(9).look(ready=False)
    assert told.snapshot.status is S
    told.wait(1).look(ready=False, why="HTTP 503")
    assert (told.snapshot.status, told.snapshot.reason) == (U, "probe_failed")
    assert "HTTP 503" in (told.snapshot.message or "")
    told.look(ready=True)
    assert (told.snapshot.status, told.snapshot.reason) == (R, None)


def test_the_first_success_cuts_the_grace_short() -> None:
    told = story(probe="tcp://:5432", grace="60").run()
    told.look(ready=True)
    assert told.snapshot.status is R
    told.wait(1).look(ready=False)
    assert told.snapshot.status is U
    assert told.snapshot.failure_count == 1


def test_a_probe_that_has_not_judged_this_run_changes_nothing() -> None:
    told = story(probe="tcp://:5432", grace="5").run()
    told.look(ready=True)
    told.wait(60).look()  # another observer, whose probe has not answered yet
    assert (told.snapshot.status, told.snapshot.failure_count) == (R, 0)
    told.look(ready=False)
    assert told.snapshot.status is U
    told.told.clear()
    told.look()
    assert told.told == []


def test_a_verdict_on_an_earlier_run_does_not_judge_a_later_one() -> None:
    told = story(probe="tcp://:5432", grace="5").run()
    told.look(ready=True)
    told.command("restart")
    assert (told.snapshot.status, told.snapshot.reason) == (S, "probe_pending")
    told.look()
    assert told.snapshot.status is S


def test_the_engines_own_health_check_goes_before_a_probe() -> None:
    told = Story(labels={"pointsman.probe": "tcp://:1"}, health=Health.STARTING).run()
    told.turn(Health.HEALTHY).look(ready=False)
    assert told.snapshot.status is R


@pytest.mark.parametrize("skew", [-7200.0, 0.0, 7200.0])
def test_the_grace_of_a_start_that_was_seen_does_not_depend_on_the_engines_clock(skew: float) -> None:
    told = Story(labels={"pointsman.probe": "tcp://:1", "pointsman.grace": "20"}, skew=skew).create()
    told.look()
    told.wait(1).start().look(ready=False)
    assert told.snapshot.status is S
    told.wait(18).look(ready=False)
    assert told.snapshot.status is S
    told.wait(3).look(ready=False)
    assert told.snapshot.status is U


# Exits


def test_an_exit_that_is_seen_is_noted_as_the_engine_tells_it() -> None:
    told = story().run()
    told.look()
    told.wait(2).die(3).look()
    assert (told.snapshot.last_exit_code, told.snapshot.last_exit_at) == (3, told.there.finished_at)
    assert told.snapshot.message == "The container exited with code 3"


def test_an_exit_between_two_looks_is_known_by_the_engines_word() -> None:
    told = story().run()
    told.look()
    told.wait(2).die(9)
    hint = ended(told, 9)
    told.start().look(ended=hint)
    assert (told.snapshot.status, told.snapshot.failure_count) == (R, 1)
    assert (told.snapshot.last_exit_code, told.snapshot.last_exit_at) == (9, told.there.finished_at)


def test_an_exit_between_two_looks_that_nobody_heard_of_has_a_time_and_no_code() -> None:
    told = story().run()
    told.look()
    told.wait(2).die(9).start().look()
    assert (told.snapshot.last_exit_code, told.snapshot.last_exit_at) == (None, told.there.finished_at)


def test_a_word_about_an_earlier_run_is_not_taken_for_this_one() -> None:
    told = story().run()
    old = ended(told, 9)
    told.look()
    told.wait(60).die(1).start().look()
    told.wait(60).die(1).start().look(ended=old)
    assert told.snapshot.last_exit_code is None


def test_the_exit_of_a_container_that_was_removed_is_known_by_the_engines_word() -> None:
    told = story().run()
    told.look()
    hint = ended(told.wait(4), 137)
    told.remove().look(ended=hint)
    assert (told.snapshot.status, told.snapshot.last_exit_code) == (N, 137)
    assert told.snapshot.last_exit_at is not None


def test_a_failed_start_is_told_in_the_engines_words_with_the_time_of_each_attempt() -> None:
    told = story().run()
    told.look()
    told.die().look()
    told.heal(fails="no such file")
    first = told.snapshot
    assert (first.status, first.reason, first.message) == (X, "start_failed", "no such file")
    assert first.last_start_error == "no such file"
    told.heal(fails="no such file")
    assert told.snapshot.last_start_error_at is not None
    assert first.last_start_error_at is not None
    assert told.snapshot.last_start_error_at > first.last_start_error_at


def test_lost_state_is_told_until_somebody_decides() -> None:
    told = story().run()
    told.state = changed(told.state, memo=changed(told.memo, lost=True))
    told.look()
    assert (told.snapshot.status, told.snapshot.reason) == (R, "state_lost")
    told.command("restart")
    assert told.snapshot.reason is None


def test_observed_at_is_redis_time() -> None:
    told = story().run()
    told.look()
    assert told.snapshot.observed_at == "2100-01-01T00:00:00.000Z"
    assert told.now_ms == START_MS
