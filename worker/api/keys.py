"""Virtual keys, and what stops them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from gateway.policy.money import usd
from gateway.store.keys import Key as StoredKey
from gateway.tokens import new_key_id
from worker.api.access import Person, allowed
from worker.api.documents import IssuedKey, Key, KeyIds, Keys, NewKey, Reason, Rotation
from worker.api.office import Office
from worker.desk.keys import key_documents, with_known_models
from worker.keys import Issued, KeyDesk

KeyName = Annotated[
    str,
    Path(max_length=200, pattern=r"^[^\x00]+$", description="Its id, its name, or the prefix of its token."),
]
TeamName = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$")]


def keys(office: Office) -> APIRouter:
    """The endpoints; all of them for admins."""
    router = APIRouter(tags=["keys"])
    admin = Depends(allowed(office, "admin"))

    @router.get("/admin/api_keys")
    @router.get("/api/v1/keys")
    async def everyone(
        person: Annotated[Person, admin],
        team: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
        revoked: Annotated[bool, Query(description="Those that were revoked, too.")] = False,
    ) -> Keys:
        """The keys there are, never their tokens."""
        found = [
            key
            for key in await office.store.keys.everyone()
            if (not team or key.team == team) and (revoked or key.revoked_at is None)
        ]
        return Keys(keys=await _documents(office, found))

    @router.post("/admin/api_keys", status_code=201)
    @router.post("/api/v1/keys", status_code=201)
    async def create(asked: NewKey, person: Annotated[Person, admin]) -> IssuedKey:
        """Make a key, with its budgets in force before its token is known to anybody."""
        key = with_known_models(_stored(asked, person), office.config.gateway)
        issued = await _desk(office, person).create(
            key,
            daily=usd(asked.daily_usd) if asked.daily_usd else None,
            monthly=usd(asked.monthly_usd) if asked.monthly_usd else None,
        )
        return await _issued(office, issued)

    @router.get("/api/v1/keys/{key}")
    async def one(key: KeyName, person: Annotated[Person, admin]) -> Key:
        """One key."""
        return await _document(office, await office.store.keys.find(key))

    @router.post("/api/v1/keys/{key}/rotate")
    async def rotate(
        key: KeyName, person: Annotated[Person, admin], asked: Rotation | None = None
    ) -> IssuedKey:
        """Give a key another token; those before it work on for a while."""
        overlap = (asked or Rotation()).overlap_seconds
        return await _issued(office, await _desk(office, person).rotate(key, overlap_seconds=overlap))

    @router.post("/api/v1/keys/{key}/revoke")
    async def revoke(key: KeyName, person: Annotated[Person, admin]) -> Key:
        """End a key for good: calls in flight are cut."""
        return await _document(office, await _desk(office, person).revoke(key))

    @router.post("/api/v1/keys/{key}/freeze")
    async def freeze(key: KeyName, person: Annotated[Person, admin], asked: Reason | None = None) -> Key:
        """Stop a key until it is unfrozen: calls in flight are cut."""
        return await _document(office, await _desk(office, person).freeze(key, (asked or Reason()).reason))

    @router.post("/api/v1/keys/{key}/unfreeze")
    async def unfreeze(key: KeyName, person: Annotated[Person, admin]) -> Key:
        """Let a key go on."""
        await _desk(office, person).unfreeze(key)
        return await _document(office, await office.store.keys.find(key))

    @router.post("/api/v1/teams/{team}/freeze")
    async def freeze_team(
        team: TeamName, person: Annotated[Person, admin], asked: Reason | None = None
    ) -> KeyIds:
        """Stop every key of a team; those that were frozen by this."""
        return KeyIds(keys=await _desk(office, person).freeze_team(team, (asked or Reason()).reason))

    @router.post("/api/v1/teams/{team}/unfreeze")
    async def unfreeze_team(team: TeamName, person: Annotated[Person, admin]) -> KeyIds:
        """Let go on what freezing the team stopped."""
        return KeyIds(keys=await _desk(office, person).unfreeze_team(team))

    return router


def _desk(office: Office, person: Person) -> KeyDesk:
    return KeyDesk(office.store, office.authority, office.secrets, by=person.name)


def _stored(asked: NewKey, person: Person) -> StoredKey:
    days = asked.expires_in_days
    return StoredKey(
        id=new_key_id(),
        name=asked.name,
        agent=asked.agent,
        team=asked.team,
        user=asked.user,
        tiers=tuple(asked.tiers) if asked.tiers else None,
        models=tuple(asked.models) if asked.models else None,
        rate_tier=asked.rate_tier,
        roles=tuple(dict.fromkeys(asked.roles)),
        tags=asked.tags,
        created_by=person.name,
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
    )


async def _documents(office: Office, found: list[StoredKey]) -> list[Key]:
    documents = await key_documents(office.store, office.secrets, found)
    return [Key.model_validate(document) for document in documents]


async def _document(office: Office, key: StoredKey) -> Key:
    [document] = await _documents(office, [key])
    return document


async def _issued(office: Office, issued: Issued) -> IssuedKey:
    [document] = await key_documents(office.store, office.secrets, [issued.key])
    return IssuedKey.model_validate({**document, "token": issued.token.text, "prefix": issued.token.prefix})
