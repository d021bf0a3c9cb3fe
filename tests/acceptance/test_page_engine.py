"""The page, the stream and the usage examples over real containers, and over the death of the gateway."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Sight, Sights
from tests.support.dockerd import Containers
from tests.support.gateway import Follower
from tests.support.needs import leave_out
from tests.support.processes import Program, Programs
from tests.support.redis import RedisServer
from tests.support.usage import CALL, CURL, JAVASCRIPT, PAGE, PYTHON, outcome, port_is_free
from tests.support.waiting import eventually
from tests.support.workers import Workers

playwright = pytest.importorskip(
    "playwright.async_api", reason="left out: playwright (pip install pointsman[test])"
)
expect = playwright.expect
pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all

URL = "http://localhost:8000"
SECOND = 1.0
CHANGED = "pointsman.service.changed"


class Table:
    """What stood in a page's table, and when: seconds since 1970, by the clock that the engine has too."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    async def watch(self) -> None:
        """Write down every change from now on; a page that is loaded anew has forgotten it all."""
        await self.sight.page.evaluate(WATCH)

    async def shows(self, name: str, *, since: float, within: float = 15, **wanted: str) -> float:
        """Wait until a row is so, and return when it first was."""

        async def first() -> float:
            seen: list[dict[str, Any]] = await self.sight.page.evaluate("window.seen")
            found = [one for one in seen if one["name"] == name and one["at"] >= since]
            times: list[float] = [one["at"] for one in found if wanted.items() <= one.items()]
            assert times, found[-3:]
            return times[0]

        return await eventually(first, within=within, what=f"the table shows {name} as {wanted}")

    async def press(self, action: str, name: str) -> float:
        """Ask by button, in the row or its menu, say yes, and return when that was."""
        button = self.sight.row(name).locator(f'[data-action="{action}"]')
        if not await button.count():
            await self.sight.row(name).get_by_role("button", name="More actions").click()
            button = self.sight.page.get_by_role("menuitem", name=action.capitalize())
        await button.click()
        yes = self.sight.dialog().locator('button[type="submit"]')
        await expect(yes).to_contain_text(action.capitalize())
        at = time.time()
        await yes.click()
        return at


class Room:
    """Three real containers, what became of them, and who looks on."""

    def __init__(self, containers: Containers, room: str, table: Table, follower: Follower) -> None:
        self.engine = containers.dockerd
        self.table, self.follower = table, follower
        labels = {"pointsman.room": room, "pointsman.category": "ai", "pointsman.backoff-base": "1"}
        self.containers = {
            name: containers.run(labels=labels | {"pointsman.service": name})
            for name in ("rtdetr", "nemotron", "whisper")
        }
        self.late: list[str] = []

    def happened(self, name: str, kind: str) -> float:
        """Return when the engine says that it last happened to a container."""
        return self.engine.effects(self.containers[name], kind)[-1].time_ns / 1e9

    async def seen(self, what: str, name: str, began: float, *, since: float, **wanted: str) -> None:
        """See it in the table and in the stream, both within a second of when it `began`."""
        shown = await self.table.shows(name, since=since, **wanted)

        def told() -> float:
            for one in self.follower.heard:
                if one.event == CHANGED and one.data["subject"] == name and one.at >= since:
                    service = one.data["data"]["service"]
                    known = {
                        "status": service["status"],
                        "restarts": str(service["restart_count"]),
                        "failures": str(service["failure_count"]),
                    }
                    if wanted.items() <= known.items():
                        return one.at
            return 0

        heard = await eventually(told, what=f"the stream tells that {name} is {wanted}")
        for where, at in (("table", shown), ("stream", heard)):
            print(f"{what} in the {where}: {at - began:.3f} s")  # noqa: T201 -- shown with -s
            if at - began > SECOND:
                self.late.append(f"{what} in the {where} after {at - began:.3f} s")

    async def restart_disable_kill(self, restarts: int, failures: int) -> None:
        """Do all three, and undo what stands in the way of the next time."""
        asked = await self.table.press("restart", "rtdetr")
        shown = await self.table.shows("rtdetr", since=asked, restarts=str(restarts))
        print(f"restarted in the table after the press: {shown - asked:.3f} s")  # noqa: T201
        began = self.happened("rtdetr", "start")
        began = self.happened("rtdetr", "start")
        await self.seen("restarted", "rtdetr", began, since=asked, restarts=str(restarts), status="running")

        asked = await self.table.press("disable", "nemotron")
        await self.seen("disabled", "nemotron", asked, since=asked, status="disabled")
        asked = await self.table.press("enable", "nemotron")
        await self.seen("enabled", "nemotron", asked, since=asked, status="running")

        asked = time.time()
        self.engine.slay(self.containers["whisper"])
        await self.table.shows("whisper", since=asked, status="stopped")
        died = self.happened("whisper", "die")
        await self.seen("killed", "whisper", died, since=asked, status="stopped", failures=str(failures))
        await self.table.shows("whisper", since=asked, status="running")
        began = self.happened("whisper", "start")
        await self.seen("healed", "whisper", began, since=began, status="running")


