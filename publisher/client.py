"""Ask for actions on services, and learn how they end."""

import asyncio
import secrets
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, Unpack, cast

from contracts.codec import decode_receipt, decode_snapshot, encode_command
from contracts.commands import Action, Command, is_command_id, is_service_name, is_stream_id
from contracts.errors import (
    CancelRefused,
    IdempotencyConflict,
    InvalidCommand,
    NoWorker,
    PointsmanError,
    PreconditionFailed,
    RedisUnavailable,
    ServiceNotFound,
    StreamFull,
    UnknownCommand,
    WaitTimeout,
    error_for,
)
from contracts.keys import DEFAULT_PREFIX, DEFAULT_ROOM, Keys
from contracts.receipts import Receipt, ReceiptStatus
from contracts.scripts import load
from contracts.services import Snapshot
from publisher.calls import Call, Calls
from publisher.dead import DeadLetters
from publisher.options import Options, build, complete, to_wire
from publisher.waiting import Settlements
from wire.connection import Source, connector

DEFAULT_URL = "redis://localhost:6379/0"
#: Seconds for the last look of a wait that runs out.
LAST_LOOK = 1.0

_PUBLISH = load("publisher", "publish")
_CANCEL = load("publisher", "cancel")
_FORGET = load("publisher", "forget")


