"""Who asks the admin API, and what for they may."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import Request

from gateway.http.endpoint import address_of, headers_of, token_in
from gateway.keys import Principal
from gateway.tokens import prefix_of
from worker.api.office import Office
from worker.api.problems import Wrong
from worker.listening import is_loopback

Role = Literal["viewer", "operator", "admin"]
_RANK: dict[str, int] = {"viewer": 1, "operator": 2, "admin": 3}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. name: for switches, top-ups and the audit log."""

    principal: Principal

    @property
    def name(self) -> str:
        return self.principal.name


def allowed(office: Office, role: Role) -> Callable[[Request], Coroutine[Any, Any, Person]]:
    """A dependency that lets in whoever has this role, or a higher one.

    It raises Unauthorized (401), and Wrong (403).
    """

    async def person(request: Request) -> Person:
        headers = headers_of(request.scope)
        token = token_in(headers)
        if office.is_open and not prefix_of(token):
            _from_this_machine(headers)
        principal = await office.keys.authenticate(token, address_of(request.scope))
        rank = max((_RANK.get(each, 0) for each in principal.roles), default=0)
        if rank < _RANK[role]:
            raise Wrong(f"this needs a key with the role {role}", status=403, code="forbidden")
        return Person(principal)

    return person


def _from_this_machine(headers: dict[str, str]) -> None:
    """The developer is let in without a key, so no page of another site may ask in his name."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    origin = headers.get("origin", "")
    own = not origin or urlsplit(origin).netloc == headers.get("host", "")
    if (
        not is_loopback(host)
        or not own
        or headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    ):
        raise Wrong("requests of other sites need a key", status=403, code="forbidden")
