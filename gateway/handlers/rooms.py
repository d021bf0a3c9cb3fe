"""Rooms: which there are, and how one does."""

from starlette.responses import Response

from contracts.commands import Action
from contracts.events import EngineInfo
from gateway.bodies import Permissions, RoomState
from gateway.calls import Call
from gateway.tokens import Caller

_ALL = ("*",)


async def get_room(call: Call) -> Response:
    """Answer with the room's workers, engine, backlog, and what the caller may do."""
    call.caller.need_list(call.room)
    subscriber = call.desk.subscriber
    meta = await subscriber.meta()
    workers = await subscriber.workers()
    backlog = await subscriber.backlog()
    return call.json(
        RoomState(
            room=call.room,
            epoch=meta.epoch,
            revision=meta.revision,
            contract=meta.contract,
            engine=EngineInfo(id=meta.engine_id, status=meta.engine_status, seen_at=meta.engine_seen_at),
            workers=list(workers),
            backlog=backlog.commands,
            unread=backlog.unread,
            oldest_at=backlog.oldest_at,
            dead=backlog.dead,
            may=_permissions(call.caller),
        )
    )


def _permissions(caller: Caller) -> Permissions:
    allowed = {str(a): _ALL if caller.everything else caller.actions.get(a, ()) for a in Action}
    return Permissions(
        subject=caller.issuer,
        list=caller.everything or caller.reads,
        dead_letters=caller.everything or caller.dead_letters,
        **allowed,
    )
