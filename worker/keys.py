"""Virtual keys as people handle them: make, rotate, revoke, freeze, each with its switch and its audit.

The command line and the admin API go through here. A token is in the answer of `create` and
`rotate`, and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.errors import ConfigurationError, NotFound
from gateway.keys import ANONYMOUS, GRACE_SECONDS, KeyRing, token_secrets
from gateway.limits import announce_limits
from gateway.policy.money import NanoUsd
from gateway.policy.rate_limits import RateLimits
from gateway.policy.scopes import Period, Scope, ScopeKind
from gateway.state.authority import Authority
from gateway.store import Rule, Store
from gateway.store.keys import Key, KeyToken
from gateway.tokens import NewToken, TokenSecrets, new_token
from worker.settings import Settings

ROLES = ("call", "viewer", "operator", "admin")
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and a token that was just made for it."""

    key: Key
    token: NewToken


class KeyDesk:
    """Hands out keys and takes them back. by: who does it, for the record."""

    def __init__(self, store: Store, authority: Authority, secrets: TokenSecrets, *, by: str) -> None:
        self._store = store
        self._authority = authority
        self._by = by
        self.secrets = secrets

    @classmethod
    async def open(cls, store: Store, authority: Authority, settings: Settings, *, by: str) -> "KeyDesk":
        """Raises ConfigurationError for a CURB_KEY_SECRET that cannot be, StoreUnavailable."""
        return cls(store, authority, await key_secrets(store, settings), by=by)

    async def create(
        self, key: Key, *, daily: NanoUsd | None = None, monthly: NanoUsd | None = None
    ) -> Issued:
        """Add a key, with its budgets in force before its token is known to anybody.

        Raises ConfigurationError for a name that is taken or a role that is none.
        """
        if unknown := [role for role in key.roles if role not in ROLES]:
            raise ConfigurationError(f"role {unknown[0]!r}: the roles are {', '.join(ROLES)}")
        await self._set_budgets(key.id, {Period.DAY: daily, Period.MONTH: monthly})
        token = new_token()
        try:
            created = await self._store.keys.create(key, self._kept(token))
        except ConfigurationError:
            await self._drop_budgets(key.id)
            raise
        await self._audit("key_create", key.id, name=key.name, prefix=token.prefix, roles=list(key.roles))
        return Issued(created, token)

    async def rotate(
        self, text: str, *, overlap_seconds: float = _DAY, expires_at: datetime | None = None
    ) -> Issued:
        """Give a key another token; the ones before it work for overlap_seconds more.

        Raises NotFound when there is no such key or it is revoked.
        """
        key, token = await self._store.keys.find(text), new_token()
        rotated = await self._store.keys.rotate(
            key.id, self._kept(token), overlap_seconds=overlap_seconds, expires_at=expires_at
        )
        await self._audit("key_rotate", key.id, prefix=token.prefix, overlap_seconds=overlap_seconds)
        return Issued(rotated, token)

    async def revoke(self, text: str) -> Key:
        """End a key for good: calls in flight are cut, and nothing is bought for it any more.

        Raises NotFound.
        """
        key = await self._store.keys.find(text)
        await self._switch(key.id, "revoked", seconds=GRACE_SECONDS)
        if await self._store.keys.revoke(key.id, by=self._by):
            await self._audit("key_revoke", key.id, name=key.name)
        await self._drop_budgets(key.id)
        return await self._store.keys.get(key.id)

    async def end_token(self, text: str, prefix: str) -> Key:
        """End one token of a key at once; its others work on. Raises NotFound."""
        key = await self._store.keys.find(text)
        if not await self._store.keys.end_token(key.id, prefix):
            raise NotFound(f"the key {key.id} has no token {prefix}; `curb keys list` has their prefixes")
        await self._audit("key_end_token", key.id, prefix=prefix)
        return await self._store.keys.get(key.id)

    async def freeze(self, text: str, reason: str = "") -> Key:
        """Stop a key until `unfreeze`: calls in flight are cut. Raises NotFound, also for a revoked one."""
        key = await self._store.keys.find(text)
        if not await self._store.keys.freeze(key.id, by=self._by):
            raise NotFound(f"the key {key.id} is revoked")
        await self._switch(key.id, reason or "frozen")
        await self._audit("key_freeze", key.id, reason=reason)
        return await self._store.keys.get(key.id)

    async def unfreeze(self, text: str) -> bool:
        """Let a frozen key go on; False when it was not frozen. Raises NotFound."""
        key = await self._store.keys.find(text)
        was_frozen = await self._store.keys.unfreeze(key.id)
        lifted = await self._lift(key)
        if was_frozen or lifted:
            await self._audit("key_unfreeze", key.id)
        return was_frozen or lifted

    async def freeze_team(self, team: str, reason: str = "") -> list[str]:
        """Freeze every key of a team that works; their ids."""
        frozen = await self._store.keys.freeze_team(team, by=self._by)
        for key_id in frozen:
            await self._switch(key_id, reason or "team_frozen")
        await self._audit("team_freeze", team, reason=reason, keys=frozen)
        return frozen

    async def unfreeze_team(self, team: str) -> list[str]:
        """Let go on what `freeze_team` stopped; their ids."""
        thawed = await self._store.keys.unfreeze_team(team)
        for key_id in thawed:
            await self._authority.clear_switch(switch_of(key_id))
        await self._audit("team_unfreeze", team, keys=thawed)
        return thawed

    def _kept(self, token: NewToken) -> KeyToken:
        digest, secret = self.secrets.digest(token.text), self.secrets.current
        return KeyToken(token.prefix, digest, secret, created_by=self._by)

    async def _switch(self, key_id: str, reason: str, *, seconds: float | None = None) -> None:
        expires_ms = None if seconds is None else int(seconds * 1000)
        value = f"manual:{self._by}:{reason.replace(' ', '_')}"
        await self._authority.set_switch(switch_of(key_id), value, expires_ms)

    async def _lift(self, key: Key) -> bool:
        """The switch of a revoked key stays until it expires."""
        return key.revoked_at is None and await self._authority.clear_switch(switch_of(key.id))

    async def _set_budgets(self, key_id: str, limits: dict[Period, NanoUsd | None]) -> None:
        stated = {period: limit for period, limit in limits.items() if limit is not None}
        for period, limit in stated.items():
            rule = Rule(_rule_name(key_id, period), _scope(key_id), period, limit)
            await self._store.budgets.put_rule(rule, by=self._by)
        if stated:
            await announce_limits(self._store, self._authority)

    async def _drop_budgets(self, key_id: str) -> None:
        names = [_rule_name(key_id, period) for period in (Period.DAY, Period.MONTH)]
        dropped = [await self._store.budgets.delete_rule(name, by=self._by) for name in names]
        if any(dropped):
            await announce_limits(self._store, self._authority)

    async def _audit(self, action: str, target: str, **detail: Any) -> None:
        await self._store.events.audit(self._by, action, target, detail)


