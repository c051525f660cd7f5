"""Who looks at the console: a key, exchanged for a signed cookie that ends with the key.

The cookie names the key and its end, under an HMAC of the server's own secret: the token is in no cookie.
Whether the key still stands, and with which roles, is asked again after a second at most.
"""

import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.requests import Request

from gateway.errors import NotFound
from gateway.http.endpoint import address_of
from gateway.keys import Unauthorized
from gateway.tokens import prefix_of
from worker.api.office import Office
from worker.listening import is_loopback

COOKIE = "curb_console"
SESSION_SECONDS = 12 * 3_600
_CHECKED_SECONDS = 1.0
_MOST_CHECKED = 1_000
_TRIES, _TRIES_OF_ALL, _TRIES_SECONDS = 10, 100, 60.0
_OPERATORS = frozenset({"operator", "admin"})
_VIEWERS = _OPERATORS | {"viewer"}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. name: for the audit log. csrf: what each of their forms must bring back."""

    name: str
    may_act: bool
    csrf: str
    is_developer: bool = False


class TooManyTries(Exception):
    """Log-ins are tried too often from this address, or altogether."""


class Sessions:
    """Opens and checks sessions; one per process. clock: monotonic seconds."""

    def __init__(self, office: Office, clock: Callable[[], float] = time.monotonic) -> None:
        self._office = office
        self._clock = clock
        self._checked: dict[str, tuple[float, Visitor | None]] = {}
        self._tries: deque[tuple[float, str]] = deque(maxlen=_TRIES_OF_ALL)

    async def open(self, token: str, address: str) -> str | None:
        """The value of a cookie for this token, None where it lets nobody in. Raises TooManyTries."""
        self._count_try(address)
        try:
            if not prefix_of(token):
                return None
            found = await self._office.keys.authenticate(token, address)
        except Unauthorized:
            return None
        if not found.roles & _VIEWERS:
            return None
        value = f"{found.key_id}.{int(time.time()) + SESSION_SECONDS}.{secrets.token_urlsafe(12)}"
        return f"{value}.{self._signed('session', value)}"

    async def visitor(self, request: Request) -> Visitor | None:
        """Who asks; None: nobody who may look. In `curb dev` it is the developer."""
        cookie = request.cookies.get(COOKIE, "")
        found = await self._of_cookie(cookie) if cookie else None
        if found is None and self._office.is_open and _is_here(request):
            return Visitor("dev", True, self._signed("csrf", "dev"), is_developer=True)
        return found

    def brings_back(self, visitor: Visitor, request: Request, csrf: str) -> bool:
        """Whether an action comes from a page that was made for this visitor."""
        origin = request.headers.get("origin", "")
        own = not origin or urlsplit(origin).netloc == request.headers.get("host", "")
        is_own_site = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
        return own and is_own_site and hmac.compare_digest(csrf.encode(), visitor.csrf.encode())

    async def _of_cookie(self, cookie: str) -> Visitor | None:
        value, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signed("session", value).encode()):
            return None
        key_id, ends_at, _ = value.split(".")
        if int(ends_at) <= time.time():
            return None
        at, known = self._checked.get(value, (float("-inf"), None))
        if self._clock() - at < _CHECKED_SECONDS:
            return known
        if len(self._checked) >= _MOST_CHECKED:
            self._checked.clear()
        found = await self._standing(key_id, value)
        self._checked[value] = (self._clock(), found)
        return found

    async def _standing(self, key_id: str, value: str) -> Visitor | None:
        try:
            key = await self._office.store.keys.get(key_id)
        except NotFound:
            return None
        roles = set(key.roles)
        if key.state(datetime.now(UTC)) != "active" or not roles & _VIEWERS:
            return None
        return Visitor(key.name, bool(roles & _OPERATORS), self._signed("csrf", value))

    def _signed(self, what: str, value: str) -> str:
        return self._office.secrets.digest(f"console-{what}:{value}")

    def _count_try(self, address: str) -> None:
        since = self._clock() - _TRIES_SECONDS
        recent = [by for at, by in self._tries if at > since]
        if len(recent) >= _TRIES_OF_ALL or recent.count(address) >= _TRIES:
            raise TooManyTries
        self._tries.append((self._clock(), address))


def address(request: Request) -> str:
    """Who is at the other end of the connection."""
    return address_of(request.scope)


def _is_here(request: Request) -> bool:
    """A name that points here by somebody else's DNS is not the developer's browser asking for his page."""
    return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
