"""Errors of the admin API, in the same form as those of the model endpoints: {"error": {...}}."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from activities.reports.gathering import BooksLag
from gateway.errors import (
    ConfigurationError,
    Conflict,
    CurbError,
    NotFound,
    StateUnavailable,
    StoreUnavailable,
)
from gateway.http import problems
from gateway.http.problems import Problem
from gateway.keys import Unauthorized
from gateway.policy.money import MoneyError
from gateway.store.errors import StoreRejected
from worker.api.office import NoTemporal
from worker.client import NobodyAnswers, RunClosed, RunRefused, TemporalUnavailable

log = structlog.get_logger(__name__)

Handler = Callable[[Request, Any], Coroutine[Any, Any, JSONResponse]]


class Wrong(CurbError):
    """What was sent cannot be done. field: which part of it."""

    def __init__(self, message: str, field: str = "", *, status: int = 422, code: str = "invalid") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.status, self.code = field, status, code


class ErrorBody(BaseModel):
    """What went wrong. param: the field that is meant, null for none; retry_at: when to come again."""

    message: str
    type: str
    code: str
    param: str | None = None
    retry_at: str | None = None


class ErrorAnswer(BaseModel):
    """The body of every answer that is none of 2xx."""

    error: ErrorBody


_STATUSES: Mapping[type[CurbError], tuple[int, str]] = {
    NotFound: (404, "not_found"),
    ConfigurationError: (422, "invalid"),
    StoreRejected: (422, "invalid"),
    Conflict: (409, "conflict"),
    RunClosed: (409, "run_ended"),
    RunRefused: (409, "refused"),
    NobodyAnswers: (503, "no_worker"),
    TemporalUnavailable: (503, "unavailable"),
    NoTemporal: (503, "no_temporal"),
    BooksLag: (503, "books_lag"),
    StateUnavailable: (503, "unavailable"),
    StoreUnavailable: (503, "unavailable"),
}


def handle_problems(app: FastAPI) -> None:
    """Have every error answered in one form."""
    app.add_exception_handler(CurbError, _of_curb)
    app.add_exception_handler(MoneyError, _of_money)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_anything)


async def _of_curb(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Unauthorized):
        return answer(problems.of_unauthorized(error))
    if isinstance(error, Wrong):
        return answer(Problem(error.status, str(error), error.code, error.field))
    for kind, (status, code) in _STATUSES.items():
        if isinstance(error, kind):
            retry_at = time.time_ns() // 1_000_000 + 1_000 if status == 503 else None
            return answer(Problem(status, str(error), code, "", retry_at))
    return await _of_anything(request, error)


async def _of_money(request: Request, error: Exception) -> JSONResponse:
    return answer(Problem(422, str(error), "invalid"))


async def _of_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return answer(Problem(422, f"{field}: {first['msg']}", "invalid", field))


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    known = {404: "nothing is here", 405: "this method is not for this path"}
    said = f"{request.method} {request.url.path}: {known.get(error.status_code, error.detail)}"
    code = "not_found" if error.status_code == 404 else "invalid"
    made = answer(Problem(error.status_code, said, code))
    made.headers.update(error.headers or {})
    return made


async def _of_anything(request: Request, error: Exception) -> JSONResponse:
    log.error("an admin request failed", path=request.url.path, exc_info=error)
    return answer(problems.internal())


def answer(problem: Problem) -> JSONResponse:
    """A problem as clients read it."""
    headers = problem.headers(time.time_ns() // 1_000_000)
    return JSONResponse(problem.as_json("openai"), status_code=problem.status, headers=headers)
