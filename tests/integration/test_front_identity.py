"""Real keys at the front door, and what headers say within their scopes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.store.keys import Key
from gateway.store.runs import Run
from gateway.tokens import TokenSecrets, new_key_id
from tests.integration.front import Front, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.keys import KeyDesk
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GPT = "gpt-5-mini@say-10"
SECRETS = TokenSecrets(("a secret of this test that is long enough",))


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT]))
    async with open_front(given, Servers(redis_url, database), simulator, keyring=SECRETS) as opened:
        yield opened


@pytest.fixture
def desk(front: Front) -> KeyDesk:
    parts = front.world.parts
    return KeyDesk(parts.store, parts.authority, SECRETS, by="test")


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "quick", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20, **more}


async def issued(front: Front, desk: KeyDesk, **scopes: Any) -> str:
    """The token of a new key, once the front door has heard of it."""
    key_id = new_key_id()
    token = (await desk.create(Key(key_id, f"name-{key_id}", **scopes))).token.text
    await until(lambda: _known(front, token))
    return token


async def _known(front: Front, token: str) -> bool:
    async with httpx.AsyncClient(base_url=front.url) as client:
        return (await client.get("/v1/models", headers={"x-api-key": token})).status_code == 200


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("token", ["", "curb_aaaaaaaa_wrong", "sk-something"])
async def test_without_a_good_key_nobody_calls(front: Front, path: str, token: str) -> None:
    answer = await front.post(path, asked(), {"authorization": f"Bearer {token}"} if token else None)

    assert answer.status_code == 401
    assert token not in answer.text or not token
    assert await front.held() == 0


async def test_a_key_is_taken_from_either_header_and_its_call_is_charged_to_it(
    front: Front, desk: KeyDesk
) -> None:
    key_id = new_key_id()
    token = (
        await desk.create(Key(key_id, "ci", agent="reviewer", team="core", tags={"cost": "7"}))
    ).token.text
    await until(lambda: _known(front, token))
    headers = {"x-curb-user": "alice", "x-curb-tags": "ticket=42, cost=9"}

    answer = await front.post(CHAT, asked(), {"authorization": f"Bearer {token}", **headers})
    other = await front.post(MESSAGES, asked(), {"x-api-key": token, **headers})

    assert answer.status_code == other.status_code == 200
    for call_id, path in (
        (answer.headers["x-curb-call-id"], CHAT),
        (other.headers["x-curb-call-id"], MESSAGES),
    ):
        [row] = await front.attempts(call_id)
        who = [row[name] for name in ("agent", "team", "user_id", "key_id", "endpoint")]
        assert who == ["reviewer", "core", "alice", key_id, path]
        assert row["tags"] == {"ticket": "42", "cost": "7"}
        assert f"key:{key_id}|day" in " ".join(row["counters"])
    await front.booked()


async def test_a_revoked_key_is_refused_and_a_frozen_one_too(front: Front, desk: KeyDesk) -> None:
    key_id = new_key_id()
    token = (await desk.create(Key(key_id, "short-lived"))).token.text
    headers = {"x-api-key": token}
    await until(lambda: _known(front, token))
    assert (await front.post(CHAT, asked(), headers)).status_code == 200

    await desk.freeze(key_id)
    frozen = await front.post(CHAT, asked(), headers)
    await desk.unfreeze(key_id)

    async def works_again() -> bool:
        return (await front.post(CHAT, asked(), headers)).status_code == 200

    await until(works_again)
    await desk.revoke(key_id)
    revoked = await front.post(CHAT, asked(), headers)

    assert frozen.status_code == 403

    async def unknown() -> bool:
        return (await front.post(CHAT, asked(), headers)).status_code == 401

    assert revoked.status_code in (401, 403)  # its switch, or already the key itself
    await until(unknown)
    await front.booked()


@pytest.mark.parametrize(
    ("scopes", "header"),
    [
        ({"agent": "mine"}, "x-curb-agent"),
        ({"team": "mine"}, "x-curb-team"),
        ({"user": "mine"}, "x-curb-user"),
    ],
)
async def test_what_a_key_is_bound_to_cannot_be_said_otherwise(
    front: Front, desk: KeyDesk, scopes: dict[str, str], header: str
) -> None:
    token = await issued(front, desk, **scopes)

    other = await front.post(CHAT, asked(), {"x-api-key": token, header: "another"})
    same = await front.post(CHAT, asked(), {"x-api-key": token, header: "mine"})

    assert other.status_code == 403
    assert header in other.json()["error"]["message"]
    assert same.status_code == 200
    await front.booked()


async def test_an_end_user_of_the_request_counts_where_nobody_else_is_named(
    front: Front, desk: KeyDesk
) -> None:
    free, bound = await issued(front, desk), await issued(front, desk, user="owner")

    first = await front.post(CHAT, asked(user="alice"), {"x-api-key": free})
    second = await front.post(CHAT, asked(user="alice"), {"x-api-key": free, "x-curb-user": "bob"})
    third = await front.post(CHAT, asked(user="alice"), {"x-api-key": bound})

    users = [
        (await front.attempts(each.headers["x-curb-call-id"]))[0]["user_id"]
        for each in (first, second, third)
    ]
    assert users == ["alice", "bob", "owner"]
    await front.booked()


async def test_a_call_counts_in_the_run_that_it_names_but_not_in_somebody_elses(
    front: Front, desk: KeyDesk
) -> None:
    store = front.world.parts.store
    await store.runs.open(Run(id="their-run", agent="theirs", conversation_id=""))
    token = await issued(front, desk, agent="ours")

    theirs = await front.post(CHAT, asked(), {"x-api-key": token, "x-curb-run": "their-run"})
    ours = await front.post(CHAT, asked(), {"x-api-key": token, "x-curb-run": "job-7"})

    assert theirs.status_code == 403
    [row] = await front.attempts(ours.headers["x-curb-call-id"])
    assert row["run_id"] == "job-7"
    assert "run:job-7|run|run" in row["counters"]
    await front.booked()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-curb-agent", "no such name"),
        ("x-curb-user", "a|b"),
        ("x-curb-team", "*"),
        ("x-curb-tags", "no equals sign"),
    ],
)
async def test_a_header_that_makes_no_sense_is_400_by_its_name(
    front: Front, desk: KeyDesk, header: str, value: str
) -> None:
    answer = await front.post(CHAT, asked(), {"x-api-key": await issued(front, desk), header: value})

    assert answer.status_code == 400
    assert header in answer.json()["error"]["message"]


async def test_models_are_listed_within_a_keys_scopes(front: Front, desk: KeyDesk) -> None:
    token = await issued(front, desk, models=(f"openai/{GPT}",))

    client = front.openai.with_options(api_key=token)

    assert [model.id async for model in client.models.list()] == [f"openai/{GPT}"]


@pytest.mark.parametrize("user", ["\0", "a\0b", "a\nb", "|"])
async def test_a_user_that_is_no_name_is_nobody_and_the_books_stay_whole(
    front: Front, desk: KeyDesk, user: str
) -> None:
    """Postgres takes no NUL, so a counter of such a name could never be compared."""
    headers = {"x-api-key": await issued(front, desk)}
    answer = await front.post(CHAT, json.dumps(asked(user=user)).encode(), headers)
    assert answer.status_code == 200, answer.text
    [row] = await front.attempts(answer.headers["x-curb-call-id"])
    assert row["user_id"] == ""
    await front.booked()
