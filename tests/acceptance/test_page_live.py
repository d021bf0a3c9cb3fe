"""The page as an operator sees it: what happens is shown by itself, and what stands in the way is said."""

import re
import time

import pytest

from contracts.keys import Keys
from publisher import Publisher
from tests.support.browser import Sights, scene_in
from tests.support.gateway import Scene
from tests.support.host import LOOPBACK, free_port
from tests.support.processes import Programs
from tests.support.redis import RedisServer
from tests.support.waiting import eventually

playwright = pytest.importorskip(
    "playwright.async_api", reason="left out: playwright (pip install pointsman[test])"
)
expect = playwright.expect
pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all


async def test_a_restart_by_button_is_seen_in_the_table_without_a_reload(stage: Scene, browser: Sights):
    container = stage.add("rtdetr", category="ai", display="RT-DETR", stop_delay=0.2)
    stage.add("postgres", health=True)
    await stage.worker()
    served = await stage.gateway(heartbeat=0.25)
    await stage.known(served, "rtdetr", "postgres")
    sight = await browser.open(served.url)
    row = sight.row("rtdetr")
    await expect(row).to_have_attribute("data-status", "running")
    await sight.page.evaluate("window.opened = 'once'")

    await row.locator('[data-action="restart"]').click()
    await expect(sight.dialog().locator("h2")).to_have_text("Restart RT-DETR?")
    await expect(sight.dialog()).to_contain_text("rtdetr")
    await sight.dialog().locator("#reason").fill("slow since noon")
    before = len(stage.engine.effects(container))
    await sight.dialog().locator('button[type="submit"]').click()

    await expect(row.locator(".cell-restarts")).to_have_text("1")
    await expect(sight.page.locator(".toast")).to_contain_text("Restart RT-DETR: done")
    await expect(sight.page.locator(".rail")).to_contain_text("slow since noon")
    assert [one.kind for one in stage.engine.effects(container)[before:]] == ["die", "start"]
    assert await sight.page.evaluate("window.opened") == "once"
    receipt = (await served.http.get("/api/system/commands")).json()["commands"][0]
    assert (receipt["reason"], receipt["issuer"], receipt["status"]) == (
        "slow since noon",
        "http",
        "succeeded",
    )

    # A dead service and a disabled one, by whomever: within a second, and still without asking.
    asked = len(sight.requests)
    began = time.monotonic()
    stage.engine.kill("postgres", 3)
    await expect(sight.row("postgres")).to_have_attribute("data-tone", "bad")
    assert time.monotonic() - began < 1.5
    await expect(sight.row("postgres").locator(".cell-why")).to_contain_text("exited with code 3")
    await served.act("rtdetr", "disable")
    await expect(row).to_have_attribute("data-status", "disabled")
    await expect(row.locator("[data-action]")).to_have_text("Enable")
    await expect(sight.page).to_have_title(re.compile(r"^\(1\) Services"))
    looks = {one.url.rpartition("/api/")[2] for one in sight.requests[asked:]}
    assert not any(url.startswith("system/services") for url in looks), looks


async def test_a_row_tells_why_how_often_and_when_next_and_the_workers_how_much(
    stage: Scene, browser: Sights
):
    stage.add("rtdetr", category="ai", display="RT-DETR", health=True)
    stage.add("broken", labels={"pointsman.backoff-base": "90"})
    stage.add("slow", stop_delay=5)
    stage.engine.container("rtdetr").started_ns -= round(26.5 * 3600 * 1e9)
    stage.engine.container("rtdetr").changed()
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, "rtdetr", "broken", "slow")
    stage.engine.kill("broken", 3)
    sight = await browser.open(served.url)
    well, broken = sight.row("rtdetr"), sight.row("broken")
    await expect(broken.locator(".cell-failures")).to_have_text("1")
    await expect(broken.locator(".cell-next")).to_have_text(re.compile(r"^in 1 min|^in \d\d s"))
    await expect(broken.locator(".cell-why")).to_contain_text("exited with code 3")
    await expect(broken.locator(".cell-up")).to_have_text("")
    await expect(well.locator(".cell-status")).to_have_text("Runninghealthy")
    await expect(well.locator(".cell-up")).to_have_text("1 d 2 h")
    for count in ("restarts", "failures"):
        await expect(well.locator(f".cell-{count}")).to_have_text("0")
    groups = sight.page.locator(".group-head:visible")
    await expect(groups).to_have_text(
        [re.compile("^infrastructure", re.IGNORECASE), re.compile("^ai", re.IGNORECASE)]
    )

    for _ in range(2):
        await served.act("slow", "restart", headers={"prefer": "wait=0"}, json={"timeout": 60})
    await sight.go("workers")
    card = sight.page.locator(".card")
    await expect(card).to_contain_text("w1")
    await expect(card).to_contain_text(re.compile(r"1 of \d+ at work"))
    await expect(sight.page.locator(".summary")).to_contain_text("2 commands")
    await expect(sight.page.locator(".engine")).to_contain_text("Available")


