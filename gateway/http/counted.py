"""Counts how requests were answered: an ASGI application around another.

A stream that failed after it had begun counts as what it failed with, for its client has no answer
either; a client that left before there was any counts as 499.
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics

FAILED_WITH = "curb.status"
"""In a message of the body: the status that the answer would have had, if it had not begun."""

_CLIENT_GONE = 499
_BUG = 500


class Counted:
    """routes: paths that are told apart. otherwise: the route of everything else."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, *, routes: Collection[str] = (), otherwise: str
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = frozenset(routes)
        self._otherwise = otherwise
        for route in sorted(self._routes):
            metrics.serves(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = _CLIENT_GONE

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = int(message["status"])
            code = int(message.pop(FAILED_WITH, code))
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            code = _BUG
            raise
        finally:
            self._metrics.answered(self._route(str(scope.get("path", ""))), code)

    def _route(self, path: str) -> str:
        return path if path in self._routes else self._otherwise
