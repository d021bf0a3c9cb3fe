"""The page and what strangers write: labels, reasons and messages stay text, and no other code runs."""

import asyncio
import json
import logging
from urllib.parse import quote

import pytest

from contracts.keys import Keys
from publisher import Publisher
from tests.support.browser import REBOUND, Sights
from tests.support.gateway import Scene, Served
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")  # one browser for all

EVIL = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"


async def test_what_strangers_write_stays_text(stage: Scene, browser: Sights):
    playwright = pytest.importorskip("playwright.async_api", reason="left out: playwright")
    expect = playwright.expect
    stage.add("rtdetr", display=EVIL, image=f"evil/{EVIL}:1", health=True)
    stage.engine.set_health("rtdetr", health=False, output=f"sick {EVIL}")
    await stage.worker()
    served = await stage.gateway(heartbeat=0.3)
    await stage.known(served, "rtdetr")
    async with _publisher(stage) as publisher:
        sent = await publisher.send("stop", "rtdetr", issuer=f"me{EVIL}", reason=f"why{EVIL}", id="evil-1")
        await publisher.wait(sent, 10)
        await publisher.send("restart", f"{'n' * 100}", reason=EVIL)
    stage.redis.admin.xadd(
        Keys(stage.room).commands,
        {"action": EVIL, "service": EVIL, EVIL: EVIL, "reason": "\u202egpj.\u0000exe"},
    )
    sight = await browser.open(served.url)
    page = sight.page
    await page.evaluate(
        "document.addEventListener('securitypolicyviolation', (e) => (window.breach ??= []).push(e.violatedDirective))"
    )
    await expect(sight.row("rtdetr").locator(".row-name")).to_have_text(EVIL)
    await sight.row("rtdetr").locator("[data-action]").first.click()
    await expect(sight.dialog().locator("h2")).to_contain_text(EVIL)
    await expect(sight.dialog()).to_contain_text("rtdetr")
    await sight.dialog().locator("#reason").fill(EVIL)
    await sight.dialog().locator('button[type="submit"]').click()
    await expect(page.locator(".toast")).to_contain_text(EVIL)
    await expect(page.locator(".rail")).to_contain_text(f"why{EVIL}")
    await expect(sight.row("rtdetr")).to_have_attribute("data-status", "unhealthy")
    stage.engine.set_health("rtdetr", health=True)
    await expect(sight.row("rtdetr")).to_have_attribute("data-status", "running")
    stage.engine.set_health("rtdetr", health=False, output=f"sick {EVIL}")
    await sight.row("rtdetr").get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text(EVIL)
    await expect(page.locator(".service-why")).to_contain_text("sick <img src=x")
    await expect(page.locator(".story-item", has_text="Stopped").first).to_contain_text(
        f"By me{EVIL}: why{EVIL}"
    )
    await sight.go("commands")
    await expect(page.locator("tr.command", has_text=f"why{EVIL}")).to_contain_text(f"me{EVIL}")
    await sight.go("dead")
    await expect(page.locator(".letter")).to_contain_text(EVIL)
    await page.get_by_role("button", name="Requeue").click()
    await expect(sight.dialog().get_by_label("action")).to_have_value(EVIL)
    await sight.go(f"services/{quote(EVIL, safe='')}")
    await expect(page.locator(".empty")).to_contain_text(EVIL)
    await sight.go(f"services?q={quote(EVIL)}")
    await expect(page.locator("#search")).to_have_value(EVIL)
    assert await page.evaluate("window.owned") is None
    assert await page.evaluate("document.querySelectorAll('img, main script, iframe').length") == 0
    assert await page.evaluate("window.breach") is None


async def test_a_page_of_another_site_can_neither_change_nor_read_anything(
    stage: Scene, browser: Sights, caplog: pytest.LogCaptureFixture
):
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "rtdetr")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<title>evil</title>")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection that the browser opened to have one more
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as evil:
        port = evil.sockets[0].getsockname()[1]
        sight = await browser.open(f"http://localhost:{port}")  # another site: the gateway is at 127.0.0.1
        with caplog.at_level(logging.INFO, logger="pointsman.gateway"):
            told = await sight.page.evaluate(FOREIGN, served.url)
            async with sight.page.expect_navigation():
                await sight.page.evaluate(FOREIGN_FORM, served.url)
        assert told == dict.fromkeys(("post", "json", "delete", "read"), "TypeError")
        asked = [vars(record)["fields"] for record in caplog.records if vars(record)["action"] == "request"]
        posts = [one["status"] for one in asked if one["method"] == "POST"]
        assert posts == [403, 403], "the script's and the form's came, the others' preflights were refused"
        sight.complaints.clear()  # it was meant to complain
    assert await _restarts(served) == 0
    assert not (await served.http.get("/api/system/commands")).json()["commands"]


async def test_a_rebound_name_is_served_nothing(stage: Scene, browser: Sights):
    await stage.worker()
    served = await stage.gateway()
    sight = await browser.open(served.url)
    await sight.live()
    sight.url = (
        f"http://{REBOUND}:{served.port}"  # the same server, and for the browser one site with what asks
    )
    for path in ("/", "/page/app.js", "/api/system/services"):
        answer = await sight.page.goto(f"{sight.url}{path}")
        assert answer is not None
        assert answer.status == 421, path
    # The page that was open may have asked its own site once more while it was left.
    sight.complaints[:] = [one for one in sight.complaints if f"asks another site: {served.url}/" not in one]


