"""Running a gateway: sockets, signals, slow connections, and an end that lets responses finish."""

import asyncio
import gc
import logging
import signal
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from safemt.core.errors import SafemtError, UsageError
from safemt.serve.app import Site
from safemt.serve.config import ServeConfig, is_loopback
from safemt.serve.gateway import Gateway

_SWEEP: Final = 1.0
"""Seconds between looks at idle connections."""
_GIL_SECONDS: Final = 0.0005
"""A moderator's thread that computes gives way to the event loop after so long; Python's own is 5 ms."""
_BACKLOG: Final = 2048

log = logging.getLogger("safemt.serve")


class Listener:
    """One listening socket. It closes connections that send no whole request header for too long."""

    def __init__(
        self, site: Site, body_bytes: Callable[[], int], header_bytes: int, idle_seconds: float
    ) -> None:
        self._site = site
        self._body_bytes = body_bytes
        self._idle = idle_seconds
        self._since: dict[Any, float] = {}
        """When a connection was last seen with nothing to do."""
        self._busy: set[Any] = set()
        """Connections with a request in progress."""
        self._socket: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._server = web.Server(
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            max_line_size=header_bytes,
            max_field_size=header_bytes,
        )

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port.

        Raises:
            UsageError: the address is taken or not one of this machine's.
        """
        loop = asyncio.get_running_loop()
        try:
            self._socket = await loop.create_server(
                self._server, host, port, ssl=tls, backlog=_BACKLOG, reuse_address=True
            )
        except OSError as error:
            raise UsageError(
                "cannot_listen",
                f"The gateway cannot listen on {host}:{port} ({error.strerror or error}). Choose another "
                "`listen.port` or `listen.host`.",
                host=host,
                port=port,
            ) from error
        self._sweeper = asyncio.create_task(self._sweep())
        return int(self._socket.sockets[0].getsockname()[1])

    def stop_accepting(self) -> None:
        """Take no further connections; close those on which nothing happens."""
        if self._socket is not None:
            self._socket.close()
        for connection in self._server.connections:
            if connection not in self._busy:
                connection.close()

    async def close(self) -> None:
        """Cut all connections."""
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._server.shutdown(0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._busy.add(connection)
        try:
            return await self._site.handle(request)
        finally:
            self._busy.discard(connection)
            self._since[connection] = time.monotonic()

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=self._body_bytes()
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP, self._idle / 4))
            now = time.monotonic()
            self._since = {each: self._since.get(each, now) for each in self._server.connections}
            for connection, since in self._since.items():
                if connection not in self._busy and now - since > self._idle and connection.transport:
                    connection.transport.abort()


class RunningGateway:
    """A gateway that listens."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = 0
        self.admin_port: int | None = None
        self._listeners: list[Listener] = []

    async def start(self) -> None:
        """Listen, and return once it does; `gateway.prove` makes it ready.

        Raises:
            UsageError: an address or a certificate cannot be used.
        """
        listen = self.gateway.generation.config.listen
        own = listen.admin_port is not None
        on_loopback = is_loopback(listen.host)
        main = self._listener(Site(self.gateway, traffic=True, admin=not own and on_loopback))
        self.port = await main.start(listen.host, listen.port, _tls(self.gateway.generation.config))
        if listen.admin_port is not None:
            admin = self._listener(Site(self.gateway, traffic=False, admin=True))
            self.admin_port = await admin.start(listen.admin_host, listen.admin_port)

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Take no further requests, and wait for those in progress: so many seconds, or until `hurry`."""
        self.gateway.draining = True
        for listener in self._listeners:
            listener.stop_accepting()
        waits = [asyncio.create_task(each.wait()) for each in (self.gateway.idle, hurry)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def close(self) -> None:
        """Cut what is still open, and let go of everything."""
        for listener in self._listeners:
            await listener.close()
        await self.gateway.close()

    def _listener(self, site: Site) -> Listener:
        limits = self.gateway.generation.config.limits
        listener = Listener(
            site,
            lambda: self.gateway.generation.config.limits.body_bytes,
            limits.header_bytes,
            limits.idle_seconds,
        )
        self._listeners.append(listener)
        return listener


async def serve_until_signalled(
    config: ServeConfig,
    reread: Callable[[], ServeConfig] | None,
    started: Callable[[RunningGateway], None] = lambda _: None,
) -> None:
    """Run a gateway until SIGTERM or SIGINT; a second one ends it at once. SIGHUP reloads.

    Raises:
        SafemtError: the configuration cannot be used; the gateway then never answered anything.
    """
    sys.setswitchinterval(_GIL_SECONDS)
    gateway = await Gateway.open(config, reread)
    running = RunningGateway(gateway)
    ended, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: hurry.set() if ended.is_set() else ended.set())
    reloads: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(asyncio.create_task(_reload(gateway))))
    try:
        await running.start()
        started(running)
        proving = asyncio.create_task(gateway.prove())
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait((proving, waiting), return_when=asyncio.FIRST_COMPLETED)
        if proving.done():
            proving.result()  # a moderator that cannot be used ends the gateway
        gc.freeze()  # models stay: garbage collections need not look at them
        proving.cancel()
        await waiting
        await running.drain(gateway.generation.config.limits.grace_seconds, hurry)
    finally:
        await running.close()


def run(
    config: ServeConfig,
    reread: Callable[[], ServeConfig] | None = None,
    started: Callable[[RunningGateway], None] = lambda _: None,
) -> None:
    """Run a gateway in this process, on uvloop if it is installed.

    Raises:
        SafemtError: as `serve_until_signalled`.
    """
    try:
        from uvloop import new_event_loop
    except ImportError:
        factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    else:
        factory = new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve_until_signalled(config, reread, started))


async def _reload(gateway: Gateway) -> None:
    gateway.reopen_logs()
    try:
        await gateway.reload()
    except SafemtError as error:
        log.error("The configuration was not reloaded; the one in force stays: %s", error)
    else:
        log.info("The configuration was reloaded: generation %d.", gateway.generation.number)


def _tls(config: ServeConfig) -> ssl.SSLContext | None:
    listen = config.listen
    if listen.tls_cert is None or listen.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.tls_cert, listen.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            "bad_certificate",
            f"`listen.tls_cert` and `listen.tls_key` cannot be used: {error.strerror or error}.",
        ) from error
    return context
