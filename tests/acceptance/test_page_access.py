"""The page for everybody: by keyboard, by screen reader, on a small screen, and no more than a token allows."""

from pathlib import Path
from typing import Any

import pytest

from contracts.keys import Keys
from gateway.tokens import LEEWAY, ServicesScope, mint
from tests.support.browser import Sight, Sights, scene_in
from tests.support.gateway import Scene

playwright = pytest.importorskip(
    "playwright.async_api", reason="left out: playwright (pip install pointsman[test])"
)
expect = playwright.expect
pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all

AXE = Path(__file__).parents[1] / "vendor" / "axe-core" / "axe.min.js"
KEY = "a key of the page's tests that is long enough"
VIEWS = ("", "services/loki", "commands", "dead", "workers")


async def _populate(stage: Scene) -> None:
    stage.add("rtdetr", category="ai", display="RT-DETR object detection")
    stage.add("loki", category="monitoring", display="Loki", health=False)
    stage.add("mailer", running=False)
    await stage.worker()


def _token(room: str, **scope: Any) -> str:
    allowed = ServicesScope.model_validate({"list": True} | scope)
    return mint(KEY.encode(), subject="alice", rooms=[room], scope=allowed, seconds=3600)


async def _sign_in(sight: Sight, token: str) -> None:
    await sight.page.get_by_label("Participant token").fill(token)
    await sight.page.get_by_role("button", name="Sign in").click()


async def test_axe_finds_no_serious_fault(stage: Scene, browser: Sights):
    await _populate(stage)
    served = await stage.gateway()
    await stage.known(served, "rtdetr", "loki", "mailer")
    await served.act("mailer", "stop")
    await served.act("rtdetr", "restart", json={"reason": "slow since noon"})
    stage.redis.admin.xadd(Keys(stage.room).commands, {"action": "rstart", "service": "rtdetr"})
    axe = AXE.read_text(encoding="utf-8")
    faults: list[str] = []
    sights: list[tuple[str, Sight]] = []

    async def judge(sight: Sight, where: str) -> None:
        found = await sight.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for fault in found["violations"]:
            nodes = [node["html"] for node in fault["nodes"]]
            if fault["impact"] in {"serious", "critical"}:
                faults.append(f"{where}: {fault['id']} {nodes}")

    for scheme, width in (("light", 1440), ("dark", 1440), ("dark", 390), ("light", 390)):
        sight = await browser.open(served.url, color_scheme=scheme, viewport={"width": width, "height": 900})
        await sight.live()
        await sight.page.evaluate(axe)
        for view in VIEWS:
            await sight.go(view)
            await sight.page.locator("main #title").wait_for()
            await judge(sight, f"{scheme} {width} {view}")
        await sight.go("")
        await sight.row("rtdetr").get_by_role("button", name="More actions").click()
        await judge(sight, f"{scheme} {width} menu")
        await sight.page.get_by_role("menuitem", name="Stop").click()
        await judge(sight, f"{scheme} {width} dialog")
        await sight.page.keyboard.press("Escape")
        sights.append((f"{scheme} {width}", sight))
    await served.stop()
    for where, sight in sights:
        await sight.banner("cut").wait_for()
        await judge(sight, f"{where} cut")
    assert not faults, "\n".join(faults)


async def test_everything_is_done_by_keyboard(stage: Scene, browser: Sights):
    await _populate(stage)
    served = await stage.gateway()
    await stage.known(served, "rtdetr", "loki", "mailer")
    sight = await browser.open(served.url)
    await sight.live()
    await expect(sight.row("rtdetr")).to_be_visible()
    keys = sight.page.keyboard

    await keys.press("Tab")
    skip = sight.page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await keys.press("Enter")
    await expect(sight.page.locator("#main")).to_be_focused()
    assert sight.page.url.endswith("/#/")
    await keys.press("/")
    await expect(sight.page.locator("#search")).to_be_focused()
    await keys.type("rtd")
    await expect(sight.page.locator("tr.row[data-name]:visible")).to_have_count(1)
    await keys.press("Escape")
    await expect(sight.page.locator("tr.row[data-name]:visible")).to_have_count(3)

    restart = sight.row("rtdetr").get_by_role("button", name="Restart RT-DETR object detection")
    await restart.focus()
    assert "2px" in await restart.evaluate("node => getComputedStyle(node).outlineWidth")
    await keys.press("Enter")
    dialog = sight.page.get_by_role("dialog", name="Restart RT-DETR object detection?")
    await expect(dialog).to_be_visible()
    no = dialog.get_by_role("button", name="Cancel")
    yes = dialog.get_by_role("button", name="Restart RT-DETR object detection")
    await expect(no).to_be_focused()  # so that Enter twice by mistake does nothing
    await keys.press("Tab")
    await expect(yes).to_be_focused()
    await keys.press("Shift+Tab")
    await keys.press("Shift+Tab")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    for _ in range(6):  # round and round, never out of the dialog
        await keys.press("Tab")
        assert await sight.page.evaluate("document.activeElement.closest('body > :not(dialog)') === null")
    await keys.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(restart).to_be_focused()
    assert (await served.services())[2]["restart_count"] == 0

    more = sight.row("rtdetr").get_by_role("button", name="More actions")
    await more.focus()
    await keys.press("Enter")
    items = sight.page.get_by_role("menuitem")
    await expect(items.first).to_be_focused()
    await keys.press("ArrowDown")
    await expect(items.nth(1)).to_be_focused()
    await keys.press("ArrowDown")
    await expect(items.first).to_be_focused()
    await keys.press("Escape")
    await expect(more).to_be_focused()
    await expect(items).to_have_count(0)
    await keys.press("Enter")
    await keys.press("End")
    await keys.press("Enter")
    await expect(sight.page.get_by_role("dialog", name="Disable RT-DETR object detection?")).to_be_visible()
    await keys.press("Shift+Tab")
    await keys.type("model is broken")
    await keys.press("Enter")
    await expect(sight.row("rtdetr")).to_have_attribute("data-status", "disabled")
    await expect(sight.page.locator("#say")).to_contain_text("Disable RT-DETR object detection: done")
    assert await sight.page.evaluate("document.activeElement.closest('tr')?.dataset.name") == "rtdetr"


