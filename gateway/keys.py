"""Virtual keys: whose call is this? Tokens in, principals out.

A process keeps all keys in memory and asks Postgres what changed since, at most four times a second
and only while somebody calls. What it answers is never older than MUST_SECONDS: a key that is revoked
or frozen is refused everywhere in less than a second. (Buying stops at once: see `kill:key:ID`.)
While Postgres is down there is nothing to ask, and nobody can change a key; known keys go on working.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import structlog

from gateway.errors import CurbError, StoreUnavailable
from gateway.store.keys import Changes, Key, Keys, KeyToken
from gateway.tokens import TokenSecrets, new_secret, prefix_of

NEW_SECONDS = 0.05  # older: ask again before a token is called unknown; it may be new
REFRESH_SECONDS = 0.25  # older: ask again, beside what is going on
MUST_SECONDS = 0.75  # older: ask again, and wait for the answer
ASK_SECONDS = 2.0
PAUSE_SECONDS = 1.0  # between tries while Postgres does not answer
# The switch of a revoked key stays for as long, so that a process which cannot ask buys nothing for it.
GRACE_SECONDS = 3_600.0
USED_EVERY_SECONDS = 60.0

RateTier = Literal["", "anonymous", "free", "pro", "enterprise"]
Reason = Literal["missing", "unknown", "revoked", "expired", "replaced", "frozen"]

log = structlog.get_logger(__name__)

_SAID: dict[Reason, str] = {
    "missing": "this server wants a key: send one as `Authorization: Bearer curb_...` or `x-api-key`",
    "unknown": "there is no such key",
    "revoked": "the key was revoked",
    "expired": "the key has expired",
    "replaced": "the key was rotated, and this token of it has ended",
    "frozen": "the key is frozen",
}


class Unauthorized(CurbError):
    """Nobody may call like this. reason: why; key_id: whose token it was, '' when that is not known.

    The message never quotes the token.
    """

    def __init__(self, reason: Reason, key_id: str = "") -> None:
        super().__init__(_SAID[reason])
        self.reason: Reason = reason
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, and what for they may.

    key_id: '' without a key. agent, team, user: '' where the key is not bound to one. tiers, models:
    what may be asked for, None: all. rate_tier: which hourly limit holds.
    """

    key_id: str
    name: str
    agent: str = ""
    team: str = ""
    user: str = ""
    tiers: frozenset[str] | None = None
    models: frozenset[str] | None = None
    rate_tier: RateTier = "free"
    roles: frozenset[str] = frozenset({"call"})
    tags: Mapping[str, str] = field(default_factory=dict)

    def may_ask_for(self, name: str) -> bool:
        """Whether a tier or a deployment, by its own name and not an alias, may be asked for.

        A key with tiers alone has no deployment by name, and the other way round.
        """
        if self.tiers is None and self.models is None:
            return True
        return name in (self.tiers or ()) or name in (self.models or ())


ANONYMOUS = Principal("anonymous", "anonymous", agent="anonymous", rate_tier="anonymous")
"""Callers without a key, where they are allowed: known by their address only."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A token and whose it is."""

    token: KeyToken
    key: Key
    principal: Principal


_NOBODYS = KeyToken("", "0" * 64, "")


