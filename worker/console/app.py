"""The console as an ASGI application: pages, their events, and one way to act."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from importlib.resources import files
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.errors import CurbError, NotFound, StateUnavailable, StoreUnavailable
from gateway.policy.money import MoneyError
from gateway.policy.report_periods import NoSuchDay, holding
from worker.api.office import NoTemporal, Office
from worker.client import TemporalUnavailable
from worker.console.actions import act
from worker.console.figures import Gatherer
from worker.console.markup import tag
from worker.console.pages import PAGES, document, holders, sections
from worker.console.parts import Sections
from worker.console.run_page import run_sections
from worker.console.session import COOKIE, SESSION_SECONDS, Sessions, TooManyTries, Visitor, address
from worker.desk.reports import rendered
from worker.desk.runs import run_document

PATH = "/console"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
_HEADERS = {
    "content-security-policy": _POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_MOST_BYTES = 64 * 1024
_EVERY_SECONDS, _ALIVE_SECONDS, _STREAM_SECONDS = 1.0, 15.0, 3_600.0
_MOST_STREAMS = 200
_ASSETS = {"console.css": "text/css", "console.js": "text/javascript"}
_AGAIN_SECONDS = 5
_HEADLINES = {200: "Done", 404: "Not found", 503: "A server does not answer"}
Make = Callable[[Visitor], Awaitable[Sections]]


class Console:
    """The console of one process."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._sessions = Sessions(office)
        self._gatherer = Gatherer(office)
        self._streams = 0

    def routes(self) -> list[Route]:
        """Where it answers."""
        return [
            Route("/console/login", self.login, methods=["POST"]),
            Route("/console/logout", self.logout, methods=["POST"]),
            Route("/console/act", self.act, methods=["POST"]),
            Route("/console/live/runs/{run:path}", self.live_run),
            Route("/console/live/{page}", self.live),
            Route("/console/live/", self.live),
            Route("/console/runs/{run:path}", self.run),
            Route("/console/reports/{kind}/{day}", self.report),
            *(Route(f"/console/{name}", self.asset) for name in _ASSETS),
            Route("/console", self.page),
            Route("/console/{page}", self.page),
        ]

    async def page(self, request: Request) -> Response:
        """One of PAGES; the log-in for who is not known."""
        page = request.path_params.get("page", "")
        if page not in PAGES:
            return _told(request, 404, "There is no such page.")
        visitor = await self._sessions.visitor(request)
        if visitor is None:
            return _login("", 401)
        made = sections(page, await self._gatherer.now(), visitor)
        return _html(
            document(PAGES[page], holders(made), visitor=visitor, page=page, live=f"/console/live/{page}")
        )

    async def run(self, request: Request) -> Response:
        """A run's page."""
        visitor = await self._sessions.visitor(request)
        if visitor is None:
            return _login("", 401)
        run = request.path_params["run"]
        try:
            made = await self._run_made(run, visitor)
        except CurbError as error:
            return _told(request, 404 if isinstance(error, NotFound) else 503, str(error), visitor)
        live = f"/console/live/runs/{request.url.path.removeprefix('/console/runs/')}"
        return _html(document(run, holders(made), visitor=visitor, live=live))

    async def report(self, request: Request) -> Response:
        """A report as a page that can run nothing."""
        visitor = await self._sessions.visitor(request)
        if visitor is None:
            return _login("", 401)
        kind, desk = request.path_params["kind"], self._office.reports
        try:
            period = holding(
                "weekly" if kind == "weekly" else "daily",
                desk.calendar,
                date.fromisoformat(request.path_params["day"]),
            )
            text = rendered(await desk.found(period), "html", self._office.workflow_url)
        except (NoSuchDay, ValueError, CurbError) as error:
            return _told(request, 404, str(error), visitor)
        return HTMLResponse(text, headers={**_HEADERS, "content-security-policy": _REPORT_POLICY})

    async def asset(self, request: Request) -> Response:
        """Style and script."""
        name = request.url.path.rpartition("/")[2]
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        return Response(text, media_type=_ASSETS[name], headers={**_HEADERS, "cache-control": "no-cache"})

    async def login(self, request: Request) -> Response:
        """Exchange a key for a session."""
        asked = await _asked(request)
        try:
            cookie = await self._sessions.open(asked.get("key", "").strip(), address(request))
        except TooManyTries:
            return _login("Too many tries; come again in a minute.", 429)
        except CurbError as error:
            return _login(str(error), 503)
        if cookie is None:
            return _login("That is no key with the role viewer or operator.", 401)
        answer = RedirectResponse(PATH, 303, headers=_HEADERS)
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            path=PATH,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        visitor = await self._sessions.visitor(request)
        asked = await _asked(request)
        if visitor is None or not self._sessions.brings_back(visitor, request, asked.get("csrf", "")):
            return _told(request, 403, "This page is too old; load it again.", visitor)
        answer = RedirectResponse(PATH, 303, headers=_HEADERS)
        answer.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")
        return answer

    async def act(self, request: Request) -> Response:
        """Do what an operator asks, and say how it went."""
        visitor = await self._sessions.visitor(request)
        asked = await _asked(request)
        if visitor is None:
            return _told(request, 401, "The session has ended; log in again.")
        if not self._sessions.brings_back(visitor, request, asked.get("csrf", "")):
            return _told(request, 403, "This page is too old; load it again.", visitor)
        if not visitor.may_act:
            return _told(request, 403, "This needs a key with the role operator.", visitor)
        try:
            said = await act(self._office, visitor, asked)
        except (StateUnavailable, StoreUnavailable, TemporalUnavailable, NoTemporal) as error:
            return _told(request, 503, str(error), visitor)
        except (CurbError, MoneyError) as error:
            return _told(request, 422, str(error), visitor)
        self._gatherer.forget()
        return _told(request, 200, said, visitor)

    async def live(self, request: Request) -> Response:
        """The page's sections, each whenever it has changed."""
        page = request.path_params.get("page", "")
        if page not in PAGES:
            return _told(request, 404, "There is no such page.")

        async def make(visitor: Visitor) -> Sections:
            return sections(page, await self._gatherer.now(), visitor)

        return await self._stream(request, make)

    async def live_run(self, request: Request) -> Response:
        """The same for a run's page."""
        run = request.path_params["run"]
        return await self._stream(request, lambda visitor: self._run_made(run, visitor))

    async def _run_made(self, run: str, visitor: Visitor) -> Sections:
        office = self._office
        progress = await office.runs.now(run)
        found = await run_document(office.store, office.authority, progress, office.workflow_url(run))
        return run_sections(found, visitor)

    async def _stream(self, request: Request, make: Make) -> Response:
        if await self._sessions.visitor(request) is None:
            return _told(request, 401, "The session has ended; log in again.")
        if self._streams >= _MOST_STREAMS:
            return _told(request, 503, "Too many pages are open.")
        return StreamingResponse(
            self._events(request, make), media_type="text/event-stream", headers=_HEADERS
        )

    async def _events(self, request: Request, make: Make) -> AsyncIterator[str]:
        """What has changed, every second; ends with the session, or after an hour (browsers come again)."""
        self._streams += 1
        shown: Sections = {}
        in_trouble = ""
        ends_at = time.monotonic() + _STREAM_SECONDS
        told_at = time.monotonic()
        try:
            while time.monotonic() < ends_at and not await request.is_disconnected():
                said = ""
                try:
                    visitor = await self._sessions.visitor(request)
                    if visitor is None:
                        yield _event("over", {})
                        return
                    made = await make(visitor)
                except CurbError as error:  # a server of ours does not answer: it is said, and asked again
                    said = "" if str(error) == in_trouble else _event("trouble", str(error))
                    in_trouble = str(error)
                else:
                    changed = {name: html for name, html in made.items() if shown.get(name) != html}
                    said = _event("page", changed) if changed or in_trouble else ""
                    shown, in_trouble = made, ""
                if not said and time.monotonic() - told_at >= _ALIVE_SECONDS:
                    said = ": alive\n\n"
                if said:
                    told_at = time.monotonic()
                    yield said
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self._streams -= 1


