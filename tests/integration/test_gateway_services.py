"""The Services API on a room that is served: every field, message and status."""

import asyncio
import hashlib
import socket
from typing import Any

import pytest

from gateway.clock import now_ms
from publisher import Publisher
from subscriber import Subscriber
from tests.support.gateway import Scene, stream, take
from tests.support.roombook import RoomBook
from tests.support.waiting import eventually

BASE = "/api/system/services"
FIELDS = {
    "name",
    "display_name",
    "category",
    "status",
    "enabled",
    "container_id",
    "image",
    "port",
    "failure_count",
    "restart_count",
    "last_restart_at",
    "uptime_seconds",
}
PROBLEM = "application/problem+json"


async def test_the_list_has_the_fields_of_the_document_and_nothing_else(scene: Scene):
    container = scene.add(
        "rtdetr", category="ai", display="RT-DETR Object Detection", port=8001, image="org/rtdetr:1"
    )
    scene.add("stopped", category="ai", running=False)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr", "stopped")
    body = (await served.http.get(BASE)).json()
    assert set(body) == {"services", "by_category", "timestamp"}
    first, second = body["services"]
    assert set(first) == set(second) == FIELDS
    assert first | {"uptime_seconds": 0} == {
        "name": "rtdetr",
        "display_name": "RT-DETR Object Detection",
        "category": "ai",
        "status": "running",
        "enabled": True,
        "container_id": container[:12],
        "image": "org/rtdetr:1",
        "port": 8001,
        "failure_count": 0,
        "restart_count": 0,
        "last_restart_at": None,
        "uptime_seconds": 0,
    }
    assert 0 <= first["uptime_seconds"] < 60
    assert (second["status"], second["uptime_seconds"], second["port"]) == ("stopped", None, None)
    assert second["display_name"] == "stopped"
    assert body["timestamp"].endswith("Z")


async def test_summaries_are_of_all_services_and_every_known_category_is_there(scene: Scene):
    scene.add("rtdetr", category="ai")
    scene.add("nemotron", category="ai", running=False)
    scene.add("printer", category="office")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr", "nemotron", "printer")
    body = (await served.http.get(BASE, params={"category": "office"})).json()
    assert [service["name"] for service in body["services"]] == ["printer"]
    assert body["by_category"] == {
        "infrastructure": {"total": 0, "healthy": 0, "unhealthy": 0},
        "ai": {"total": 2, "healthy": 1, "unhealthy": 1},
        "monitoring": {"total": 0, "healthy": 0, "unhealthy": 0},
        "office": {"total": 1, "healthy": 1, "unhealthy": 0},
    }
    unknown = await served.http.get(BASE, params={"category": "nobody"})
    assert (unknown.status_code, unknown.json()["services"]) == (200, [])
    for wrong in ("", "AI", "a b", "x" * 33, "é"):
        response = await served.http.get(BASE, params={"category": wrong})
        assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
        assert response.json()["detail"]


async def test_a_room_without_a_worker_is_503_and_never_an_empty_list(scene: Scene):
    served = await scene.gateway()
    for method, path in (("GET", BASE), ("GET", f"{BASE}/rtdetr"), ("POST", f"{BASE}/rtdetr/restart")):
        response = await served.http.request(method, path)
        assert (response.status_code, response.headers["content-type"]) == (503, PROBLEM)
        assert "No worker" in response.json()["detail"]
    async with Subscriber(scene.redis.url, room=scene.room) as reader:
        assert (await reader.backlog()).commands == 0


async def test_a_room_whose_engine_nobody_has_looked_at_is_503_and_an_empty_one_is_empty(scene: Scene):
    book = RoomBook(scene.redis, scene.room)
    book.open()
    scene.redis.admin.hdel(book.keys.meta, "engine_status")
    served = await scene.gateway(pulse=0)
    async with book.served():
        early = await served.http.get(BASE)
        assert (early.status_code, early.json()["code"]) == (503, "engine_unavailable")
        scene.redis.admin.hset(book.keys.meta, "engine_status", "available")
        assert (await served.services()) == []