async def test_who_needs_attention_stands_beside_the_table(stage: Scene, browser: Sights):
    names = [f"svc-{number}" for number in range(8)]
    for name in names:
        stage.add(name, labels={"pointsman.self-heal": "false"})
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, *names)
    sight = await browser.open(served.url)
    troubles = sight.page.locator(".rail-troubles")
    await expect(sight.row("svc-0")).to_be_visible()
    await expect(troubles).to_be_hidden()
    for name in names:
        stage.engine.kill(name, 3)
    await expect(troubles.get_by_role("link")).to_have_text([*names[:6], "2 more"])
    await expect(troubles.get_by_role("listitem").first).to_contain_text("exited with code 3")
    await served.act("svc-0", "start")
    await expect(troubles.get_by_role("link")).to_have_text([*names[1:7], "1 more"])
    await troubles.get_by_role("link", name="1 more").click()
    await expect(sight.page.locator("tr.row[data-name]:visible")).to_have_count(7)
    assert sight.page.url.endswith("#/?status=bad")
    await troubles.get_by_role("link", name="svc-3").click()
    await expect(sight.page.locator("h1")).to_have_text("svc-3")


async def test_a_quiet_room_is_not_asked_anything(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway(heartbeat=0.1)
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url)
    await expect(sight.row("rtdetr")).to_be_visible()
    await sight.live()

    def asked() -> list[str]:
        return sorted(
            url.rpartition("/api/")[2] for url in (one.url for one in sight.requests) if "/api/" in url
        )

    wanted = {"rooms", "system/commands?limit=200", "system/room", "system/services/events?snapshots=true"}
    await eventually(lambda: set(asked()) == wanted, what="the room is read")
    # A room that has just begun may still have an event to tell, and an event is answered by a look. A page
    # that asked at every heartbeat, ten a second, would never be still for so long.
    last: list[object] = [asked(), time.monotonic()]

    def is_still() -> bool:
        if asked() != last[0]:
            last[:] = [asked(), time.monotonic()]
        return time.monotonic() - float(str(last[1])) > 1.5

    await eventually(is_still, within=10, what="nothing more is asked")
    assert set(asked()) == wanted
    await expect(sight.page.locator("#nav")).to_contain_text("Workers1 alive")


async def test_the_page_goes_on_where_it_was_when_the_gateway_was_killed(
    stage: Scene, browser: Sights, programs: Programs
):
    stage.add("rtdetr")
    await stage.worker()
    port = free_port()
    programs.environment = {
        "POINTSMAN_REDIS_URL": stage.redis.url,
        "POINTSMAN_ROOM": stage.room,
        "POINTSMAN_GATEWAY_PORT": str(port),
        "POINTSMAN_GATEWAY_HEARTBEAT": "0.5",
    }
    gateway = programs.start("gateway", "run")
    await gateway.says("Serving room", within=20)
    publisher = Publisher(stage.redis.url, room=stage.room)
    sight = await browser.open(f"http://{LOOPBACK}:{port}")
    await sight.live()
    await expect(sight.row("rtdetr")).to_be_visible()

    gateway.kill()
    await expect(sight.banner("cut")).to_contain_text("The stream of events is cut.")
    await expect(sight.banner("cut")).to_contain_text("The gateway does not answer")
    await expect(sight.page.locator("#alert")).to_contain_text("The stream of events is cut.")
    await sight.banner("cut").get_by_role("button", name="Try now").click()
    await expect(sight.page.locator("#link")).to_have_text("Cut")
    await expect(sight.row("rtdetr")).to_be_visible()
    done = await publisher.wait(await publisher.send("restart", "rtdetr"), 10)
    assert done.status == "succeeded"
    await expect(sight.row("rtdetr").locator(".cell-restarts")).to_have_text("0")

    again = programs.start("gateway", "run")
    await again.says("Serving room", within=20)
    await sight.page.evaluate(
        "dispatchEvent(new Event('online'))"
    )  # it tries anew at once, if it still waits
    await expect(sight.row("rtdetr").locator(".cell-restarts")).to_have_text("1")
    await sight.live()
    await expect(sight.banner("cut")).to_have_count(0)
    await expect(sight.banner("reset")).to_have_count(0)
    last = [await one.header_value("last-event-id") for one in sight.streams()]
    assert last[0] is None
    assert re.fullmatch(r"\d{13}-[0-9a-f]{8}/\d+", last[-1] or ""), last
    await publisher.aclose()