async def test_nothing_sticks_out_of_a_narrow_screen(stage: Scene, browser: Sights):
    await _populate(stage)
    long = "an-endless-name-" + "x" * 112
    stage.add(long, display="W" * 120)
    served = await stage.gateway()
    await stage.known(served, long)
    await served.act(long, "start", json={"reason": "x" * 200})
    stage.redis.admin.xadd(Keys(stage.room).commands, {"action": "x" * 300, "service": long})
    sight = await browser.open(served.url, viewport={"width": 320, "height": 640})
    await sight.live()
    for width in (320, 768, 1280):
        await sight.page.set_viewport_size({"width": width, "height": 640})
        for view in (*VIEWS, f"services/{long}"):
            await sight.go(view)
            await sight.page.locator("main #title").wait_for()
            wide = await sight.page.evaluate("document.scrollingElement.scrollWidth")
            assert wide <= width, (view, width, wide)


async def test_buttons_are_there_only_where_the_token_allows(stage: Scene, browser: Sights):
    stage.add("ai-one", category="ai")
    stage.add("postgres")
    await stage.worker()
    served = await stage.gateway(hs256_key=KEY, heartbeat=0.3)
    sight = await browser.open(served.url)
    await expect(sight.page.locator("h1")).to_have_text("Sign in")
    await expect(sight.page.get_by_label("Participant token")).to_be_focused()
    await _sign_in(sight, "nonsense")
    await expect(sight.page.get_by_role("alert").filter(has_text="not a token")).to_be_visible()
    await _sign_in(sight, "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl")
    await expect(sight.page.locator("#token-fault")).to_contain_text("The token is not valid")

    await _sign_in(sight, _token(stage.room, restart=["ai-*"], stop=["ai-one"]))
    await expect(sight.page.locator("#who")).to_contain_text("alice")
    await expect(sight.row("ai-one").get_by_role("button")).to_have_count(2)
    await expect(sight.row("postgres")).to_be_visible()
    await expect(sight.row("postgres").get_by_role("button")).to_have_count(0)
    await sight.row("ai-one").get_by_role("button", name="More actions").click()
    await expect(sight.page.get_by_role("menuitem")).to_have_text(["Stop …"])
    await sight.page.keyboard.press("Escape")
    await sight.ask("restart", "ai-one")
    await expect(sight.row("ai-one").locator(".cell-restarts")).to_have_text("1")
    assert not any("eyJ" in one.url for one in sight.requests)  # a token is in no address
    assert await sight.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    stage.redis.admin.xadd(Keys(stage.room).commands, {"action": "rstart", "service": "ai-one"})
    await sight.go("dead")
    await expect(sight.page.locator(".letter")).to_have_count(1)
    await expect(sight.page.locator(".letter").get_by_role("button")).to_have_count(0)

    await sight.page.reload()  # the tab keeps it
    await expect(sight.page.locator(".letter")).to_have_count(1)
    await sight.page.get_by_role("button", name="Sign out").click()
    await expect(sight.page.locator("h1")).to_have_text("Sign in")
    assert await sight.page.evaluate("sessionStorage.length") == 0


async def test_a_token_that_ends_and_a_room_that_is_closed_are_told(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway(hs256_key=KEY, heartbeat=0.3)
    scope = ServicesScope.model_validate({"list": True})
    sight = await browser.open(served.url)
    away = mint(KEY.encode(), subject="bob", rooms=["elsewhere"], scope=scope, seconds=3600)
    await _sign_in(sight, away)
    await expect(sight.page.locator("h1")).to_have_text("This room is not open to you")
    await expect(sight.page.locator("main")).to_contain_text(f"no grant for room '{stage.room}'")
    await sight.page.get_by_role("button", name="Use another token").click()

    # It has ended, but clocks may differ by so many seconds: it is let in for two more.
    late = mint(KEY.encode(), subject="bob", rooms=[stage.room], scope=scope, seconds=2 - LEEWAY)
    await _sign_in(sight, late)
    await expect(sight.row("rtdetr")).to_be_visible()
    await expect(sight.page.locator("h1")).to_have_text("Sign in")
    await expect(sight.page.locator("#token-fault")).to_contain_text("expired")


async def test_rooms_are_chosen_among(stage: Scene, browser: Sights):
    stage.add("rtdetr")
    await stage.worker()
    async with scene_in(stage.redis, f"{stage.room}-b") as other:
        other.add("whisper")
        await other.worker("w2")
        served = await stage.gateway()
        await stage.known(served, "rtdetr")
        sight = await browser.open(served.url)
        await expect(sight.row("rtdetr")).to_be_visible()
        await sight.page.get_by_label("Room").select_option(other.room)
        await expect(sight.row("whisper")).to_be_visible()
        await expect(sight.row("rtdetr")).to_have_count(0)
        assert f"/#/room/{other.room}" in sight.page.url
        await sight.ask("restart", "whisper")
        await expect(sight.row("whisper").locator(".cell-restarts")).to_have_text("1")
        await sight.row("whisper").get_by_role("link").click()
        await expect(sight.page.locator(".story-item", has_text="Restarted")).to_be_visible()
        await sight.page.go_back()
        await sight.page.go_back()
        await expect(sight.row("rtdetr")).to_be_visible()