async def key_secrets(store: Store, settings: Settings) -> TokenSecrets:
    """What tokens are kept under. Raises ConfigurationError, StoreUnavailable."""
    return await token_secrets(store.keys, _configured(settings))


async def open_key_ring(store: Store, settings: Settings, limits: RateLimits) -> KeyRing:
    """What a front door checks tokens with. Raises ConfigurationError, StoreUnavailable."""
    secrets = await key_secrets(store, settings)
    anonymous = None if limits.anonymous is None else replace(ANONYMOUS, tiers=limits.anonymous)
    return KeyRing(store.keys, secrets, anonymous=anonymous)


def switch_of(key_id: str) -> str:
    """The switch that stops whatever is bought for a key."""
    return f"kill:{_scope(key_id)}"


def budgets_of(key_ids: Sequence[str], rules: Sequence[Rule]) -> dict[str, dict[Period, int]]:
    """The limits that stand on the scopes of these keys, in nano-dollars."""
    found: dict[str, dict[Period, int]] = {key_id: {} for key_id in key_ids}
    for rule in rules:
        kind, _, key_id = rule.scope.partition(":")
        if kind == ScopeKind.KEY.value and key_id in found:
            found[key_id][rule.period] = rule.limit_nano_usd
    return found


def _configured(settings: Settings) -> str:
    return settings.key_secret.get_secret_value() if settings.key_secret is not None else ""


def _scope(key_id: str) -> str:
    return str(Scope(ScopeKind.KEY, key_id))


def _rule_name(key_id: str, period: Period) -> str:
    return f"{_scope(key_id)}/{period.value}"