async def test_a_new_epoch_is_told_and_the_list_is_read_anew(
    private_redis: RedisServer, room: str, browser: Sights
):
    async with scene_in(private_redis, room) as stage:
        stage.add("rtdetr")
        await stage.worker()
        served = await stage.gateway(heartbeat=0.5)
        await stage.known(served, "rtdetr")
        sight = await browser.open(served.url)
        await sight.live()
        await expect(sight.banner("reset")).to_have_count(0)
        private_redis.admin.flushall()
        stage.add("whisper")
        await expect(sight.banner("reset")).to_contain_text("The room began a new epoch", timeout=20_000)
        await expect(sight.row("whisper")).to_be_visible()
        await expect(sight.row("rtdetr")).to_be_visible()
        await sight.banner("reset").locator("button").click()
        await expect(sight.banner("reset")).to_have_count(0)


async def test_a_browsers_own_event_source_reads_the_stream_and_comes_back(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url, "workers")
    await sight.page.evaluate(EVENT_SOURCE)

    async def ids(count: int) -> list[int]:
        async def come() -> list[str]:
            found: list[str] = await sight.page.evaluate("window.ids")
            return found if len(found) >= count else []

        return [int(one.rpartition("/")[2]) for one in await eventually(come, within=15)]

    await ids(1)
    await served.act("rtdetr", "restart")
    await ids(4)
    port = served.port
    await served.stop()
    again = await stage.gateway(port=port)
    await again.act("rtdetr", "restart")
    found = await ids(7)
    assert found == list(range(found[0], found[0] + len(found)))
    assert await sight.page.evaluate("window.resets") == 1


async def test_an_empty_room_fills_by_itself(stage: Scene, browser: Sights):
    served = await stage.gateway(heartbeat=0.3, pulse=0)
    sight = await browser.open(served.url)
    await expect(sight.page.locator(".empty")).to_contain_text("No services yet")
    await expect(sight.banner("workers")).to_contain_text("No worker is alive.")
    await sight.go("workers")
    await expect(sight.page.locator(".empty")).to_contain_text("pointsman worker run")
    stage.add("first")
    await stage.worker("w1")
    await expect(sight.page.locator(".card")).to_contain_text("w1")
    await expect(sight.banner("workers")).to_have_count(0)
    await sight.go("")
    await expect(sight.row("first")).to_be_visible()
    await expect(sight.banner("reset")).to_have_count(0)


async def test_lag_absent_workers_and_a_dead_engine_are_said(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    worker = await stage.worker(beat=0.2, alive=1, engine_silence=0.6, engine_ping=0.2)
    served = await stage.gateway(heartbeat=0.2, pulse=0, alive=1)
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url)
    await sight.live()
    hub = served.gateway.desks.open(stage.room).hub  # type: ignore[union-attr]
    taken, held = hub._take, []
    hub._take = held.append  # type: ignore[method-assign] -- what Redis tells does not get through
    await served.act("rtdetr", "restart")
    await expect(sight.banner("catching")).to_contain_text("Catching up.")
    await expect(sight.row("rtdetr").locator(".cell-restarts")).to_have_text("0")
    hub._take = taken  # type: ignore[method-assign]
    for event in held:
        taken(event)
    await expect(sight.banner("catching")).to_have_count(0)
    await expect(sight.row("rtdetr").locator(".cell-restarts")).to_have_text("1")

    stage.engine.outage()
    await expect(sight.banner("engine")).to_contain_text("The container engine does not answer.")
    stage.engine.recover()
    await expect(sight.banner("engine")).to_have_count(0, timeout=15_000)

    worker.stop()
    await expect(sight.banner("workers")).to_contain_text("No worker is alive.")
    await sight.ask("restart", "rtdetr")
    await expect(sight.page.locator(".toast")).to_contain_text("No worker serves room")


