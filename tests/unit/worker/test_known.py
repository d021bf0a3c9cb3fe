"""What a worker need not be told again."""

from worker.adapters.redis.known import MOST, Known
from worker.core.state import Memo, ServiceState

STATE = ServiceState(None, Memo(), "3")


def test_only_the_very_version_with_the_very_memo_is_found() -> None:
    known = Known()
    assert known.find("web", "3", "{}") is None
    known.keep("web", STATE, "{}")
    assert known.find("web", "3", "{}") is STATE
    assert known.find("web", "4", "{}") is None
    assert known.find("web", "3", '{"born_ms":5}') is None  # forgotten and found again meanwhile
    assert known.find("db", "3", "{}") is None
    known.forget()
    assert known.find("web", "3", "{}") is None


def test_it_is_enough_while_most_answers_bring_nothing_new() -> None:
    known = Known()
    known.keep("web", STATE, "{}")
    assert not known.enough
    for _ in range(100):
        known.find("web", "3", "{}")
    assert known.enough
    for _ in range(100):
        known.find("web", "4", "{}")
    assert not known.enough


def test_what_it_holds_is_bounded() -> None:
    known = Known()
    for number in range(MOST + 1):
        known.keep(f"s{number}", STATE, "{}")
    assert known.find("s0", "3", "{}") is None
    assert known.find(f"s{MOST}", "3", "{}") is STATE