async def test_what_is_not_there_is_null(scene: Scene):
    scene.add("gone", image="org/gone:1")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "gone")
    assert (await served.act("gone", "disable")).status_code == 200
    await served.act("gone", "enable")
    scene.engine.remove("gone")

    async def vanished() -> dict[str, Any]:
        (found,) = await served.services()
        return found if found["status"] == "not_found" else {}

    found = await eventually(vanished, within=10)
    nulls = {name for name, value in found.items() if value is None}
    assert nulls == {"container_id", "port", "last_restart_at", "uptime_seconds"}


async def test_an_engine_out_of_reach_is_503_but_for_what_needs_no_engine(scene: Scene):
    scene.add("rtdetr")
    await scene.worker(engine_silence=0.4, engine_ping=0.1)
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    scene.engine.faults.outage()

    async def refused() -> bool:
        return (await served.http.get(BASE)).status_code == 503

    await eventually(refused, within=10, what="the list is refused")
    assert "engine" in (await served.http.get(BASE)).json()["detail"]
    assert (await served.act("rtdetr", "restart")).json()["code"] == "engine_unavailable"
    disabled = await served.act("rtdetr", "disable")
    assert (disabled.status_code, disabled.json()["message"]) == (200, "Service 'rtdetr' disabled")


@pytest.mark.parametrize("kill", [True, False], ids=["gone", "frozen"])
async def test_redis_out_of_reach_is_503(scene: Scene, make_redis, kill: bool):
    scene.redis = make_redis()
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway(redis_timeout=0.5)
    await scene.known(served, "rtdetr")
    if kill:
        scene.redis.kill()
    else:
        scene.redis.freeze()

    async def refused() -> bool:
        response = await served.http.get(BASE)
        return response.status_code == 503 and response.json()["detail"] == "Redis is not available"

    await eventually(refused, within=10, what="the list is refused")
    assert (await served.http.get("/readyz")).status_code == 503
    assert (await served.http.get("/healthz")).status_code == 200
    assert (await served.act("rtdetr", "restart")).status_code == 503
    if kill:
        scene.redis.start()
    else:
        scene.redis.thaw()
    await scene.known(served, "rtdetr", within=20)


async def test_every_action_answers_with_its_message_and_the_service_as_it_stands(scene: Scene):
    scene.add("rtdetr", category="ai")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")

    async def done(action: str, message: str, **fields: object) -> None:
        response = await served.act("rtdetr", action)
        body = response.json()
        assert (response.status_code, body["success"], body["message"]) == (200, True, message), body
        assert set(body) == {"success", "message", "service"}
        assert set(body["service"]) == FIELDS
        assert {name: body["service"][name] for name in fields} == fields
        # Who asks after the answer sees its effect.
        listed = (await served.services())[0]
        assert {name: listed[name] for name in fields} == fields

    async def refused(action: str, status: int, detail: str) -> None:
        response = await served.act("rtdetr", action)
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
        assert response.json()["detail"] == detail

    await refused("start", 400, "Service 'rtdetr' is already running")
    await done("restart", "Service 'rtdetr' restart initiated", status="running", restart_count=1)
    await done("stop", "Service 'rtdetr' stop initiated", status="stopped", uptime_seconds=None)
    await refused("stop", 400, "Service 'rtdetr' is already stopped")
    await done("start", "Service 'rtdetr' start initiated", status="running")
    await done("disable", "Service 'rtdetr' disabled", status="disabled", enabled=False)
    await refused("restart", 400, "Service 'rtdetr' is disabled. Enable it first.")
    await done("stop", "Service 'rtdetr' stop initiated", status="disabled")
    await refused("start", 400, "Service 'rtdetr' is disabled. Enable it first.")
    await done("enable", "Service 'rtdetr' enabled", enabled=True, failure_count=0)
    service = (await served.services())[0]
    assert service["last_restart_at"] is not None
    for action in ("restart", "start", "stop", "enable", "disable"):
        response = await served.act("nobody", action)
        assert (response.status_code, response.json()["detail"]) == (404, "Service 'nobody' not found")