async def test_commands_under_way_are_seen_cancelled_and_their_outcomes_told(stage: Scene, browser: Sights):
    stage.add("slow", display="Slow one", stop_delay=3)
    stage.add("stubborn", start_error="no such device", running=False)
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, "slow", "stubborn")
    sight = await browser.open(served.url)
    await sight.live()
    await sight.ask("restart", "slow")
    await expect(sight.row("slow").locator(".status-sub")).to_have_text("restarting …")
    await expect(sight.page.locator(".rail section", has_text="Under way")).to_contain_text(
        "Restart Slow one"
    )
    await sight.ask("restart", "slow", "once more")

    await sight.page.get_by_role("link", name=re.compile("Commands")).click()
    waiting = sight.page.locator("tr.command", has_text="once more")
    await expect(waiting).to_contain_text("Queued")
    await waiting.get_by_role("button", name="Cancel").click()
    await expect(sight.dialog()).to_contain_text("Cancel the restart of Slow one?")
    await sight.dialog().get_by_role("button", name="Cancel the command").click()
    await expect(waiting).to_contain_text("Cancelled")
    await expect(sight.page.locator("tr.command", has_text="Done")).to_contain_text("Restart")

    await sight.page.get_by_role("link", name="Services", exact=True).click()
    await sight.ask("start", "stubborn")
    await expect(sight.page.locator(".toast", has_text="Start stubborn: failed")).to_contain_text(
        "no such device"
    )
    assert await sight.page.locator(".toast", has_text="no such device").count() == 1


async def test_a_command_that_failed_before_its_answer_is_told_as_failed_not_as_refused(
    stage: Scene, browser: Sights
):
    stage.add(
        "stubborn", start_error="no such device", running=False, labels={"pointsman.self-heal": "false"}
    )
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, "stubborn")
    sight = await browser.open(served.url)
    await sight.live()
    answers = []

    async def late(route):
        """Hand on what the gateway says of the same request once the command has settled."""

        async def settled():
            answers.append(await route.fetch())
            return answers[-1].status != 202

        await eventually(settled, what="the settled answer")
        await route.fulfill(response=answers[-1])

    await sight.page.route("**/services/stubborn/start", late)
    await sight.ask("start", "stubborn")
    await expect(sight.page.locator(".toast", has_text="Start stubborn: failed")).to_contain_text(
        "no such device"
    )
    assert answers[-1].status == 500
    assert await sight.page.locator(".toast", has_text="no such device").count() == 1
    assert len((await served.http.get("/api/system/commands")).json()["commands"]) == 1


@pytest.mark.parametrize("part", ["app.js", "toasts.js", "base.css"])
async def test_a_page_of_which_a_part_does_not_arrive_is_loaded_again(
    stage: Scene, browser: Sights, part: str
):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url)
    lost = []

    async def lose_twice(route):
        if len(lost) < 2:
            lost.append(route.request.url)
            await route.abort("connectionaborted")
        else:
            await route.continue_()

    await sight.page.route(f"**/page/{part}", lose_twice)
    await sight.page.reload()
    await eventually(lambda: len(lost) == 2)
    await expect(sight.row("rtdetr")).to_have_attribute("data-status", "running")

    async def forgotten() -> bool:
        try:
            return await sight.page.evaluate("sessionStorage.getItem('pointsman.tries')") is None
        except playwright.Error:  # it is being loaded again
            return False

    await eventually(forgotten)


async def test_a_service_has_a_page_with_its_story_and_its_commands(stage: Scene, browser: Sights):
    stage.add("rtdetr", category="ai", display="RT-DETR", port=8001, image="org/rtdetr:1")
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "rtdetr")
    for _ in range(3):
        await served.act("rtdetr", "restart", json={"reason": "again"})
    await served.act("rtdetr", "start")
    sight = await browser.open(served.url)
    await sight.row("rtdetr").get_by_role("link").click()
    await expect(sight.page.locator("h1")).to_have_text("RT-DETR")
    await expect(sight.page.locator("h1")).to_be_focused()
    restarted = sight.page.locator(".story-item", has_text="Restarted")
    await expect(restarted).to_contain_text("3 times")
    await expect(restarted).to_contain_text("By http: again")
    await expect(sight.page.locator(".story-item").first).to_contain_text("Start: rejected")
    await expect(sight.page.locator("tr.command")).to_have_count(4)
    await expect(sight.page.locator(".facts")).to_contain_text("org/rtdetr:1")

    stage.engine.kill("rtdetr", 9)
    await expect(sight.page.locator(".service-why")).to_contain_text("exited with code 9")
    await expect(sight.page.locator(".story-item", has_text="exited with code 9")).to_be_visible()
    await sight.page.locator('.service-buttons [data-action="start"]').click()
    await sight.dialog().locator('button[type="submit"]').click()
    await expect(sight.page.locator(".service-head")).to_have_attribute("data-tone", "good")
    await expect(sight.page.locator(".service-buttons [data-action]").first).to_have_text("Restart")
    await sight.page.go_back()
    await expect(sight.row("rtdetr")).to_be_visible()
    await sight.go("services/nobody")
    await expect(sight.page.locator(".empty")).to_contain_text("No service of this name")


