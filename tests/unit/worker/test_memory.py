"""What a worker remembers, and the indexes that follow from it."""

from tests.support.story import Story
from worker.memory import Memory


def story(name: str, **labels: str) -> Story:
    told = Story(
        name=name, labels={f"pointsman.{key.replace('_', '-')}": text for key, text in labels.items()}
    )
    told.run().look()
    return told


def test_a_service_is_found_by_the_container_it_is_on_until_it_is_on_another() -> None:
    memory, web = Memory(), story("web")
    memory.keep("web", web.state)
    first = web.there.id
    assert memory.names_on(first) == {"web"}
    assert memory.container_of("web") == first[:12]
    web.run().look()
    memory.keep("web", web.state)
    assert memory.names_on(first) == set()
    assert memory.names_on(web.there.id) == {"web"}
    web.remove().look()
    memory.keep("web", web.state)
    assert memory.container_of("web") is None
    memory.drop("web")
    assert memory.states == {}


def test_plans_and_needs_follow_the_states() -> None:
    memory, web, db = Memory(), story("web", depends_on="db,unheard-of"), story("db")
    db.die().look()
    web.die().look()
    for told in (web, db):
        memory.keep(told.name, told.state)
    assert set(memory.plans) == {"web", "db"}
    assert memory.blocked("web") == "db"
    assert memory.blocked("db") is None
    assert memory.waiting_for("db") == ["web"]
    db.heal()
    memory.keep("db", db.state)
    assert set(memory.plans) == {"web"}
    assert memory.blocked("web") is None


def test_a_needed_service_that_was_disabled_is_judged_by_what_is_seen() -> None:
    memory, db = Memory(), story("db")
    db.command("disable")
    memory.keep("db", db.state)
    assert memory.is_well("db")
    db.die().look()
    memory.keep("db", db.state)
    assert not memory.is_well("db")


def test_replacing_forgets_what_is_not_there_any_more() -> None:
    memory, web, db = Memory(), story("web"), story("db")
    memory.replace({"web": web.state, "db": db.state})
    memory.replace({"db": db.state})
    assert set(memory.states) == {"db"}
    assert memory.names_on(web.there.id) == set()