async def test_the_policy_stops_what_the_page_would_never_do(stage: Scene, browser: Sights):
    pytest.importorskip("playwright.async_api", reason="left out: playwright")
    await stage.worker()
    served = await stage.gateway()
    sight = await browser.open(served.url)
    await sight.live()
    tried = await sight.page.evaluate(BREACHES)
    assert tried == {"markup": "TypeError", "inline": "kept out", "style": "kept out", "foreign": "TypeError"}
    assert await sight.page.evaluate("window.owned") is None
    sight.complaints.clear()  # it was meant to complain


async def test_the_events_are_read_as_the_standard_says(stage: Scene, browser: Sights):
    pytest.importorskip("playwright.async_api", reason="left out: playwright")
    await stage.worker()
    served = await stage.gateway()
    sight = await browser.open(served.url)
    text = (
        "retry: 70\n\n: a comment\nid: 1/1\nevent: a\ndata: x\ndata:y\n\r\n"
        'id\nevent: b\r\ndata: {"é": 1}\r\n\r\ndata: cut'
    )
    for step in (1, 3, 1000):
        heard = await sight.page.evaluate(PARSE, [text, step])
        assert heard == [
            70,
            [
                {"event": "a", "data": "x\ny", "id": "1/1"},
                {"event": "b", "data": '{"é": 1}', "id": ""},
            ],
        ], step


def _publisher(stage: Scene) -> Publisher:
    return Publisher(stage.redis.url, room=stage.room)


async def test_a_broken_story_is_said_and_not_silent(stage: Scene, browser: Sights):
    playwright = pytest.importorskip("playwright.async_api", reason="left out: playwright")
    expect = playwright.expect
    stage.add("rtdetr")
    await stage.worker()
    served = await stage.gateway()
    await stage.known(served, "rtdetr")
    sight = await browser.open(served.url)
    await sight.live()
    problem = json.dumps({"status": 503, "detail": "Redis is not available", "code": "redis_unavailable"})
    await sight.page.route("**/events?limit=*", lambda route: route.fulfill(status=503, body=problem))
    await sight.page.route("**/dlq?*", lambda route: route.abort())
    await sight.go("services/rtdetr")
    await expect(sight.page.locator(".story-panel")).to_contain_text("cannot be read: Redis is not available")
    await sight.go("dead")
    await expect(sight.page.locator(".empty")).to_contain_text("The dead letters cannot be read")
    await sight.page.unroute("**/dlq?*")
    await sight.page.get_by_role("button", name="Try again").click()
    await expect(sight.page.locator(".empty")).to_contain_text("No dead letters")
    assert await _restarts(served) == 0
    await eventually(lambda: len(sight.streams()) == 1)


async def _restarts(served: Served) -> int:
    return int((await served.services())[0]["restart_count"])


PARSE = """async ([text, step]) => {
  const { Parser } = await import("/page/sse.js");
  const heard = [];
  const parser = new Parser((message) => heard.push(message));
  for (let at = 0; at < text.length; at += step) parser.feed(text.slice(at, at + step));
  return [parser.retry, heard];
}"""
#: What another site's script would try: without a preflight, with one, and by reading.
FOREIGN = """async (gateway) => {
  const restart = `${gateway}/api/system/services/rtdetr/restart`;
  const attempt = (where, how) => fetch(where, how).then((answer) => answer.type, (error) => error.name);
  return {
    post: await attempt(restart, { method: "POST", mode: "no-cors", body: "a=b" }),
    json: await attempt(restart, { method: "POST", body: "{}", headers: { "content-type": "application/json" } }),
    delete: await attempt(`${gateway}/api/system/commands/x`, { method: "DELETE" }),
    read: await attempt(`${gateway}/api/system/services`, {}),
  };
}"""
FOREIGN_FORM = """(gateway) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = `${gateway}/api/system/services/rtdetr/restart`;
  document.body.append(form);
  form.submit();
}"""
#: What a hole in the page would do, and what came of it.
BREACHES = """async () => {
  const done = {};
  const attempt = async (name, act) => {
    try {
      done[name] = (await act()) ?? "kept out";
    } catch (error) {
      done[name] = error.name;
    }
  };
  await attempt("markup", () => {
    document.createElement("div").innerHTML = "<img src=x onerror='window.owned=1'>";
    return "taken";
  });
  await attempt("inline", () => {
    const button = document.createElement("button");
    const script = document.createElement("div");
    try { button.setAttribute("onclick", "window.owned=1"); } catch { return "kept out"; }
    document.body.append(button, script);
    button.click();
    return window.owned ? "ran" : "kept out";
  });
  await attempt("style", () => {
    const style = document.createElement("style");
    style.textContent = "body { --owned: 1 }";
    document.head.append(style);
    return getComputedStyle(document.body).getPropertyValue("--owned") ? "applied" : "kept out";
  });
  await attempt("foreign", async () => {
    await fetch("http://localhost:1/");
    return "asked";
  });
  return done;
}"""
