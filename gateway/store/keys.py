"""Virtual keys at home: who may call, as whom, and what is kept of their tokens.

Every change that matters to whoever checks tokens gets the next version of the whole table, so that
"what changed since" is one small question.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gateway.errors import ConfigurationError, NotFound
from gateway.store import tables_keys
from gateway.store.database import Connection, Database, run

TABLES = (tables_keys.api_keys, tables_keys.api_key_tokens, tables_keys.server_secrets)
RateTier = Literal["free", "pro", "enterprise"]
KeyState = Literal["active", "expired", "frozen", "revoked"]
_SECRET = "key_tokens"


@dataclass(frozen=True, slots=True)
class KeyToken:
    """What is kept of a token. ends_at: when it was or will be replaced, None: as long as its key."""

    prefix: str
    digest: str
    secret_id: str
    created_by: str = ""
    created_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A virtual key. agent, team, user: '' is not bound. tiers, models: what it may ask for, None: all.

    version: of the table when this key last changed.
    """

    id: str
    name: str
    agent: str = ""
    team: str = ""
    user: str = ""
    tiers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    rate_tier: RateTier = "free"
    roles: tuple[str, ...] = ("call",)
    tags: Mapping[str, str] = field(default_factory=dict)
    created_by: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    frozen_at: datetime | None = None
    frozen_by: str = ""
    frozen_with_team: bool = False
    revoked_at: datetime | None = None
    revoked_by: str = ""
    last_used_at: datetime | None = None
    version: int = 0
    tokens: tuple[KeyToken, ...] = ()

    def state(self, now: datetime) -> KeyState:
        """What it is good for; the gravest reason first."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.frozen_at is None else "frozen"


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys that changed after a version. at: the database's clock when it was asked."""

    version: int
    at: datetime
    keys: tuple[Key, ...]


class Keys:
    """Keys and their tokens. by: whoever does it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, key: Key, token: KeyToken) -> Key:
        """Add a key with its first token. Raises ConfigurationError when the name is taken."""

        async def create(connection: Connection) -> Key:
            version = await _next_version(connection)
            taken = await run(connection, "key_of_name", name=key.name, id=key.id)
            if taken:
                raise ConfigurationError(
                    f"name {key.name!r}: the key {taken[0]['id']} has it; take another, or revoke that one"
                )
            await run(connection, "insert_key", **_columns(key), version=version)
            await _add_token(connection, key.id, token)
            return await _one(connection, key.id)

        return await self._database.transact(create)

    async def rotate(
        self, key_id: str, token: KeyToken, *, overlap_seconds: float, expires_at: datetime | None = None
    ) -> Key:
        """Give a key a new token; those before it work for overlap_seconds more.

        Raises NotFound for a key that is not there or is revoked.
        """

        async def rotate(connection: Connection) -> Key:
            version = await _next_version(connection)
            touched = await run(connection, "touch_key", id=key_id, version=version, expires_at=expires_at)
            if not touched:
                raise NotFound(f"no key {key_id} that is not revoked")
            await _add_token(connection, key_id, token)
            await run(connection, "end_other_tokens", id=key_id, prefix=token.prefix, seconds=overlap_seconds)
            return await _one(connection, key_id)

        return await self._database.transact(rotate)

    async def end_token(self, key_id: str, prefix: str) -> bool:
        """End one token of a key at once; False when it has none of that prefix."""

        async def end(connection: Connection) -> bool:
            version = await _next_version(connection)
            if not await run(connection, "end_token", id=key_id, prefix=prefix):
                return False
            await run(connection, "touch_key", id=key_id, version=version, expires_at=None)
            return True

        return await self._database.transact(end)

    async def revoke(self, key_id: str, *, by: str) -> bool:
        """End a key for good, with all its tokens. False: it was revoked before."""
        return bool(await self._change("revoke_key", id=key_id, by=by))

    async def freeze(self, key_id: str, *, by: str) -> bool:
        """Stop a key until `unfreeze`. False: it is revoked."""
        return bool(await self._change("freeze_key", id=key_id, by=by))

    async def unfreeze(self, key_id: str) -> bool:
        """Let a key go on. False: it was not frozen."""
        return bool(await self._change("unfreeze_key", id=key_id))

    async def freeze_team(self, team: str, *, by: str) -> list[str]:
        """Freeze every key of a team that is not frozen already; the ids of these."""
        return await self._change("freeze_team", team=team, by=by)

    async def unfreeze_team(self, team: str) -> list[str]:
        """Let go on what `freeze_team` stopped, not keys that were frozen each by itself; their ids."""
        return await self._change("unfreeze_team", team=team)

    async def find(self, text: str) -> Key:
        """The key of this id, name or token's prefix. Raises NotFound."""
        rows = await self._database.rows("find_key", text=text)
        if len(rows) != 1:
            raise NotFound(f"no key {text}; `curb keys list` has them")
        return await self.get(rows[0]["id"])

    async def get(self, key_id: str) -> Key:
        """The key of this id. Raises NotFound."""

        async def read(connection: Connection) -> Key:
            return await _one(connection, key_id)

        return await self._database.snapshot(read)

    async def everyone(self) -> tuple[Key, ...]:
        """Every key, the oldest first, also those that are revoked."""
        return (await self.changes(0)).keys

    async def changes(self, since: int) -> Changes:
        """What changed after a version of the table (0: everything)."""

        async def read(connection: Connection) -> Changes:
            [now] = await run(connection, "keys_now")
            rows = await run(connection, "keys_since", version=since) if now["version"] > since else []
            return Changes(now["version"], now["at"], await _with_tokens(connection, rows))

        return await self._database.snapshot(read)

    async def used(self, key_ids: Sequence[str]) -> None:
        """These keys were just used; kept to within some minutes."""
        await self._database.rows("keys_used", ids=list(key_ids))

    async def secret(self, made: str) -> str:
        """The server's own secret for tokens; `made` becomes it where there is none yet."""
        await self._database.rows("insert_server_secret", name=_SECRET, secret=made)
        [row] = await self._database.rows("server_secret", name=_SECRET)
        return str(row["secret"])

    async def _change(self, query: str, **parameters: Any) -> list[str]:
        async def change(connection: Connection) -> list[str]:
            version = await _next_version(connection)
            rows = await run(connection, query, version=version, **parameters)
            return sorted(row["id"] for row in rows)

        return await self._database.transact(change)


