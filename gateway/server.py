"""The HTTP server: uvicorn over h11, whose parser is strict, with the bounds that it has not by itself."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.app import Gateway
from gateway.lines import put_line
from gateway.log import Log
from gateway.problems import Problem
from gateway.settings import GatewaySettings


class Unbound(Exception):
    """The address cannot be served; the text says why and what to do."""


class Protocol(H11Protocol):
    """A connection that must send the head of its request and take the answer in time, and can be cut."""

    head_timeout = 10.0
    send_timeout = 60.0
    log: Log

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            put_line(scope, self.transport)
            await inner(scope, receive, send)

        self.app = app
        self._deadline: asyncio.TimerHandle | None = None
        self._untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a new connection its time."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the times."""
        self._disarm()
        if self._untaken is not None:
            self._untaken.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes; a head that has begun has its time, from its first byte on."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
        elif self._deadline is None and not self.transport.is_closing():
            self._arm()

    def on_response_complete(self) -> None:
        """Leave what follows to the keep-alive timeout, until the next byte comes.

        What the client has not taken by then is held in memory, and closing would wait for it.
        """
        self._disarm()
        super().on_response_complete()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None
        if self.transport.get_write_buffer_size():
            self._untaken = self.loop.call_later(self.send_timeout, self._not_taken)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, unless an answer is under way."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()
            return
        body = Problem(400, "bad_request", msg).body()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _not_taken(self) -> None:
        self._untaken = None
        answering = (
            self.cycle is not None and not self.cycle.response_complete
        )  # its sends have their own time
        if not answering and self.transport.get_write_buffer_size():
            self.log.warning("reader_cut", "A client did not take its answer")
            self.transport.abort()


class _Handler(logging.Handler):
    """Put what uvicorn complains of into our log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._to = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._to.defect("server", record.getMessage().strip(), error)
        else:
            self._to.warning("server", record.getMessage())


class Server(uvicorn.Server):
    """A server that ends its streams before it waits for them; signals are its caller's business."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, listener: socket.socket) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._listener = listener
        #: The port that is served.
        self.port: int = listener.getsockname()[1]
        self._on_ready: Callable[[], None] = lambda: None

    async def run_until_stopped(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop`; call `ready` once connections are taken."""
        self._on_ready = ready
        await self.serve([self._listener])

    def stop(self) -> None:
        """Ask for the end; a second time: at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell that connections are taken."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then stop."""
        self._gateway.end_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again at the end."""
        yield


def make_server(gateway: Gateway) -> Server:
    """Return a server that listens on the gateway's address already.

    Raises Unbound for an address that cannot be had, and for one that others can reach while no key is
    configured.
    """
    settings = gateway.settings
    check_address(settings, keys=bool(gateway.keyring))
    bounds = {
        "head_timeout": settings.head_timeout,
        "send_timeout": settings.send_timeout,
        "log": gateway.journal,
    }
    protocol = type("Protocol", (Protocol,), bounds)
    config = uvicorn.Config(
        gateway,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody's word for where a request comes from but the socket's
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=2 * settings.max_headers,
    )
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_Handler(gateway.journal)]
    logger.propagate = False
    return Server(config, gateway, _listen(settings.host, settings.port))


async def serve(gateway: Gateway) -> None:
    """Serve until SIGTERM or SIGINT. Raises Unbound."""
    server = make_server(gateway)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)

    def tell() -> None:
        host, settings = gateway.settings.host, gateway.settings
        address = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
        gateway.journal.info(
            "serving", f"Serving room '{settings.room}' at {address}", room=settings.room, port=server.port
        )
        if not gateway.keyring:
            gateway.journal.warning(
                "no_key",
                "No key is configured: only loopback is served, and who is on this machine may do everything",
            )

    try:
        await server.run_until_stopped(tell)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    gateway.journal.info("stopped", "Stopped")


def check_address(settings: GatewaySettings, *, keys: bool) -> None:
    """Raise Unbound for an address that others can reach while no key is configured."""
    if not keys and not settings.on_loopback:
        raise Unbound(
            f"no key is configured, so only loopback is served, and {settings.host} is not: "
            "use --host 127.0.0.1, or set POINTSMAN_GATEWAY_HS256_KEY or POINTSMAN_GATEWAY_EDDSA_KEY"
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise Unbound(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    listener.setblocking(False)  # noqa: FBT003 -- the socket's own word
    return listener
