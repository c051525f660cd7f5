"""An ASGI application on a port of its own, in the event loop that is running."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from gateway.errors import PortTaken

_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2_048
_LAST_SECONDS = 10.0


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Requests that were cancelled book what they bought before anything is taken down."""
        await super().shutdown(sockets=sockets)
        if left := set(self.server_state.tasks):
            await asyncio.wait(left, timeout=_LAST_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int, *, grace_seconds: float = 30.0) -> AsyncIterator[str]:
    """Serve while the block runs; yields the URL. port: 0 for any that is free.

    When the block ends, requests in flight have grace_seconds to end, then they are cancelled.
    Raises PortTaken when nobody can listen there.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(int(grace_seconds), 1),
        )
    )
    with _bound(host, port) as own, _quiet(logging.getLogger("uvicorn.error")):
        serving = asyncio.create_task(server.serve(sockets=[own]), name="curb-front-door")
        try:
            ready = asyncio.create_task(server.ready.wait())
            await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            yield f"http://{_shown(own)}"
        finally:
            server.should_exit = True
            await serving


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Requests that are cancelled because the server closes are no errors; how many there were is said."""

    def worth_saying(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))

    logger.addFilter(worth_saying)
    try:
        yield
    finally:
        logger.removeFilter(worth_saying)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise PortTaken(
            f"port {port} of {host}: {error.strerror}; choose another with --port, or 0 for a free one"
        ) from error


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host of this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
