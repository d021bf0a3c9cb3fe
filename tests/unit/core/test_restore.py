"""What a service is taken for after Redis lost writes."""

from msgspec.structs import replace as changed

from tests.support.story import Story
from worker.core.restore import restore
from worker.core.state import Memo, ServiceState

NOTHING = ServiceState(None, Memo())


def known() -> Story:
    told = Story().run()
    told.look()
    told.command("restart")
    told.command("disable")
    return told


def test_a_lost_service_is_what_a_worker_remembers_at_the_version_that_stands() -> None:
    told = known()
    found = restore(NOTHING, told.state, told.view(), forgetful=True)
    assert (found.snapshot, found.memo, found.ver) == (told.snapshot, told.memo, "0")


def test_one_that_nobody_remembers_is_lost_only_where_somebody_may_have_forgotten() -> None:
    told = Story().run()
    assert restore(NOTHING, None, told.view(), forgetful=True).memo.lost is True
    assert restore(NOTHING, None, told.view(), forgetful=False).memo.lost is False
    told.remove()
    assert restore(NOTHING, None, told.view(), forgetful=True) == NOTHING


def test_what_stands_wins_unless_redis_lost_the_newest_writes() -> None:
    told = known()
    older = ServiceState(changed(told.snapshot, enabled=True), told.memo, str(int(told.state.ver) - 1))
    newer = ServiceState(changed(told.snapshot, enabled=True), told.memo, str(int(told.state.ver) + 1))
    assert restore(newer, told.state, told.view(), forgetful=False) == newer
    assert restore(told.state, told.state, told.view(), forgetful=False) == told.state
    found = restore(older, told.state, told.view(), forgetful=False)
    assert (found.snapshot, found.ver) == (told.snapshot, older.ver)


def test_a_snapshot_that_a_command_began_anew_takes_back_what_was_remembered() -> None:
    told = known()
    told.command("enable")
    told.look()
    told.die().look()
    remembered = told.state
    anew = Story(now_ms=told.now_ms + 5000, container=told.container, starts=1)
    anew.command("restart")
    found = restore(anew.state, remembered, anew.view(), forgetful=False)
    assert found.snapshot is not None
    assert (found.snapshot.restart_count, found.snapshot.failure_count) == (2, 1)
    assert found.snapshot.desired == "running"
    assert found.memo.run == anew.memo.run
    assert found.ver == anew.state.ver
    disabled = changed(remembered, snapshot=changed(told.snapshot, enabled=False))
    again = restore(anew.state, disabled, anew.view(), forgetful=False)
    assert again.snapshot is not None
    assert again.snapshot.enabled is False