def build_console(office: Office) -> Starlette:
    """Build the application."""
    return Starlette(
        routes=Console(office).routes(),
        exception_handlers={CurbError: _unavailable, Exception: _failed},
    )


async def _unavailable(request: Request, error: Exception) -> Response:
    """A server of ours does not answer: what is wrong, on a page that tries again by itself."""
    return _told(request, 503, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    """What nobody foresaw. Starlette hands the error on to whoever logs."""
    return _told(request, 500, "Something went wrong here; the log of the server says what.")


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def _asked(request: Request) -> dict[str, str]:
    """The fields of a form; none where it is too large or no form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=20))


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=_HEADERS)


def _told(request: Request, status: int, message: str, visitor: Visitor | None = None) -> Response:
    """What is said: a document for the script, a page for browsers without it."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"done": status == 200, "message": message}, status, headers=_HEADERS)
    back = tag("p", tag("a", "Back", href=PATH))
    again = _AGAIN_SECONDS if status == 503 and request.method == "GET" else None
    soon = tag("p", f"This page tries again every {again} seconds.", class_="soft") if again else None
    content = tag(
        "section",
        tag("h1", _HEADLINES.get(status, "That did not work")),
        tag("p", message),
        soon,
        back,
        class_="card",
    )
    return _html(document("curb", content, visitor=visitor, again=again), status)


def _login(problem: str, status: int) -> Response:
    fields = tag(
        "form",
        tag("label", "A key with the role viewer or operator", for_="key"),
        tag(
            "input", id="key", name="key", type="password", required=True, autofocus=True, autocomplete="off"
        ),
        tag("button", "Log in", class_="primary"),
        method="post",
        action="/console/login",
    )
    told = tag("p", problem, class_="bad", role="alert") if problem else None
    return _html(
        document(
            "Log in", tag("section", tag("h2", "Log in"), told, fields, class_="card login"), visitor=None
        ),
        status,
    )
