"""Every address of the API: what it does, what it takes, what it may answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from contracts.commands import ID_PATTERN, SERVICE_PATTERN, STREAM_ID_PATTERN, Action
from contracts.receipts import Receipt
from gateway import bodies
from gateway.calls import Call
from gateway.handlers import commands, dead, rooms, services, streams

Handler = Callable[[Call], Awaitable[Response]]

SYSTEM = "/api/system"
ROOM = "/api/rooms/{room}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation."""

    name: str
    where: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address.

    `stream`: handler for those who accept `text/event-stream` where the address has both. `errors`: the
    statuses of problems beside those that every operation may answer.
    """

    id: str
    method: str
    path: str
    summary: str
    handler: Handler
    answers: Mapping[int, tuple[str, Any]]
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    needs: str = "list"
    description: str = ""
    stream: Handler | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


_NAME = Parameter(
    "name",
    "path",
    "The service's name.",
    {"type": "string", "pattern": f"^{SERVICE_PATTERN}$", "examples": ["rtdetr"]},
)
_LIMIT = "How many at most."
_WAIT = Parameter(
    "Prefer",
    "header",
    "`wait=N`: wait N seconds for the outcome, then answer 202; `respond-async`: do not wait (RFC 7240).",
    {"type": "string", "examples": ["wait=5"]},
)
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "The same key with the same request is done once; a repeat is answered from the receipt.",
    {"type": "string", "pattern": r"^[A-Za-z0-9._:/-]{1,100}$"},
)
_LAST = Parameter(
    "Last-Event-ID",
    "header",
    "`<epoch>/<revision>`: go on after this event; a `reset` comes where that is not possible.",
    {"type": "string"},
)
_SNAPSHOTS = Parameter(
    "snapshots", "query", "Let a `reset` bring the services, all fields.", {"type": "boolean"}
)
_STREAM = (
    "Server-sent events. Every event of the room has its type as `event`, `<epoch>/<revision>` as `id` and "
    "the CloudEvent as `data`. The first is a `reset`, unless `Last-Event-ID` says where the reader was and "
    "nothing is missing since; a `reset` says at which revision the reader is to begin anew. `heartbeat` "
    "comes every few seconds, without an id. A reader that is too slow is cut and may come back."
)
_COMMAND_ID = Parameter(
    "id",
    "path",
    "The command's id; it may contain slashes.",
    {"type": "string", "pattern": f"^{ID_PATTERN}$", "examples": ["deploy-42"]},
)
_DEAD_ID = Parameter(
    "id",
    "path",
    "The id in the stream of dead letters.",
    {"type": "string", "pattern": f"^{STREAM_ID_PATTERN}$", "examples": ["1767225600000-0"]},
)


def _count(default: int, most: int) -> Parameter:
    return Parameter(
        "limit", "query", _LIMIT, {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    )


_ACTIONS = {
    Action.RESTART: (
        "Restart a service; its failure count begins anew.",
        "400 where it is disabled.",
    ),
    Action.START: ("Start a stopped service.", "400 where it runs already or is disabled."),
    Action.STOP: (
        "Stop a service; it is left alone until it is started, restarted or enabled.",
        "400 where it is stopped already.",
    ),
    Action.ENABLE: (
        "Enable a service again; its failure count begins anew and self-healing resumes.",
        "Needs no engine.",
    ),
    Action.DISABLE: (
        "Disable a service: no self-healing; the container is left as it is.",
        "Needs no engine.",
    ),
}


def _action(action: Action) -> Operation:
    summary, description = _ACTIONS[action]
    return Operation(
        id=f"{action}_service",
        method="POST",
        path=f"/services/{{name}}/{action}",
        summary=summary,
        description=description,
        handler=services.act(action),
        parameters=(_NAME, _WAIT, _KEY),
        body=bodies.ActionRequest,
        needs=str(action),
        answers={
            200: ("Done; the service as it stands now.", bodies.ActionResult),
            202: ("Under way; the receipt's address.", bodies.ActionAccepted),
        },
        errors=(400, 404, 408, 409, 410, 412, 413, 415, 422, 503, 504),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="list_services",
        method="GET",
        path="/services",
        summary="List the services; the summaries are of all, whatever the category.",
        description=(
            "`view=full` shows all fields of the snapshots. The header `Pointsman-Revision` says of which "
            "revision the list is; `Pointsman-Stale: ?1` says that newer events did not arrive in time."
        ),
        handler=services.list_services,
        parameters=(
            Parameter(
                "category",
                "query",
                "Only services of this category: infrastructure, ai, monitoring, or another.",
                {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"},
            ),
            Parameter(
                "view", "query", "How much of each service.", {"type": "string", "enum": ["brief", "full"]}
            ),
        ),
        answers={200: ("The services.", bodies.ServiceList | bodies.ServiceDetailList)},
        errors=(400, 503),
        headers={"Pointsman-Revision": "`<epoch>/<revision>` of the list."},
    ),
    Operation(
        id="stream_events",
        method="GET",
        path="/services/events",
        summary="Follow the room's events.",
        description=_STREAM,
        handler=streams.stream_events,
        parameters=(_LAST, _SNAPSHOTS),
        answers={200: ("The events.", "text/event-stream")},
        errors=(400, 503),
    ),
    Operation(
        id="get_service",
        method="GET",
        path="/services/{name}",
        summary="Show one service with all that is known of it.",
        description="A service with the name `events` is shown by the list alone: here is the stream.",
        handler=services.get_service,
        parameters=(_NAME,),
        answers={200: ("The service.", bodies.ServiceDetail)},
        errors=(404, 503),
    ),
    Operation(
        id="get_service_events",
        method="GET",
        path="/services/{name}/events",
        summary="Tell the story of one service: its kept events and those of its commands.",
        description="With `Accept: text/event-stream` they are followed. " + _STREAM,
        handler=services.get_service_events,
        stream=streams.stream_service_events,
        parameters=(_NAME, _count(100, 1000), _LAST),
        answers={200: ("The events, the oldest first.", bodies.EventList)},
        errors=(400, 404, 503),
    ),
    *(_action(action) for action in Action),
    Operation(
        id="list_commands",
        method="GET",
        path="/commands",
        summary="List the latest commands, those under way and those settled.",
        handler=commands.list_commands,
        parameters=(_count(50, 500),),
        answers={200: ("The commands, the newest first.", bodies.CommandList)},
        errors=(400, 503),
    ),
    Operation(
        id="get_command",
        method="GET",
        path="/commands/{id}",
        summary="Show the receipt of a command.",
        handler=commands.get_command,
        parameters=(_COMMAND_ID,),
        answers={200: ("The receipt.", Receipt)},
        errors=(404, 503),
    ),
    Operation(
        id="cancel_command",
        method="DELETE",
        path="/commands/{id}",
        summary="Cancel a command that has not begun.",
        description="Who may ask for its action may cancel it.",
        handler=commands.cancel_command,
        parameters=(_COMMAND_ID,),
        needs="the command's action",
        answers={200: ("The receipt.", Receipt)},
        errors=(404, 409, 503),
    ),
    Operation(
        id="list_dead_letters",
        method="GET",
        path="/dlq",
        summary="List the dead letters.",
        handler=dead.list_dead,
        parameters=(_count(100, 1000),),
        answers={200: ("The dead letters, the newest first.", bodies.DeadLetterList)},
        errors=(400, 503),
    ),
    Operation(
        id="get_dead_letter",
        method="GET",
        path="/dlq/{id}",
        summary="Show a dead letter.",
        handler=dead.get_dead,
        parameters=(_DEAD_ID,),
        answers={200: ("The dead letter.", bodies.DeadLetterEntry)},
        errors=(404, 503),
    ),
    Operation(
        id="requeue_dead_letter",
        method="POST",
        path="/dlq/{id}/requeue",
        summary="Publish a dead letter's command again, mended if need be.",
        description="Needs `dead_letters` and the command's action.",
        handler=dead.requeue_dead,
        parameters=(_DEAD_ID,),
        body=bodies.RequeueRequest,
        needs="dead_letters",
        answers={202: ("Published; its receipt.", Receipt)},
        errors=(400, 404, 408, 413, 415, 422, 503),
    ),
    Operation(
        id="drop_dead_letter",
        method="DELETE",
        path="/dlq/{id}",
        summary="Drop a dead letter.",
        handler=dead.drop_dead,
        parameters=(_DEAD_ID,),
        needs="dead_letters",
        answers={204: ("Dropped.", None)},
        errors=(404, 503),
    ),
    Operation(
        id="get_room",
        method="GET",
        path="/room",
        summary="Show how the room does: workers, engine, backlog, and what the caller may do.",
        handler=rooms.get_room,
        answers={200: ("The room.", bodies.RoomState)},
        errors=(503,),
    ),
)
