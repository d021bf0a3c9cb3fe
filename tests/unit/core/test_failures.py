"""What counts as a failure, and what does not."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from contracts.services import ServiceStatus
from contracts.times import format_ms
from tests.support.story import Story, ended
from worker.core.container import Health
from worker.core.look import Present, after_end


def watched(**settings: object) -> Story:
    told = Story(**settings).run()  # type: ignore[arg-type]
    told.look()
    return told


def test_an_exit_counts_once_however_often_it_is_looked_at() -> None:
    told = watched()
    told.wait(1).die()
    for _ in range(5):
        told.wait(1).look()
    assert told.snapshot.failure_count == 1


def test_a_run_that_came_and_went_between_two_looks_counts_too() -> None:
    told = watched()
    told.die().start().die().look()
    assert told.snapshot.failure_count == 2


def test_first_sight_of_a_stopped_container_counts_none_but_plans_after_the_first_delay() -> None:
    told = Story().run().die()
    told.look()
    assert told.snapshot.failure_count == 0
    assert told.due_in == 2.0


def test_a_new_container_first_seen_stopped_counts_none() -> None:
    told = watched()
    told.command("stop")
    told.remove().look()
    told.command("enable")
    told.run().die().look()
    assert told.snapshot.failure_count == 0
    assert told.due_in is not None


@pytest.mark.parametrize("action", ["restart", "stop"])
def test_an_exit_that_a_command_set_out_for_is_no_failure(action: str) -> None:
    told = watched()
    told.command(action)
    told.look()
    assert told.snapshot.failure_count == 0


def test_an_exit_seen_before_the_start_that_names_it_has_begun_counts_and_after_not() -> None:
    told = watched()
    told.die()
    told.command("restart")  # nobody looked in between: the evidence names the dead run
    told.look()
    assert told.snapshot.failure_count == 0


def test_the_exit_of_what_a_command_started_counts_at_the_look_after_the_settle() -> None:
    told = watched()
    told.command("restart", dies=1)
    assert (told.snapshot.status, told.snapshot.failure_count) == (ServiceStatus.STOPPED, 0)
    told.look()
    assert told.snapshot.failure_count == 1
    assert told.due_in == 2.0
    told.look()
    assert told.snapshot.failure_count == 1


def test_a_run_that_came_between_two_looks_and_that_a_command_set_out_to_end_is_no_failure() -> None:
    told = watched()
    told.wait(1).die().start()
    told.state = changed(told.state, memo=changed(told.memo, ending=told.verdict_run))
    told.die().look()
    assert told.snapshot.failure_count == 1  # the end of the run before it


def test_an_end_that_reads_earlier_than_its_start_counts_all_the_same() -> None:
    told = watched()
    before = told.stamp()
    told.wait(1).command("restart", dies=1)
    told.container = changed(told.there, finished_at=before)
    assert told.there.finished_at < told.there.started_at
    told.look()
    told.look()
    assert told.snapshot.failure_count == 1
    assert told.due_in == 2.0


def test_a_failed_restart_counts_nothing_by_itself_unless_it_was_a_heal() -> None:
    told = watched()
    told.command("restart", fails="no such file")
    told.look()
    assert told.snapshot.failure_count == 0
    told.heal(fails="no such file")
    assert told.snapshot.failure_count == 1
    told.heal()
    assert told.snapshot.failure_count == 1


@pytest.mark.parametrize("how", ["disabled", "stopped"])
def test_nothing_counts_on_a_service_that_is_disabled_or_not_wanted(how: str) -> None:
    told = watched()
    if how == "disabled":
        told.command("disable")
    else:
        told.command("stop")
        told.start()
    told.look()
    told.die().look()
    assert told.snapshot.failure_count == 0
    assert told.due_in is None


def test_what_ended_while_disabled_is_no_failure_after_enable_even_if_unseen() -> None:
    told = watched()
    told.command("disable")
    told.die()
    told.command("enable")
    told.look()
    assert told.snapshot.failure_count == 0
    assert told.due_in == 2.0


def test_a_turn_to_unhealthy_counts_past_the_grace_once_until_it_is_well() -> None:
    told = Story(health=Health.STARTING, labels={"pointsman.grace": "10"}).run()
    told.look()
    told.wait(3).turn(Health.UNHEALTHY).look()
    assert (told.snapshot.status, told.snapshot.failure_count) == (ServiceStatus.UNHEALTHY, 0)
    assert told.due_in is None
    told.wait(7).look()
    assert told.snapshot.failure_count == 1
    told.wait(1).look()
    assert told.snapshot.failure_count == 1
    told.turn(Health.HEALTHY).look()
    told.turn(Health.UNHEALTHY).look()  # the grace was over with the first success
    assert told.snapshot.failure_count == 2


def test_the_end_of_the_grace_is_a_time_to_look_again() -> None:
    told = Story(health=Health.STARTING, labels={"pointsman.grace": "10"}).run()
    told.wait(3).turn(Health.UNHEALTHY)
    assert told.look().look_again_ms == told.now_ms + 7000


def test_restarts_by_the_engines_own_policy_count_and_ours_waits() -> None:
    told = watched(restart_policy="always")
    told.die(2, restarting=True).look()
    one = told.snapshot
    assert (one.status, one.reason, one.failure_count) == (ServiceStatus.STARTING, "engine_restarting", 1)
    assert one.last_exit_code == 2
    assert told.due_in is None
    told.start().look()
    assert (told.snapshot.status, told.snapshot.reason) == (ServiceStatus.RUNNING, "engine_restarted")
    assert told.snapshot.failure_count == 1


def test_a_container_that_moved_to_another_name_has_not_ended() -> None:
    told = watched()
    told.remove()
    told.moved = True
    told.look()
    assert (told.snapshot.status, told.snapshot.failure_count) == (ServiceStatus.NOT_FOUND, 0)


def test_a_container_made_anew_ended_the_old_run_and_plans_nothing() -> None:
    told = watched()
    told.remove().look()
    assert (told.snapshot.status, told.snapshot.failure_count) == (ServiceStatus.NOT_FOUND, 1)
    assert told.due_in is None
    told.run().look()
    assert (told.snapshot.status, told.snapshot.failure_count) == (ServiceStatus.RUNNING, 1)


def test_a_paused_container_has_not_ended_and_is_not_healed() -> None:
    told = watched()
    told.pause().look()
    assert (told.snapshot.status, told.snapshot.failure_count, told.due_in) == ("stopped", 0, None)


# The settled event of a command is the last word: the observer has nothing to add


@pytest.mark.parametrize("action", ["restart", "stop", "start", "enable", "disable"])
@pytest.mark.parametrize(
    "before", ["running", "unhealthy", "exited", "stopped", "disabled", "created", "paused", "probed"]
)
def test_after_a_command_a_look_at_the_same_finds_nothing_to_tell(action: str, before: str) -> None:
    labels = {"pointsman.self-heal": "false"} | (
        {"pointsman.probe": "tcp://:1"} if before == "probed" else {}
    )
    told = Story(health=Health.STARTING if before == "unhealthy" else Health.NONE, labels=labels)
    if before == "created":
        told.create().look()
    else:
        told.run().look()
    match before:
        case "unhealthy":
            told.wait(60).turn(Health.UNHEALTHY, "bad").look()
        case "exited":
            told.wait(5).die().look()
        case "stopped":
            told.command("stop")
        case "disabled":
            told.command("disable")
        case "paused":
            told.pause().look()
        case "probed":
            told.look(ready=True)
    told.look()
    told.told.clear()
    receipt = told.command(action)
    by_command = list(told.told)
    told.look()
    expected = by_command
    if receipt.status == "succeeded" and before in {"stopped", "created"} and action == "enable":
        expected = [*by_command, *told.told[len(by_command) :]]  # why it is stopped reads otherwise now
        assert {name for _, names in told.told[len(by_command) :] for name in names} <= {"reason", "message"}
    assert told.told == expected
    assert len(by_command) <= 2


def test_a_restart_of_a_plain_running_container_is_one_change_and_a_stop_two() -> None:
    told = watched()
    told.told.clear()
    told.command("restart")
    told.look()
    assert [who for who, _ in told.told] == ["settle"]
    told.told.clear()
    told.command("stop")
    told.look()
    assert [who for who, _ in told.told] == ["begin", "settle"]


def test_readiness_reached_later_is_a_change_of_its_own() -> None:
    told = Story(health=Health.STARTING).run()
    told.turn(Health.HEALTHY).look()
    told.told.clear()
    told.command("restart")
    told.look()
    told.turn(Health.HEALTHY).look()
    assert [who for who, _ in told.told] == ["settle", "observation"]
    assert told.told[-1][1] == {"status", "health", "reason", "message"}


# What the engine's event about a death foretells


@pytest.mark.parametrize("health", [Health.NONE, Health.HEALTHY])
def test_a_death_that_an_event_tells_reads_as_the_look_that_follows(health: Health) -> None:
    told = Story(health=health).run()
    told.turn(health).look()
    alive = told.view()
    assert isinstance(alive, Present)
    told.wait(3)
    hint = ended(told, 9)
    told.die(9)  # FinishedAt is not the event's stamp
    foretold = after_end(alive, hint)
    assert foretold is not None
    real, told.container = told.container, foretold.container
    told.look(ended=hint)
    assert (told.snapshot.status, told.snapshot.failure_count) == ("stopped", 1)
    assert told.snapshot.last_exit_at == hint.stamp
    told.container = changed(real, finished_at=format_ms(told.now_ms - 30))
    told.told.clear()
    told.wait(0.03).look(ended=hint)
    assert told.told == []


@pytest.mark.parametrize("why", ["policy", "oom", "earlier", "no code", "paused", "stopped", "restarting"])
def test_where_an_event_is_not_word_enough_the_look_decides(why: str) -> None:
    told = Story(restart_policy="always" if why == "policy" else "no").run()
    hint = ended(told.wait(2), 1, oom=why == "oom")
    match why:
        case "earlier":
            hint = replace(hint, time_ns=hint.time_ns - 10_000_000_000)
        case "no code":
            hint = replace(hint, exit_code=None)
        case "paused":
            told.pause()
        case "stopped":
            told.die()
        case "restarting":
            told.die(restarting=True)
    look = told.view()
    assert isinstance(look, Present)
    assert after_end(look, hint) is None


def test_a_later_death_is_noted_as_its_own() -> None:
    told = watched()
    told.wait(1).die(3).look()
    first = told.snapshot.last_exit_at
    told.heal()
    told.wait(0.5).die(4).look()
    assert told.snapshot.last_exit_at == told.there.finished_at != first
