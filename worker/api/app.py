"""The admin API as one ASGI application."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.api.alerts import alerts
from worker.api.batches import batches
from worker.api.budgets import budgets
from worker.api.costs import costs
from worker.api.health import health
from worker.api.keys import keys
from worker.api.office import Office
from worker.api.problems import ErrorAnswer, handle_problems
from worker.api.reports import reports
from worker.api.runs import runs
from worker.api.switches import switches

PATHS = ("/api/v1", "/v1/runs", "/admin", "/health", "/live", "/ready", "/metrics")
"""Where it answers; all else is the model endpoints'."""

_ABOUT = """What was spent and by whom, budgets, keys, switches, runs, alerts and reports.

Send a key with a role as `Authorization: Bearer curb_...`: `viewer` looks, `operator` steers, `admin`
changes budgets and keys. Money is dollars as exact decimal strings.
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": what}
    for status, what in {
        400: "The body is no JSON",
        401: "No key, or none that is known",
        403: "A key without the role",
        404: "There is no such thing",
        409: "It is not as you believe",
        422: "What was sent cannot be",
        428: "If-Match is missing",
        503: "A server of ours does not answer",
    }.items()
}


class BodyLimit:
    """Answers 413 to a body that is larger than this server takes: an ASGI application."""

    def __init__(self, app: ASGIApp, most_bytes: int = 2 * 1024 * 1024) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        came = 0

        async def limited() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most_bytes:
                raise HTTPException(413, f"the body is larger than {self._most_bytes} bytes")
            return message

        await self._app(scope, limited, send)


def build_api(office: Office) -> FastAPI:
    """Build the application. Pages of FastAPI's own are off: they load scripts of other sites."""
    app = FastAPI(
        title="curb",
        version=version("curb"),
        description=_ABOUT,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_ERRORS,
    )
    for part in (costs, budgets, keys, switches, runs, batches, alerts, reports, health):
        app.include_router(part(office))
    handle_problems(app)
    app.add_middleware(BodyLimit)
    return app
