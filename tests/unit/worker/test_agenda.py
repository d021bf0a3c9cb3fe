"""What is looked at next: what something has named goes first, no more at once than may be, each once."""

from worker.agenda import AT_ONCE, HELD, SURVEYED_AT_ONCE, Agenda, Surveyed
from worker.core.look import Missing


class StillClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def boot(self) -> float:
        return self.now

    def redis_ms(self) -> int:
        return int(self.now * 1000)

    def saw(self, redis_ms: int) -> None:
        raise AssertionError(redis_ms)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def surveyed(*names: str) -> list[tuple[str, Surveyed]]:
    return [(name, Surveyed(1, Missing())) for name in names]


def begun(agenda: Agenda, now: float = 0.0) -> list[str]:
    return [name for name, _ in agenda.begin(now)]


def test_a_survey_leaves_room_for_what_events_name() -> None:
    agenda = Agenda(StillClock())
    agenda.survey(surveyed(*(f"s{n}" for n in range(30))))
    assert len(begun(agenda)) == SURVEYED_AT_ONCE
    agenda.look_soon(f"n{n}" for n in range(30))
    assert begun(agenda) == [f"n{n}" for n in range(AT_ONCE - SURVEYED_AT_ONCE)]
    assert agenda.next_due() is None  # only the end of a look makes room
    agenda.end("s0")
    assert begun(agenda) == [f"n{AT_ONCE - SURVEYED_AT_ONCE}"]


def test_a_service_is_looked_at_by_one_at_a_time_and_again_if_it_was_named_meanwhile() -> None:
    agenda = Agenda(StillClock())
    agenda.look_soon(["web"])
    assert begun(agenda) == ["web"]
    agenda.look_soon(["web"])
    agenda.survey(surveyed("web"))
    assert begun(agenda) == []
    agenda.end("web")
    assert agenda.kick.is_set()
    assert begun(agenda) == ["web"]


def test_a_later_wish_does_not_put_off_an_earlier_one() -> None:
    clock = StillClock()
    agenda = Agenda(clock)
    agenda.look_soon(["web"], after=5)
    agenda.look_soon(["web"], after=1)
    agenda.look_soon(["web"], after=3)
    assert (agenda.next_due(), begun(agenda, 0.9), begun(agenda, 1.0)) == (1.0, [], ["web"])


def test_what_a_command_holds_is_looked_at_after_a_while_should_its_end_go_unheard() -> None:
    agenda = Agenda(StillClock())
    agenda.hold("web")
    assert agenda.held == {"web"}
    assert agenda.next_due() == HELD
    agenda.look_soon(["other"])
    agenda.hold("other")
    assert agenda.next_due() == 0.0  # an earlier wish stands


def test_a_newer_survey_replaces_an_older_and_stepping_down_forgets_all() -> None:
    agenda = Agenda(StillClock())
    agenda.survey(surveyed("old"))
    agenda.survey(surveyed("new"))
    agenda.look_soon(["web"], after=1)
    agenda.hold("held")
    assert begun(agenda) == ["new"]
    agenda.clear()
    assert (begun(agenda, 9.0), agenda.held, agenda.next_due()) == ([], set(), None)
