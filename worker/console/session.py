"""Who looks at the console: a key, exchanged for a signed cookie that ends with the key.

The cookie names the key, the token's prefix and its end, under an HMAC of the server's own secret: the token
is in no cookie.
Whether the key still stands, and with which roles, is asked again after a second at most. While Postgres is
down nobody can end a key: who was known goes on for GRACE_SECONDS, as with calls (gateway/keys.py).
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

from gateway.errors import NotFound, StoreUnavailable
from gateway.http.endpoint import address_of
from gateway.keys import GRACE_SECONDS, Unauthorized
from gateway.store.keys import Key
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
        self._checked: dict[tuple[str, str], tuple[float, Key | None]] = {}
        self._try_at = float("-inf")  # while Postgres does not answer: when to ask again
        self._tries: deque[tuple[float, str]] = deque(maxlen=_TRIES_OF_ALL)

    async def open(self, token: str, address: str) -> str | None:
        """The value of a cookie for this token, None where it lets nobody in. Raises TooManyTries."""
        self._count_try(address)
        try:
            if not (prefix := prefix_of(token)):
                return None
            found = await self._office.keys.authenticate(token, address)
        except Unauthorized:
            return None
        if not found.roles & _VIEWERS:
            return None
        value = f"{found.key_id}.{prefix}.{int(time.time()) + SESSION_SECONDS}.{secrets.token_urlsafe(12)}"
        return f"{value}.{self._signed('session', value)}"

    async def visitor(self, request: Request) -> Visitor | None:
        """Who asks; None: nobody who may look. In `curb dev` it is the developer.

        Raises StoreUnavailable where that cannot be known.
        """
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
        key_id, prefix, ends_at, _ = value.split(".")
        if int(ends_at) <= time.time():
            return None
        key = await self._key(key_id, prefix)
        if key is None or not _stands(key, prefix, datetime.now(UTC)):
            return None
        return Visitor(key.name, bool(set(key.roles) & _OPERATORS), self._signed("csrf", value))

    async def _key(self, key_id: str, prefix: str) -> Key | None:
        """The key as it was a second ago at most, or when Postgres answered last; by token, so that a new
        one is not looked for in what is known of the key."""
        at, known = self._checked.get((key_id, prefix), (float("-inf"), None))
        now = self._clock()
        if now - at < _CHECKED_SECONDS:
            return known
        if known is not None and now < self._try_at:
            return known
        try:
            found = await self._office.store.keys.get(key_id)
        except NotFound:
            found = None
        except StoreUnavailable:
            self._try_at = self._clock() + _CHECKED_SECONDS
            if known is None or now - at > GRACE_SECONDS:
                raise
            return known
        if len(self._checked) >= _MOST_CHECKED:
            self._checked.clear()
        self._checked[key_id, prefix] = (self._clock(), found)
        return found

    def _signed(self, what: str, value: str) -> str:
        return self._office.secrets.digest(f"console-{what}:{value}")

    def _count_try(self, address: str) -> None:
        since = self._clock() - _TRIES_SECONDS
        recent = [by for at, by in self._tries if at > since]
        if len(recent) >= _TRIES_OF_ALL or recent.count(address) >= _TRIES:
            raise TooManyTries
        self._tries.append((self._clock(), address))


def _stands(key: Key, prefix: str, now: datetime) -> bool:
    """Whether the key, and the token of this prefix that was exchanged, are good for looking."""
    token = next((each for each in key.tokens if each.prefix == prefix), None)
    is_over = token is None or (token.ends_at is not None and token.ends_at <= now)
    return key.state(now) == "active" and not is_over and bool(set(key.roles) & _VIEWERS)


def address(request: Request) -> str:
    """Who is at the other end of the connection."""
    return address_of(request.scope)


def _is_here(request: Request) -> bool:
    """A name that points here by somebody else's DNS is not the developer's browser asking for his page."""
    return is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