async def test_engine_errors_are_500_with_the_engines_words(scene: Scene):
    scene.add("broken", running=False, start_error="no such device: /dev/coffee")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "broken")
    response = await served.act("broken", "start")
    assert (response.status_code, response.json()["code"]) == (500, "engine_error")
    assert "/dev/coffee" in response.json()["detail"]


async def test_protected_ambiguous_and_forbidden_actions(scene: Scene):
    scene.add("redis", labels={"pointsman.protected": "true"})
    scene.add("picky", labels={"pointsman.actions": "start,stop"})
    scene.add("one", labels={"pointsman.service": "twin"})
    scene.add("two", labels={"pointsman.service": "twin"})
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "redis", "picky", "twin")
    for name, status, code in (
        ("redis", 403, "protected_service"),
        ("picky", 403, "action_not_allowed"),
        ("twin", 409, "ambiguous_service"),
    ):
        response = await served.act(name, "restart")
        assert (response.status_code, response.json()["code"]) == (status, code)
    wrong = await served.act("picky", "stop", json={"expect_container_id": "0" * 12})
    assert (wrong.status_code, wrong.json()["code"]) == (412, "precondition_failed")


async def test_what_takes_longer_is_202_with_the_receipts_address(scene: Scene):
    scene.add("slow", stop_delay=1.0)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "slow")
    response = await served.act("slow", "restart", headers={"prefer": "wait=0"})
    body = response.json()
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0"
    assert (body["success"], body["message"]) == (True, "Service 'slow' restart initiated")
    assert body["service"]["name"] == "slow"
    assert body["command"] == response.headers["location"]

    async def settled() -> str:
        receipt = (await served.http.get(response.headers["location"])).json()
        return receipt["status"] if receipt["finished_at"] else ""

    assert await eventually(settled, within=10) == "succeeded"
    listed = (await served.http.get("/api/system/commands")).json()["commands"]
    assert [(c["service"], c["action"], c["status"]) for c in listed] == [("slow", "restart", "succeeded")]


async def test_the_setting_says_how_long_a_request_waits(scene: Scene):
    scene.add("slow", stop_delay=1.5)
    await scene.worker()
    served = await scene.gateway(wait=0.1, max_wait=20)
    await scene.known(served, "slow")
    assert (await served.act("slow", "restart")).status_code == 202
    waited = await served.act("slow", "restart", headers={"prefer": "respond-async, wait=900"})
    assert waited.status_code == 202
    waited = await served.act("slow", "restart", headers={"prefer": "wait=900"})
    assert (waited.status_code, waited.headers["preference-applied"]) == (200, "wait=20")
    for odd in ("wait=soon", "wait=-1", "wait", "return=minimal"):
        assert (await served.act("nobody", "start", headers={"prefer": odd})).status_code in {202, 404}


