"""Commands: their receipts, and the cancelling of those that have not begun."""

from starlette.responses import Response

from contracts.errors import UnknownCommand
from contracts.receipts import Receipt
from gateway.bodies import CommandList
from gateway.calls import Call

#: Commands looked through for one that no worker has seen yet and so has no receipt.
UNSEEN = 1000


async def list_commands(call: Call) -> Response:
    """Answer with the latest commands."""
    call.caller.need_list(call.room)
    commands = await call.desk.subscriber.commands(call.count("limit", 50, 500))
    return call.json(CommandList(commands=list(commands)))


async def get_command(call: Call) -> Response:
    """Answer with a receipt."""
    call.caller.need_list(call.room)
    return call.json(await _receipt(call))


async def cancel_command(call: Call) -> Response:
    """End a command that has not begun; who may ask for its action may cancel it."""
    call.caller.need_room(call.room)
    receipt = await _receipt(call)
    call.caller.need_action(call.room, receipt.action or "", receipt.service or "")
    return call.json(await call.desk.publisher.cancel(call.path("id")))


async def _receipt(call: Call) -> Receipt:
    command_id = call.path("id")
    try:
        return await call.desk.subscriber.receipt(command_id)
    except UnknownCommand:
        for receipt in await call.desk.subscriber.commands(UNSEEN):
            if receipt.id == command_id:
                return receipt
        raise
