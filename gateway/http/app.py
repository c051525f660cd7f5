"""The front door as one ASGI application: model endpoints for clients of OpenAI and Anthropic."""

import time
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.agents import Agent
from gateway.batches.opening import BatchDesk, BatchStarter
from gateway.config import FamilyName
from gateway.errors import StoreUnavailable
from gateway.gateway import Gateway
from gateway.http import problems
from gateway.http.batches import batch_routes
from gateway.http.counted import Counted
from gateway.http.endpoint import CountEndpoint, Door, KeyHolder, Limits, ModelEndpoint, headers_of
from gateway.http.fields import BadRequest
from gateway.http.files import file_routes
from gateway.http.message_batches import message_batch_routes
from gateway.http.models import Models
from gateway.http.wires import ANTHROPIC, EMBEDDINGS, OPENAI, RESPONSES
from gateway.keys import Unauthorized

_WIRES = (OPENAI, ANTHROPIC, RESPONSES, EMBEDDINGS)
_COUNT_TOKENS = "/v1/messages/count_tokens"
_MODELS = "/v1/models"
_BATCHES = ("/v1/files", "/v1/batches", "/v1/messages/batches")
_ROUTES = (*(wire.path for wire in _WIRES), _COUNT_TOKENS, _MODELS, *_BATCHES)


def build_app(
    gateway: Gateway,
    keys: KeyHolder,
    *,
    agents: Mapping[str, Agent] | None = None,
    limits: Limits | None = None,
    batches: BatchStarter | None = None,
) -> ASGIApp:
    """Build the application. keys: says who calls, see gateway.keys.KeyRing. batches: has one followed to its
    end; None where nobody does, and none are taken on."""
    desk = BatchDesk(gateway, batches) if batches is not None else None
    door = Door(gateway, keys, Models(gateway.config), agents or {}, limits or Limits(), desk)
    lists = _Lists(door)
    endpoints = {wire.path: ModelEndpoint(door, wire) for wire in _WIRES}
    app = Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
            *file_routes(door),
            *batch_routes(door),
            *message_batch_routes(door),
            Route(_COUNT_TOKENS, CountEndpoint(door, ANTHROPIC), methods=["POST"]),
            Route(_MODELS, lists.everything),
            Route(f"{_MODELS}/{{name:path}}", lists.one),
        ],
        exception_handlers={404: _no_such_path, 405: _no_such_path},
    )
    return Counted(_Straight(endpoints, app), gateway.metrics, routes=_ROUTES, otherwise="other")


class _Straight:
    """Leads what is asked for most to its endpoint without a detour: those need nothing of a framework."""

    def __init__(self, endpoints: Mapping[str, ASGIApp], otherwise: ASGIApp) -> None:
        self._endpoints = endpoints
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["method"] == "POST"
        app = self._endpoints.get(scope["path"], self._otherwise) if posted else self._otherwise
        await app(scope, receive, send)


class _Lists:
    """GET /v1/models, for either family: the header that only Anthropic's clients send tells them apart."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def everything(self, request: Request) -> JSONResponse:
        return await self._told(request, "")

    async def one(self, request: Request) -> JSONResponse:
        return await self._told(request, str(request.path_params["name"]))

    async def _told(self, request: Request, name: str) -> JSONResponse:
        headers = headers_of(request.scope)
        family: FamilyName = "anthropic" if "anthropic-version" in headers else "openai"
        models = self._door.models
        try:
            principal = await self._door.principal(headers, request.scope)
            if name:
                return JSONResponse(models.described(name, principal, family))
            return JSONResponse(models.listed(principal, family))
        except BadRequest as error:
            problem = problems.of_bad_request(error)
        except Unauthorized as error:
            problem = problems.of_unauthorized(error)
        except StoreUnavailable as error:
            problem = problems.unavailable(str(error), time.time_ns() // 1_000_000)
        return JSONResponse(problem.as_json(family), status_code=problem.status)


async def _no_such_path(request: Request, error: Exception) -> JSONResponse:
    family: FamilyName = "anthropic" if "anthropic-version" in request.headers else "openai"
    problem = problems.Problem(404, f"{request.method} {request.url.path}: nothing is here", "not_found")
    return JSONResponse(problem.as_json(family), status_code=problem.status)