async def _next_version(connection: Connection) -> int:
    await run(connection, "lock_keys")
    [now] = await run(connection, "keys_now")
    return int(now["version"]) + 1


async def _add_token(connection: Connection, key_id: str, token: KeyToken) -> None:
    added = await run(
        connection,
        "insert_key_token",
        id=key_id,
        prefix=token.prefix,
        digest=token.digest,
        secret_id=token.secret_id,
        by=token.created_by,
    )
    if not added:
        raise ConfigurationError(f"the prefix {token.prefix} is taken by another token; make a new one")


async def _one(connection: Connection, key_id: str) -> Key:
    found = await _with_tokens(connection, await run(connection, "keys_by_id", ids=[key_id]))
    if not found:
        raise NotFound(f"no key {key_id}")
    return found[0]


async def _with_tokens(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[Key, ...]:
    tokens: dict[str, list[KeyToken]] = {row["id"]: [] for row in rows}
    for row in await run(connection, "tokens_of_keys", ids=list(tokens)) if tokens else ():
        tokens[row.pop("key_id")].append(KeyToken(**row))
    return tuple(_key(row, tuple(tokens[row["id"]])) for row in rows)


def _key(row: Mapping[str, Any], tokens: tuple[KeyToken, ...]) -> Key:
    lists = {name: None if row[name] is None else tuple(row[name]) for name in ("tiers", "models")}
    return Key(**{**row, **lists, "roles": tuple(row["roles"]), "tokens": tokens})


def _columns(key: Key) -> dict[str, Any]:
    """What insert_key takes."""
    return {
        "id": key.id,
        "name": key.name,
        "agent": key.agent,
        "team": key.team,
        "user": key.user,
        "tiers": None if key.tiers is None else list(key.tiers),
        "models": None if key.models is None else list(key.models),
        "rate_tier": key.rate_tier,
        "roles": list(key.roles),
        "tags": json.dumps(dict(key.tags)),
        "by": key.created_by,
        "expires_at": key.expires_at,
    }