async def test_a_repeat_is_answered_from_the_receipt(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    key = {"idempotency-key": "deploy/42"}
    first = await served.act("rtdetr", "restart", headers=key)
    assert "idempotency-replayed" not in first.headers
    assert (await served.act("rtdetr", "disable")).status_code == 200
    again = await served.act("rtdetr", "restart", headers=key)
    assert (again.status_code, again.json()["message"]) == (200, first.json()["message"])
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["service"]["status"] == "disabled", "the service as it stands now"
    assert again.json()["service"]["restart_count"] == 1
    caller = hashlib.sha256(b"local").hexdigest()[:12]
    assert first.headers["pointsman-command"] == f"http/{caller}/deploy/42"
    receipt = (await served.http.get(f"/api/system/commands/http/{caller}/deploy/42")).json()
    assert (receipt["duplicates"], receipt["issuer"]) == (1, "http")
    other = await served.act("rtdetr", "stop", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    other = await served.act("rtdetr", "restart", headers=key, json={"timeout": 3})
    assert other.status_code == 422
    await served.act("rtdetr", "enable")
    whole = [
        await served.act("rtdetr", "restart", headers={"idempotency-key": "n"}, json={"timeout": number})
        for number in (3, 3.0)
    ]
    assert [one.status_code for one in whole] == [200, 200], "JSON has one kind of number"
    assert whole[1].headers["idempotency-replayed"] == "true"
    assert (await served.act("rtdetr", "restart", json={"timeout": 3.5})).status_code == 400


async def test_a_repeat_of_an_error_is_the_same_error_and_needs_no_worker(scene: Scene):
    worker = await scene.worker(alive=1, beat=0.2)
    served = await scene.gateway(alive=1, pulse=0)
    key = {"idempotency-key": "k"}

    async def refused() -> bool:
        return (await served.act("nobody", "start", headers=key)).status_code == 404

    await eventually(refused, within=10)
    worker.stop()

    async def nobody_serves() -> bool:
        return (await served.http.get(BASE)).status_code == 503

    await eventually(nobody_serves, within=10)
    again = await served.act("nobody", "start", headers=key)
    assert (again.status_code, again.json()["detail"]) == (404, "Service 'nobody' not found")
    assert again.headers["idempotency-replayed"] == "true"
    assert (await served.act("nobody", "stop", headers=key)).status_code == 422


async def test_twenty_at_once_with_one_key_restart_once(scene: Scene):
    scene.add("rtdetr", stop_delay=0.2)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    key = {"idempotency-key": "once"}
    answers = await asyncio.gather(*(served.act("rtdetr", "restart", headers=key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    replayed = [answer for answer in answers if answer.headers.get("idempotency-replayed") == "true"]
    assert len(replayed) == 19
    assert (await served.services())[0]["restart_count"] == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 101, "é", '"quoted"'])
async def test_a_key_that_cannot_be_one_is_400(scene: Scene, key: str):
    await scene.worker()
    served = await scene.gateway()
    response = await served.act("rtdetr", "restart", headers=[(b"idempotency-key", key.encode())])
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["detail"]
    longest = await served.act("nobody", "restart", headers={"idempotency-key": "x" * 100})
    assert (longest.status_code, longest.json()["code"]) == (404, "service_not_found")


async def test_a_client_that_goes_away_loses_nothing(scene: Scene):
    scene.add("slow", stop_delay=0.5)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "slow")
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"POST /api/system/services/slow/restart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    )
    await writer.drain()

    async def asked() -> bool:
        return bool((await served.http.get("/api/system/commands")).json()["commands"])

    await eventually(asked)
    writer.transport.abort()
    del reader

    async def restarted() -> bool:
        return (await served.services())[0]["restart_count"] == 1

    await eventually(restarted, within=10)


async def test_a_command_that_has_not_begun_can_be_cancelled(scene: Scene):
    scene.add("slow", stop_delay=1.0)
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "slow")
    first = await served.act("slow", "restart", headers={"prefer": "wait=0"})
    second = await served.act("slow", "restart", headers={"prefer": "wait=0"})
    gone = await served.http.delete(second.headers["location"])
    assert (gone.status_code, gone.json()["status"]) == (200, "canceled")

    async def begun() -> bool:
        return (await served.http.get(first.headers["location"])).json()["status"] == "running"

    await eventually(begun)
    refused = await served.http.delete(first.headers["location"])
    assert (refused.status_code, refused.json()["code"]) == (409, "cancel_refused")
    waiting = await served.http.post(
        f"{BASE}/slow/restart", headers={"idempotency-key": "later", "prefer": "wait=0"}
    )
    await served.http.delete(waiting.headers["location"])
    repeat = await served.act("slow", "restart", headers={"idempotency-key": "later"})
    assert (repeat.status_code, repeat.json()["code"]) == (410, "canceled")
    assert (await served.http.get("/api/system/commands/nobody/knows")).json()["code"] == "unknown_command"
    assert (await served.http.delete("/api/system/commands/1-1")).status_code == 404


async def test_dead_letters_are_listed_mended_requeued_and_dropped(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    keys = Publisher(scene.redis.url, room=scene.room).keys
    for name in ("rtdetr", "rtdetr"):
        scene.redis.admin.xadd(keys.commands, {"action": "rstart", "service": name})

    async def buried() -> list[dict[str, object]]:
        found: list[dict[str, object]] = (await served.http.get("/api/system/dlq")).json()["dead"]
        return found if len(found) == 2 else []

    newest, oldest = await eventually(buried, within=10)
    assert (newest["kind"], newest["error"], newest["requeues"]) == ("malformed", "invalid_command", 0)
    address = f"/api/system/dlq/{oldest['dead_id']}"
    assert (await served.http.get(address)).json() == oldest
    still = await served.http.post(f"{address}/requeue")
    assert (still.status_code, still.json()["code"]) == (400, "invalid_command")
    mended = await served.http.post(f"{address}/requeue", json={"set": {"action": "restart"}})
    assert (mended.status_code, mended.json()["requeued_from"]) == (202, oldest["dead_id"])
    assert mended.json()["issuer"] == "http"

    async def done() -> bool:
        return (await served.http.get(mended.headers["location"])).json()["status"] == "succeeded"

    await eventually(done, within=10)
    assert (await served.http.get(address)).json()["requeues"] == 1
    assert (await served.http.delete(address)).status_code == 204
    assert (await served.http.delete(address)).status_code == 404
    assert (await served.http.get(address)).status_code == 404
    issuer = await served.http.post(
        f"/api/system/dlq/{newest['dead_id']}/requeue", json={"set": {"issuer": "self-heal"}}
    )
    assert issuer.status_code == 400


async def test_rooms_have_the_same_addresses(scene: Scene):
    scene.add("rtdetr", stop_delay=0.2)  # so that who does not wait is answered before it has settled
    await scene.worker()
    served = await scene.gateway(room="another")
    base = f"/api/rooms/{scene.room}"

    async def listed() -> bool:
        return (await served.http.get(f"{base}/services")).status_code == 200

    await eventually(listed, within=10)
    response = await served.http.post(f"{base}/services/rtdetr/restart")
    assert response.status_code == 200
    location = (
        await served.http.post(f"{base}/services/rtdetr/restart", headers={"prefer": "wait=0"})
    ).headers["location"]
    assert location.startswith(f"{base}/commands/")
    assert (await served.http.get(location)).status_code == 200
    assert (await served.http.get("/api/rooms")).json() == {"rooms": [scene.room]}
    for nowhere in ("never-served", "NOT_A_ROOM"):
        response = await served.http.get(f"/api/rooms/{nowhere}/services")
        assert (response.status_code, response.json()["code"]) == (404, "room_not_found")
    assert (await served.http.get("/api/system/services")).status_code == 503, (
        "its own room is one all the same"
    )

    async def told() -> dict[str, Any]:
        state: dict[str, Any] = (await served.http.get(f"{base}/room")).json()
        return state if state["engine"]["status"] else {}

    state = await eventually(told, within=10)
    assert [worker["name"] for worker in state["workers"]] == ["w1"]
    assert (state["engine"]["status"], state["backlog"]) == ("available", 0)
    assert state["may"]["restart"] == ["*"]


async def test_one_service_with_all_that_is_known_and_its_story(scene: Scene):
    scene.add("rtdetr", category="ai")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    await served.act("rtdetr", "restart", json={"reason": "slow since noon"})
    detail = (await served.http.get(f"{BASE}/rtdetr")).json()
    full = (await served.services(view="full"))[0]
    assert set(detail) == set(full) > FIELDS
    assert (detail["desired"], detail["health"], detail["enabled"]) == ("running", "none", True)
    events = (await served.http.get(f"{BASE}/rtdetr/events")).json()["events"]
    types = [event["type"].removeprefix("pointsman.") for event in events]
    assert types[:4] == ["service.discovered", "command.started", "service.changed", "command.settled"]
    assert events[3]["data"]["command"]["reason"] == "slow since noon"
    assert len((await served.http.get(f"{BASE}/rtdetr/events?limit=2")).json()["events"]) == 2
    for path in ("nobody", "nobody/events", "-bad-", "x" * 200):
        assert (await served.http.get(f"{BASE}/{path}")).status_code == 404
    for query in ("limit=0", "limit=x", "limit=1&limit=2", "limit=99999999999"):
        assert (await served.http.get(f"{BASE}/rtdetr/events?{query}")).status_code == 400


async def test_a_backlog_has_an_end(scene: Scene):
    scene.add("slow", stop_delay=1.0)
    await scene.worker()
    served = await scene.gateway(max_backlog=2)
    await scene.known(served, "slow")
    answers = [await served.act("slow", "restart", headers={"prefer": "wait=0"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "stream_full"
    scene.engine.container("slow").behaviour.stop_delay = 0.0


async def test_a_trace_is_carried_into_the_receipt(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    response = await served.act("rtdetr", "restart", headers={"traceparent": parent, "tracestate": "v=1"})
    receipt = (await served.http.get(f"/api/system/commands/{response.headers['pointsman-command']}")).json()
    assert (receipt["traceparent"], receipt["tracestate"]) == (parent, "v=1")
    response = await served.act("rtdetr", "restart", headers={"traceparent": "nonsense"})
    assert response.status_code == 200


async def test_the_list_says_of_which_revision_it_is_and_when_it_is_stale(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway(catch_up=0.05, pulse=0)
    await scene.known(served, "rtdetr")
    response = await served.http.get(BASE)
    meta = scene.redis.admin.hgetall(Publisher(scene.redis.url, room=scene.room).keys.meta)
    assert response.headers["pointsman-revision"].split("/")[0] == meta["epoch"]
    assert "pointsman-stale" not in response.headers
    hub = served.gateway.desks.open(scene.room).hub  # type: ignore[union-attr]
    hub.revision -= 1
    assert (await served.http.get(BASE)).headers["pointsman-stale"] == "?1"
    hub.revision += 1
    assert "pointsman-stale" not in (await served.http.get(BASE)).headers
    assert now_ms() > 0


async def test_a_defect_is_500_with_a_sentence_and_the_log_has_the_rest(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway()
    await scene.known(served, "rtdetr")

    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("gateway.desk.Desk.serving", broken)
    for response in (await served.http.get(BASE), await served.act("rtdetr", "restart")):
        assert (response.status_code, response.headers["content-type"]) == (500, PROBLEM)
        assert response.json()["detail"] == "Internal server error"
        assert "secret" not in response.text
    assert "ZeroDivisionError: a secret of the inside" in caplog.text


async def test_rooms_that_are_followed_are_bounded(scene: Scene):
    scene.add("rtdetr")
    await scene.worker()
    served = await scene.gateway(max_rooms=1)
    await scene.known(served, "rtdetr")
    async with stream(served) as events:
        await take(events, 1)
        refused = await served.http.get("/api/rooms/another/services")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_rooms")
        assert "retry-after" in refused.headers

    async def let_in() -> bool:
        return (await served.http.get("/api/rooms/another/services")).status_code == 404

    await eventually(let_in, what="a room that nobody looks at any more makes way")
    await scene.known(served, "rtdetr")


async def test_a_client_that_takes_no_answer_is_cut(scene: Scene, caplog: pytest.LogCaptureFixture):
    book = RoomBook(scene.redis, scene.room)
    book.open()
    book.fill(20_000)
    served = await scene.gateway(send_timeout=0.3)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with book.served():
            assert len(await served.services()) == 20_000
            lazy.connect(("127.0.0.1", served.port))
            lazy.sendall(f"GET {BASE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

            def is_cut() -> bool:
                return any(getattr(record, "action", "") == "reader_cut" for record in caplog.records)

            await eventually(is_cut, within=10)
            assert len(await served.services()) == 20_000, "the others are served"