class KeyRing:
    """Checks tokens. One per process; safe for concurrent use.

    anonymous: who callers without a token are; None: they are refused. clock: monotonic seconds.
    """

    def __init__(
        self,
        keys: Keys,
        secrets: TokenSecrets,
        *,
        anonymous: Principal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._secrets = secrets
        self._anonymous = anonymous
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._tokens: dict[str, tuple[str, ...]] = {}  # prefixes by key
        self._version = 0
        self._asked_at: float | None = None  # when what is known was asked for
        self._now: datetime | None = None  # the database's clock, then
        self._try_at = 0.0
        self._failing = False
        self._task: asyncio.Task[None] | None = None
        self._used: set[str] = set()
        self._tell_used_at = 0.0

    async def authenticate(self, token: str, address: str = "") -> Principal:
        """Say who calls with this token ('' for none) from this address.

        Raises Unauthorized, and StoreUnavailable where keys could not be read for too long.
        """
        now = await self._fresh()
        if not token and self._anonymous is not None:
            return self._anonymous
        if not token:
            raise Unauthorized("missing")
        prefix = prefix_of(token)
        if prefix and prefix not in self._known:
            now = await self._fresh(ask_at=NEW_SECONDS, wait_at=NEW_SECONDS)
        try:
            principal = self._check(token, now)
        except Unauthorized as refused:
            log.info("a key is refused", reason=refused.reason, key_id=refused.key_id, address=address)
            raise
        self._used.add(principal.key_id)
        return principal

    async def close(self) -> None:
        """Stop asking, and keep which keys were used."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(CurbError):
            await self._tell_used()

    def _check(self, token: str, now: datetime) -> Principal:
        known = self._known.get(prefix_of(token))
        kept = known.token if known is not None else _NOBODYS
        # Compared also where nothing is known, so that a wrong prefix takes as long as a wrong token.
        matches = self._secrets.matches(token, kept.digest, kept.secret_id)
        if known is None or not matches:
            raise Unauthorized("unknown")
        state = known.key.state(now)
        if state in ("revoked", "expired"):
            raise Unauthorized(state, known.key.id)
        if kept.ends_at is not None and kept.ends_at <= now:
            raise Unauthorized("replaced", known.key.id)
        if state == "frozen":
            raise Unauthorized("frozen", known.key.id)
        return known.principal

    # Keeping up

    async def _fresh(self, *, ask_at: float = REFRESH_SECONDS, wait_at: float = MUST_SECONDS) -> datetime:
        """See to it that what is known is fresh enough; the database's time now."""
        age = self._age()
        asking = self._task is not None and not self._task.done()
        if age >= ask_at and not asking and self._clock() >= self._try_at:
            self._task = asyncio.create_task(self._refresh(), name="curb-keys")
        # While Postgres does not answer, nobody waits for it who can do without.
        waits = self._asked_at is None or (age >= wait_at and not self._failing)
        if waits and self._task is not None:
            await asyncio.shield(self._task)
        if self._asked_at is None or self._now is None or self._age() >= GRACE_SECONDS:
            raise StoreUnavailable("the keys cannot be read from Postgres")
        return self._now + timedelta(seconds=self._age())

    def _age(self) -> float:
        return float("inf") if self._asked_at is None else self._clock() - self._asked_at

    async def _refresh(self) -> None:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                changes = await self._changes()
                if self._used and asked_at >= self._tell_used_at:
                    self._tell_used_at = asked_at + USED_EVERY_SECONDS
                    await self._tell_used()
        except (CurbError, TimeoutError) as error:
            self._try_at = self._clock() + PAUSE_SECONDS
            if not self._failing:
                log.warning("keys cannot be read; known ones go on", error=str(error) or "Postgres is slow")
            self._failing = True
            return
        self._take(changes)
        self._asked_at, self._now, self._failing = asked_at, changes.at, False

    async def _changes(self) -> Changes:
        changes = await self._keys.changes(self._version)
        if changes.version >= self._version:
            return changes
        # The database is an older one than before: a backup was restored.
        self._known.clear()
        self._tokens.clear()
        return await self._keys.changes(0)

    def _take(self, changes: Changes) -> None:
        for key in changes.keys:
            for prefix in self._tokens.pop(key.id, ()):
                del self._known[prefix]
            principal = _principal(key)
            for token in key.tokens:
                self._known[token.prefix] = _Known(token, key, principal)
            self._tokens[key.id] = tuple(token.prefix for token in key.tokens)
        self._version = changes.version

    async def _tell_used(self) -> None:
        if self._used:
            used, self._used = self._used, set()
            await self._keys.used(sorted(used))


async def token_secrets(keys: Keys, configured: str = "") -> TokenSecrets:
    """The secrets of CURB_KEY_SECRET; where it is not set, one that Postgres keeps (made when first asked).

    Raises ConfigurationError, StoreUnavailable.
    """
    if configured:
        return TokenSecrets.parse(configured)
    return TokenSecrets((await keys.secret(new_secret()),))


def _principal(key: Key) -> Principal:
    return Principal(
        key_id=key.id,
        name=key.name,
        agent=key.agent,
        team=key.team,
        user=key.user,
        tiers=None if key.tiers is None else frozenset(key.tiers),
        models=None if key.models is None else frozenset(key.models),
        rate_tier=key.rate_tier,
        roles=frozenset(key.roles),
        tags=dict(key.tags),
    )
