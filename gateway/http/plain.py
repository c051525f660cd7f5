"""Endpoints that answer at once: who asks, and what went wrong, in the words of the client's family."""

import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.batches.opening import CannotBatch, KeyReused
from gateway.config import FamilyName
from gateway.errors import NotFound, StateUnavailable, StoreUnavailable
from gateway.http import problems
from gateway.http.endpoint import ClientGone, Door, headers_of
from gateway.http.fields import BadRequest
from gateway.keys import Principal, Unauthorized
from gateway.policy.refusals import Refusal
from gateway.providers.errors import ProviderError

log = structlog.get_logger(__name__)
Headers = Mapping[str, str]
Work = Callable[[Request, Principal], Awaitable[Response]]


_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


def id_in(request: Request, what: str) -> str:
    """The id that the path names. Raises NotFound for what cannot be one."""
    return an_id(str(request.path_params["id"]), what)


def an_id(said: str, what: str) -> str:
    """The same. Raises NotFound for what cannot be an id."""
    if not _ID.fullmatch(said):
        raise NotFound(f"there is no {what} of this id")
    return said


def asked_for(request: Request, name: str) -> str:
    """A word of the query, '' without it. Raises BadRequest for what cannot be one."""
    word = request.query_params.get(name, "")
    if word and not _ID.fullmatch(word):
        raise BadRequest("is up to 100 letters, digits, '_' and '-'", name)
    return word


class Refused(Exception):
    """The gateway's no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def route(door: Door, family: FamilyName, method: str, path: str, work: Work) -> Route:
    """A route whose errors are problems. work: raises what may go wrong, and answers otherwise."""

    async def answer(request: Request) -> Response:
        try:
            principal = await door.principal(headers_of(request.scope), request.scope)
            if "call" not in principal.roles:
                raise BadRequest("this key may not call models", status=403, code="forbidden")
            if principal.rate_tier == "anonymous":
                raise BadRequest("files and batches are for who has a key", status=403, code="forbidden")
            return await work(request, principal)
        except ClientGone:
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - the outermost edge: an answer in the client's shape
            problem = _problem(error, door.limits.upgrade_url)
        now_ms = time.time_ns() // 1_000_000
        return JSONResponse(
            problem.as_json(family), status_code=problem.status, headers=problem.headers(now_ms)
        )

    return Route(path, answer, methods=[method])


def _problem(error: Exception, upgrade_url: str) -> problems.Problem:
    now_ms = time.time_ns() // 1_000_000
    match error:
        case Refused(refusal=refusal):
            return problems.of_refusal(refusal, now_ms, upgrade_url)
        case BadRequest():
            return problems.of_bad_request(error)
        case KeyReused():
            return problems.Problem(422, str(error), "key_reused", "idempotency-key")
        case CannotBatch():
            return problems.Problem(400, str(error), "invalid")
        case NotFound():
            return problems.Problem(404, str(error), "not_found")
        case Unauthorized():
            return problems.of_unauthorized(error)
        case ProviderError():
            return problems.of_provider(error)
        case RecursionError():
            return problems.of_bad_request(BadRequest("the body is nested too deeply"))
        case StateUnavailable() | StoreUnavailable():
            return problems.unavailable(str(error), now_ms)
    place = traceback.extract_tb(error.__traceback__)[-1]  # its message may quote the prompt
    log.error("a request failed", error=type(error).__name__, at=f"{place.filename}:{place.lineno}")
    return problems.internal()
