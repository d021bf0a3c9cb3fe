"""A lane that comes with a settlement may come without its service's snapshot: what another wrote is read then."""

from typing import Any

import pytest

from tests.support.clinic import Clinic
from worker.core.state import Memo, ServiceState


@pytest.mark.parametrize("knows", ["nothing", "an older version", "what stands"])
async def test_a_command_is_decided_on_what_stands_whatever_the_worker_remembers(
    clinic: Clinic, knows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.add("db")
    clinic.add("web")
    async with clinic.worker(capacity=1) as worker:
        await clinic.becomes("db", status="running")
        await clinic.becomes("web", status="running")
        known, read = worker.room.known, []
        command = worker.room.link.command

        async def counted(*words: Any, **options: Any) -> Any:
            if words[:2] == ("HGETALL", clinic.view.keys.service("db")):
                read.append(words)
            return await command(*words, **options)

        await clinic.view.settled(await clinic.view.add("disable", "db"))
        await clinic.becomes("db", status="disabled")
        keep = known.keep
        if knows != "what stands":
            known.forget()
            monkeypatch.setattr(known, "keep", lambda *_: None)
        if knows == "an older version":
            keep("db", ServiceState(None, Memo(), "1"), "{}")
        monkeypatch.setattr(known, "_share", 1.0)
        monkeypatch.setattr(worker.room.link, "command", counted)
        ids = [await clinic.view.add("restart", name) for name in ("web", "db", "web", "db")]
        codes = [(await clinic.view.settled(one))["code"] for one in ids]
        assert codes == ["200", "400", "200", "400"]
        assert read or knows == "what stands"