async def _examples(table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the usage examples as they stand, and see what they do in the table."""
    space: dict[str, Any] = {}
    exec(PYTHON, space)  # noqa: S102 -- the example
    assert space["check_ai_services"]() == {"total": 3, "healthy": 3, "unhealthy": 0}
    assert "All AI services are healthy" in capsys.readouterr().out
    node = shutil.which("node")
    if node is None:
        leave_out("node", "apt-get install nodejs, or scripts/install-test-deps as root")
    script = tmp_path / "example.js"
    script.write_text(PAGE + JAVASCRIPT + CALL)
    began = time.time()
    done = await outcome(node, str(script), "rtdetr")
    assert done.stdout.splitlines()[0] == "Service 'rtdetr' restart initiated", done
    await table.shows("rtdetr", since=began, restarts="1", status="running")
    disable, enable = (line for line in CURL.splitlines() if line.startswith("curl"))
    for command, status in ((disable, "disabled"), (enable, "running")):
        began = time.time()
        assert json.loads((await outcome("sh", "-c", command)).stdout)["success"] is True
        await table.shows("nemotron", since=began, status=status)


async def test_what_happens_to_containers_is_seen_within_a_second_also_after_the_gateways_death(
    make_redis: Any,
    room: str,
    containers: Containers,
    workers: Workers,
    programs: Programs,
    browser: Sights,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    redis: RedisServer = make_redis()
    await eventually(port_is_free, within=60, what="port 8000 is free")
    for name in ("w1", "w2"):
        worker = workers.start(redis.url, containers.dockerd.url, room=room, name=name)
        await worker.says("serving", within=30)

    async def start() -> Program:
        environment = {"POINTSMAN_REDIS_URL": redis.url, "POINTSMAN_ROOM": room}
        program = programs.start("gateway", "run", env=environment)
        await program.says('"serving"', within=30)
        return program

    gateway = await start()
    sight = await browser.open(URL)
    await sight.live()
    table, follower = Table(sight), Follower(URL)
    await table.watch()
    began = time.time()
    scene = Room(containers, room, table, follower)
    for name in scene.containers:
        await table.shows(name, since=began, status="running")

    await _examples(table, tmp_path, capsys)
    await scene.restart_disable_kill(restarts=2, failures=1)

    gateway.kill()
    await expect(sight.banner("cut")).to_contain_text("The stream of events is cut.")
    elsewhere = ("--room", room, "--redis-url", redis.url)
    assert (await programs.run("service", "disable", "nemotron", *elsewhere)).code == 0
    assert (await programs.run("service", "restart", "rtdetr", *elsewhere)).code == 0
    began = time.time()
    await expect(sight.row("nemotron")).to_have_attribute("data-status", "running")
    gateway = await start()
    await table.shows("nemotron", since=began, status="disabled")
    await table.shows("rtdetr", since=began, restarts="3")
    await expect(sight.banner("cut")).to_have_count(0)
    await expect(sight.banner("reset")).to_have_count(0)
    await table.press("enable", "nemotron")
    await scene.restart_disable_kill(restarts=4, failures=2)

    assert not scene.late, scene.late
    assert await sight.page.evaluate("window.opened") == "once", "the page was loaded anew"
    first, *more = sight.streams()
    assert "last-event-id" not in first.headers
    assert all(int(one.headers["last-event-id"].rpartition("/")[2]) in follower.revisions for one in more)
    assert more
    await follower.aclose()
    revisions = follower.revisions
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    assert follower.resets == 1
    assert [len(scene.engine.effects(one, "start")) for one in scene.containers.values()] == [5, 1, 3]
    assert (await gateway.stop(within=15)).code == 0


#: Write down each change of a row in `window.seen`, with the time.
WATCH = """() => {
  window.opened = "once";
  window.seen = [];
  const last = new Map();
  const text = (row, name) => row.querySelector(`.cell-${name}`)?.textContent;
  const look = () => {
    for (const row of document.querySelectorAll("tr.row[data-name]")) {
      const { name, status } = row.dataset;
      const now = { name, status, restarts: text(row, "restarts"), failures: text(row, "failures") };
      const key = JSON.stringify(now);
      if (last.get(name) !== key) window.seen.push({ at: Date.now() / 1000, ...now });
      last.set(name, key);
    }
  };
  const all = { childList: true, characterData: true, attributes: true, subtree: true };
  new MutationObserver(look).observe(document.getElementById("main"), all);
  look();
}"""