class Publisher:
    """Publish commands to one room; use it as `async with Publisher(url) as publisher`.

    `redis` is a URL or a `redis.asyncio.Redis`, whose address and credentials are taken. `issuer` goes
    with every command that names none. `stream_limit`: refuse to publish into a stream of so many
    unsettled commands, 0 for no limit. `ttl`: seconds a command may wait to begin. `window`: seconds
    that the receipt of a cancelled command is kept. `alive`: seconds within which a worker must have
    beaten to count. `timeout`: seconds for one exchange with Redis.

    Connections are made when they are needed. All methods raise RedisUnavailable when Redis does not
    answer after a bounded number of tries; what was asked may have been done then, and asking again
    with the same id is safe.
    """

    def __init__(
        self,
        redis: Source = DEFAULT_URL,
        *,
        room: str = DEFAULT_ROOM,
        prefix: str = DEFAULT_PREFIX,
        issuer: str | None = None,
        stream_limit: int = 0,
        ttl: float = 300.0,
        window: float = 86_400.0,
        alive: float = 10.0,
        timeout: float = 5.0,
    ) -> None:
        self.keys = Keys(room, prefix)
        self.issuer = issuer
        self.stream_limit = stream_limit
        self.ttl = ttl
        self._window = round(window * 1000)
        self._alive = round(alive * 1000)
        connect = connector(redis)
        self._calls = Calls(connect, timeout)
        self._settlements = Settlements(connect, self.keys, self._calls, timeout)
        self.dead = DeadLetters(self._calls, self.keys, ttl)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; waits and calls still under way end with RedisUnavailable."""
        await self._settlements.aclose()
        await self._calls.aclose()

    async def send(self, action: Action | str, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish one command and return its receipt as it now is.

        An id that is known already adds nothing: the receipt is that of the first. Raises
        InvalidCommand, IdempotencyConflict (its `receipt` is the first's), StreamFull, NoWorker.
        """
        command, ttl = build(action, service, options, self.issuer, self.ttl)
        call = self._publish(command, ttl, options.get("require_worker", False))
        return self._published(await call.future, command)

    async def restart(self, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish a restart; see `send`."""
        return await self.send(Action.RESTART, service, **options)

    async def start(self, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish a start; see `send`."""
        return await self.send(Action.START, service, **options)

    async def stop(self, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish a stop; see `send`."""
        return await self.send(Action.STOP, service, **options)

    async def enable(self, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish an enable; see `send`."""
        return await self.send(Action.ENABLE, service, **options)

    async def disable(self, service: str, **options: Unpack[Options]) -> Receipt:
        """Publish a disable; see `send`."""
        return await self.send(Action.DISABLE, service, **options)

    async def send_many(
        self, commands: Iterable[Command], *, require_worker: bool = False
    ) -> list[Receipt | PointsmanError]:
        """Publish commands in their order, pipelined; return receipts and errors in the same order."""
        results: list[Receipt | PointsmanError | tuple[Call, Command]] = []
        for command in commands:
            try:
                checked = complete(command, self.issuer)
                results.append((self._publish(checked, self.ttl, require_worker), checked))
            except PointsmanError as error:
                results.append(error)
        waiting = [result[0].future for result in results if isinstance(result, tuple)]
        await asyncio.gather(*waiting, return_exceptions=True)
        return [self._outcome(*result) if isinstance(result, tuple) else result for result in results]

    async def run(
        self,
        action: Action | str,
        service: str,
        *,
        wait: float | None = 30.0,
        check: bool = False,
        **options: Unpack[Options],
    ) -> Receipt:
        """Publish one command and return its settled receipt.

        Waits at most `wait` seconds, None for ever. With `check`, raises the error that the receipt
        tells of. Raises what `send` and `wait` raise.
        """
        command, ttl = build(action, service, options, self.issuer, self.ttl)
        await self._settlements.ready()
        command_id = cast("str", command.id)
        call = self._publish(command, ttl, options.get("require_worker", False), patient=True)
        waiter = self._settlements.expect(command_id)
        call.future.add_done_callback(lambda _: self._pass_on(call, command, waiter))
        try:
            async with asyncio.timeout(wait):
                receipt = await waiter
            if options.get("id") is not None:
                # What settled may be another command of this id: then this raises the conflict.
                await self._reply(call, command)
        except TimeoutError:
            await self._reply(call, command)
            receipt = await self._last_look(command_id, wait)
        finally:
            call.future.cancel()  # where it is still to come
            self._settlements.forget(command_id, waiter)
        if check and (error := error_for(receipt)) is not None:
            raise error
        return receipt

    async def wait(self, command: Receipt | str, timeout: float | None = 30.0) -> Receipt:  # noqa: ASYNC109
        """Return the receipt of a command once it is settled.

        Takes a receipt or an id; the stream id of an entry that no worker has seen yet will do. Raises
        UnknownCommand, and WaitTimeout after `timeout` seconds (None for ever): the command goes on.
        """
        if isinstance(command, Receipt):
            if command.settled:
                return command
            command = command.id
        _know_form(command)
        waiter = self._settlements.expect(command)
        try:
            async with asyncio.timeout(timeout):
                await self._settlements.ready()
                receipt = await self._settlements.look(command)
                return receipt if receipt is not None and receipt.settled else await waiter
        except TimeoutError:
            return await self._last_look(command, timeout)
        finally:
            self._settlements.forget(command, waiter)

    async def cancel(self, command_id: str) -> Receipt:
        """End a command that has not begun; return its receipt.

        Also takes the stream id of an entry that no worker has seen. Raises CancelRefused, with the
        receipt, when it has begun or is settled, and UnknownCommand.
        """
        _know_form(command_id)
        call = self._calls.script(
            _CANCEL, self.keys.commands, command_id, self._window, to_wire(self.ttl), secrets.token_hex(4)
        )
        word, *rest = await call.future
        if word == b"unknown":
            raise UnknownCommand(id=command_id)
        receipt = decode_receipt(rest[0])
        repeated = call.tries > 1 and receipt.status is ReceiptStatus.CANCELED
        if word == b"ok" or repeated:  # the reply to our own first try was lost
            return receipt
        error = CancelRefused(id=receipt.id, status=receipt.status)
        error.receipt = receipt
        raise error

    async def forget(self, service: str, *, issuer: str | None = None, reason: str | None = None) -> Snapshot:
        """Remove the snapshot of a service whose container is gone; return the last one.

        Raises ServiceNotFound, and PreconditionFailed while there is a container or a command at work.
        Not repeated when the connection breaks.
        """
        if not is_service_name(service):
            raise ServiceNotFound(service=service)
        arguments = (service, secrets.token_hex(4), issuer or self.issuer or "", reason or "")
        word, *rest = await self._calls.script(
            _FORGET, self.keys.commands, *arguments, repeatable=False
        ).future
        match word:
            case b"ok":
                return decode_snapshot(rest[0])
            case b"unknown":
                raise ServiceNotFound(service=service)
            case b"present":
                raise PreconditionFailed(f"Service '{service}' still has a container and is not forgotten")
            case _:
                raise PreconditionFailed(f"A command is at work on service '{service}'; it is not forgotten")

    def _publish(self, command: Command, ttl: float, require_worker: bool, *, patient: bool = False) -> Call:
        fields = [text for pair in encode_command(command).items() for text in pair]
        return self._calls.script(
            _PUBLISH,
            self.keys.commands,
            to_wire(ttl),
            self.stream_limit,
            int(require_worker),
            self._alive,
            *fields,
            patient=patient,
        )

    async def _reply(self, call: Call, command: Command) -> Receipt:
        self._calls.attend()
        return self._published(await call.future, command)

    def _pass_on(self, call: Call, command: Command, waiter: "asyncio.Future[Receipt]") -> None:
        """Tell who waits for the receipt what the reply to its publishing says of it."""
        if call.future.cancelled():
            return
        outcome = self._outcome(call, command)
        if waiter.done():
            return
        if isinstance(outcome, PointsmanError):
            waiter.set_exception(outcome)
        elif outcome.settled:
            waiter.set_result(outcome)

    def _published(self, answer: Any, command: Command) -> Receipt:
        word, *rest = answer
        match word:
            case b"ok" | b"duplicate":
                return decode_receipt(rest[0])
            case b"conflict":
                error = IdempotencyConflict(id=command.id)
                error.receipt = decode_receipt(rest[0])
                raise error
            case b"full":
                raise StreamFull(
                    f"The commands stream of room '{self.keys.room}' is full: {int(rest[0])} unsettled "
                    f"commands, limit {self.stream_limit}; nothing was published"
                )
            case b"no_worker":
                raise NoWorker(room=self.keys.room)
            case _:
                raise InvalidCommand(rest[0].decode())

    def _outcome(self, call: Call, command: Command) -> Receipt | PointsmanError:
        try:
            return self._published(call.future.result(), command)
        except PointsmanError as error:
            return error

    async def _last_look(self, command_id: str, seconds: float | None) -> Receipt:
        """Return what a wait that ran out may have missed. Raises WaitTimeout."""
        try:
            async with asyncio.timeout(LAST_LOOK):
                receipt = await self._settlements.look(command_id)
        except TimeoutError as error:
            raise RedisUnavailable(words=f"no answer within {LAST_LOOK:g} s") from error
        if receipt is not None and receipt.settled:
            return receipt
        raise WaitTimeout(id=command_id, seconds=f"{seconds:g}")


def _know_form(command_id: str) -> None:
    if not is_command_id(command_id) and not is_stream_id(command_id):
        raise UnknownCommand(id=command_id)
