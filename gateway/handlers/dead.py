"""Dead letters: look at them, publish them again, drop them."""

from typing import Any

import msgspec
from starlette.responses import Response

from contracts.codec import dead_fields
from contracts.commands import Action
from contracts.errors import InvalidCommand, MalformedRecord, UnknownCommand
from contracts.events import DeadLetter
from gateway.bodies import DeadLetterEntry, DeadLetterList, RequeueRequest
from gateway.calls import Call
from publisher import Buried

ACTIONS = tuple(map(str, Action))


async def list_dead(call: Call) -> Response:
    """Answer with the newest dead letters."""
    call.caller.need_list(call.room)
    letters = await call.desk.publisher.dead.list(call.count("limit", 100, 1000))
    return call.json(DeadLetterList(dead=[_entry(buried) for buried in letters]))


async def get_dead(call: Call) -> Response:
    """Answer with one dead letter."""
    call.caller.need_list(call.room)
    return call.json(_entry(await call.desk.publisher.dead.show(call.path("id"))))


async def requeue_dead(call: Call) -> Response:
    """Publish a dead letter's command again; needs what its action on its service needs."""
    call.caller.need_dead_letters(call.room)
    changes = (await call.body(RequeueRequest)).set
    if "issuer" in changes:
        raise InvalidCommand("The issuer is who asks: leave it as it is", field="issuer")
    dead_id = call.path("id")
    letter = (await call.desk.publisher.dead.show(dead_id)).letter
    action, service = _meant(letter, changes)
    if action not in ACTIONS:  # not a matter of what the token allows
        raise InvalidCommand(f"The action is one of {', '.join(ACTIONS)}", field="action")
    call.caller.need_action(call.room, action, service)
    mended = changes | {"issuer": call.caller.issuer}
    receipt = await call.desk.publisher.dead.requeue(dead_id, mended)
    address = call.address(receipt.id)
    return call.json(receipt, 202, {"location": address, "pointsman-command": receipt.id})


async def drop_dead(call: Call) -> Response:
    """Delete a dead letter."""
    call.caller.need_dead_letters(call.room)
    dead_id = call.path("id")
    if not await call.desk.publisher.dead.drop(dead_id):
        raise UnknownCommand(f"Dead letter '{dead_id[:64]}' is not known; it may have been dropped")
    return Response(status_code=204)


def _entry(buried: Buried) -> DeadLetterEntry:
    fields: dict[str, Any] = msgspec.structs.asdict(buried.letter)
    return DeadLetterEntry(**fields, requeues=buried.requeues)


def _meant(letter: DeadLetter, changes: dict[str, str | None]) -> tuple[str, str]:
    """Return the action and the service that a mended letter asks for; empty where it says none."""
    try:
        kept = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in dead_fields(letter)
        }
    except MalformedRecord:  # publishing it again says what is wrong with it
        kept = {}
    fields = kept | changes
    return fields.get("action") or "", fields.get("service") or ""