async def test_dead_letters_are_mended_and_requeued_or_dropped(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url, "dead")
    await expect(sight.page.locator(".empty")).to_contain_text("No dead letters")
    commands = Keys(stage.room).commands
    stage.redis.admin.xadd(commands, {"action": "rstart", "service": "rtdetr", "issuer": "bot"})
    stage.redis.admin.xadd(commands, {"action": "restart", "service": "rtdetr", "timeout": "ten"})
    letters = sight.page.locator(".letter")
    await expect(letters).to_have_count(2)
    await expect(sight.page.locator("#nav")).to_contain_text("Dead letters2")

    await letters.filter(has_text="timeout").get_by_role("button", name="Requeue").click()
    await sight.dialog().get_by_label("timeout").fill("")
    await sight.dialog().get_by_role("button", name="Requeue").click()
    await expect(letters.filter(has_text="timeout")).to_contain_text("requeued 1 time")

    async def restarted() -> bool:
        return (await served.services())[0]["restart_count"] == 1

    await eventually(restarted, within=10)
    await letters.filter(has_text="rstart").get_by_role("button", name="Requeue").click()
    await sight.dialog().get_by_role("button", name="Requeue").click()
    await expect(sight.dialog()).to_contain_text("The action is one of restart")
    await sight.page.keyboard.press("Escape")
    await letters.filter(has_text="rstart").get_by_role("button", name="Drop").click()
    await sight.dialog().get_by_role("button", name="Drop it").click()
    await expect(letters).to_have_count(1)


async def test_a_thousand_services_stay_smooth(stage: Scene, browser: Sights):
    for number in range(1000):
        stage.add(f"svc-{number:04d}", category=("ai", "monitoring", "infrastructure", "batch")[number % 4])
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "svc-0000", "svc-0999", within=30)
    sight = await browser.open(served.url)
    rows = sight.page.locator("tr.row[data-name]")
    await expect(rows).to_have_count(1000)
    await sight.page.evaluate(WATCH_RESTARTS)
    seen: list[float] = []
    for number in range(0, 1000, 100):
        name = f"svc-{number:04d}"
        answer = await served.act(name, "restart")
        assert answer.status_code == 200
        seen.append(await sight.page.evaluate("name => window.restarted(name)", name))
    seen.sort()
    assert seen[len(seen) // 2] < 500, seen  # ms from the answer until it stands in the table

    await sight.page.locator("#search").fill("svc-09")
    await expect(sight.page.locator("tr.row[data-name]:visible")).to_have_count(100)
    await expect(sight.page.locator(".group-head:visible")).to_have_count(4)
    await sight.page.keyboard.press("Escape")
    await sight.page.get_by_role("button", name=re.compile("^batch")).click()
    await expect(sight.page.locator("tr.row[data-name]:visible")).to_have_count(250)
    assert sight.page.url.endswith("#/?category=batch")
    took = await sight.page.evaluate(SORT)
    assert took < 1500, took


#: Promise the ms from the call until a row shows a restart; rows that show one already are at once.
WATCH_RESTARTS = """() => {
  window.restarted = (name) => {
    const began = performance.now();
    const cell = document.querySelector(`tr.row[data-name="${name}"] .cell-restarts`);
    return new Promise((resolve, reject) => {
      const look = () => cell.textContent === "1" && resolve(performance.now() - began);
      new MutationObserver(look).observe(cell, { childList: true, characterData: true, subtree: true });
      setTimeout(() => reject(new Error(`${name} was not seen`)), 8000);
      look();
    });
  };
}"""
#: The ms that it takes to sort by another column and to have it painted.
SORT = """async () => {
  const began = performance.now();
  document.querySelector('th[data-column="up"] button').click();
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
#: Follow the stream as any page may, with nothing of ours.
EVENT_SOURCE = """() => {
  window.ids = [];
  window.resets = 0;
  const source = new EventSource("/api/system/services/events");
  const kinds = ["engine.available", "service.changed", "command.started", "command.settled"];
  const types = kinds.map((kind) => `pointsman.${kind}`);
  for (const type of ["reset", ...types]) source.addEventListener(type, (event) => window.ids.push(event.lastEventId));
  source.addEventListener("reset", () => (window.resets += 1));
}"""
