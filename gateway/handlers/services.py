"""The Services API: list, look, ask."""

import re
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from contracts.commands import Action, is_service_name
from contracts.errors import (
    EngineUnavailable,
    PointsmanError,
    ServiceNotFound,
    UnknownCommand,
    WaitTimeout,
    error_for,
)
from contracts.events import CommandData, Event, ServiceData
from contracts.receipts import Receipt
from contracts.services import CATEGORY_PATTERN
from gateway.bodies import ActionAccepted, ActionRequest, ActionResult, EventList, Service
from gateway.calls import Call
from gateway.clock import now_ms
from gateway.model import detail_of, service_of
from gateway.problems import Problem, problem_of
from publisher import Options

_CATEGORY = re.compile(CATEGORY_PATTERN)
#: Actions that are done without the engine.
_WITHOUT_ENGINE = frozenset({Action.ENABLE, Action.DISABLE})
#: Events looked through for the story of one service, and read at a time.
STORY_DEPTH = 20_000


async def list_services(call: Call) -> Response:
    """Answer with the services as they are now."""
    call.caller.need_list(call.room)
    category = call.query("category")
    if category is not None and not _CATEGORY.fullmatch(category):
        raise Problem(
            400,
            "bad_request",
            "The category is 1 to 32 of a-z, 0-9 and '-': infrastructure, ai, monitoring, …",
        )
    match call.query("view"):
        case None | "brief":
            full = False
        case "full":
            full = True
        case _:
            raise Problem(400, "bad_request", "The view is brief or full")
    pulse = await call.desk.serving()
    fresh = await call.desk.fresh(pulse)
    hub = call.desk.hub
    if not len(hub.model) and pulse.meta.engine_status is None:  # nobody has looked yet: not the same as none
        raise EngineUnavailable(f"The engine of room '{call.room}' has not been seen yet")
    body = hub.model.list_json(now_ms(), category=category, full=full)
    headers = {"pointsman-revision": hub.position}
    if not fresh:
        headers["pointsman-stale"] = "?1"
    return Response(body, 200, headers, "application/json")


async def get_service(call: Call) -> Response:
    """Answer with one service and all that is known of it."""
    name = known_form(call.path("name"))
    call.caller.need_list(call.room)
    await call.desk.serving()
    snapshot = await call.desk.subscriber.get(name)
    return call.json(detail_of(snapshot, now_ms()))


async def get_service_events(call: Call) -> Response:
    """Answer with the kept events of one service and its commands, the oldest first."""
    name = known_form(call.path("name"))
    call.caller.need_list(call.room)
    limit = call.count("limit", 100, 1000)
    subscriber = call.desk.subscriber
    events = [e for e in await subscriber.latest_changes(STORY_DEPTH) if _about(e, name)]
    if not events:
        await subscriber.get(name)
    return call.json(EventList(events=events[-limit:]))


def act(action: Action) -> Callable[[Call], Awaitable[Response]]:
    """Return what asks for an action."""

    async def ask(call: Call) -> Response:
        name = call.path("name")
        call.caller.need_action(call.room, action, name)
        known_form(name)
        wait, applied = call.wait()
        command_id = call.command_id()
        body = await call.body(ActionRequest)
        receipt = await _publish(call, action, name, command_id, body)
        replayed = command_id is not None and bool(receipt.duplicates)
        headers = {"pointsman-command": receipt.id}
        if replayed:
            headers["idempotency-replayed"] = "true"
        if applied is not None:
            headers["preference-applied"] = applied
        try:
            receipt = await call.desk.publisher.wait(receipt, wait)
        except WaitTimeout:
            return await _accepted(call, receipt, headers)
        except PointsmanError as error:
            problem = problem_of(error, call.address(receipt.id))
            problem.headers |= headers
            raise problem from error
        return await _answer(call, receipt, headers)

    return ask


async def _publish(
    call: Call, action: Action, name: str, command_id: str | None, body: ActionRequest
) -> Receipt:
    """Publish, where somebody is there to do it; a repeat is answered in any case."""
    known = command_id is not None and await _is_known(call, command_id)
    if not known:
        await call.desk.serving(engine=action not in _WITHOUT_ENGINE)
    options: Options = {
        "id": command_id,
        "issuer": call.caller.issuer,
        "reason": body.reason,
        "timeout": body.timeout,
        "expect_container_id": body.expect_container_id,
        "expect_started_at": body.expect_started_at,
        "coalesce": body.coalesce,
        "require_worker": not known,
        "traceparent": _trace(call, "traceparent"),
        "tracestate": _trace(call, "tracestate"),
    }
    return await call.desk.publisher.send(action, name, **options)


async def _is_known(call: Call, command_id: str) -> bool:
    try:
        await call.desk.subscriber.receipt(command_id)
    except UnknownCommand:
        return False
    return True


async def _answer(call: Call, receipt: Receipt, headers: dict[str, str]) -> Response:
    """Answer from a settled receipt."""
    call.desk.promise(receipt.revision)
    error = error_for(receipt)
    if error is not None:
        problem = problem_of(error, call.address(receipt.id))
        problem.headers |= headers
        return problem.response()
    result = ActionResult(
        success=True, message=receipt.message or "", service=await _service(call, receipt.service)
    )
    return call.json(result, 200, headers)


async def _accepted(call: Call, receipt: Receipt, headers: dict[str, str]) -> Response:
    """Answer that it is under way."""
    address = call.address(receipt.id)
    accepted = ActionAccepted(
        success=True,
        message=f"Service '{receipt.service}' {receipt.action} initiated",
        service=await _service(call, receipt.service),
        command=address,
    )
    return call.json(accepted, 202, headers | {"location": address})


async def _service(call: Call, name: str | None) -> Service | None:
    """Return the service as it stands now; None where it is not known."""
    try:
        return service_of(await call.desk.subscriber.get(name or ""), now_ms())
    except ServiceNotFound:
        return None


def known_form(name: str) -> str:
    """Return a name that a service can have; what cannot be one is not found."""
    if not is_service_name(name):
        raise ServiceNotFound(service=name[:128])
    return name


def _about(event: Event, name: str) -> bool:
    match event.data:
        case ServiceData(service=service):
            return service.name == name
        case CommandData(command=command):
            return command.service == name
        case _:
            return False


_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def _trace(call: Call, header: str) -> str | None:
    """Return a W3C trace header; one that is not well formed is as good as none."""
    parent = call.request.headers.get("traceparent", "")
    value = call.request.headers.get(header)
    if not _TRACE.fullmatch(parent) or not value or len(value) > 512 or not value.isascii():
        return None
    return value
