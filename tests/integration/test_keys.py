"""Virtual keys: who a token says it is, and how soon it stops saying so (REQUIREMENTS 11, 12)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from gateway.errors import ConfigurationError, NotFound, StoreUnavailable
from gateway.keys import (
    ANONYMOUS,
    GRACE_SECONDS,
    MUST_SECONDS,
    NEW_SECONDS,
    REFRESH_SECONDS,
    USED_EVERY_SECONDS,
    KeyRing,
    Principal,
    Unauthorized,
    token_secrets,
)
from gateway.policy.money import NanoUsd, usd
from gateway.policy.rate_limits import RateLimits
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.database import conninfo
from gateway.store.keys import Key
from gateway.tokens import TokenSecrets, new_key_id
from tests.budget_world import DATABASE, ask, held, line, opened, refused
from tests.integration.databases import migrated_database
from tests.integration.waiting import until
from tests.integration.world import call, config, open_world
from tests.simulated import SimulatedProvider
from worker.keys import KeyDesk, open_key_ring, switch_of
from worker.settings import Settings
from worker.wiring import Servers

SECRET = "a secret of this test module; long enough"
SECRETS = TokenSecrets((SECRET,))


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_keys") as url:
        yield url


@pytest.fixture(scope="module")
async def store(url: str) -> AsyncIterator[Store]:
    async with await Store.connect(url) as store:
        yield store


@pytest.fixture
def desk(store: Store, authority: Authority) -> KeyDesk:
    return KeyDesk(store, authority, SECRETS, by="ann")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ring(store: Store, clock: Clock) -> AsyncIterator[KeyRing]:
    """A process that checks tokens, by a clock of its own."""
    ring = KeyRing(store.keys, SECRETS, clock=clock)
    yield ring
    await ring.close()


def key(name: str, **fields: Any) -> Key:
    return Key(new_key_id(), name, **fields)


async def why_refused(ring: KeyRing, token: str) -> str:
    with pytest.raises(Unauthorized) as refused:
        await ring.authenticate(token, "192.0.2.1")
    assert not token or token not in str(refused.value)
    return refused.value.reason


# Who it is


async def test_a_token_says_who_calls_and_what_for(desk: KeyDesk, ring: KeyRing) -> None:
    bound = key("bound", agent="coder", team="core", user="bob", rate_tier="pro", tags={"app": "ide"})
    issued = await desk.create(replace(bound, tiers=("quick",), models=("openai/gpt-5-mini",)))

    principal = await ring.authenticate(issued.token.text)

    assert principal == Principal(
        key_id=bound.id,
        name="bound",
        agent="coder",
        team="core",
        user="bob",
        tiers=frozenset({"quick"}),
        models=frozenset({"openai/gpt-5-mini"}),
        rate_tier="pro",
        roles=frozenset({"call"}),
        tags={"app": "ide"},
    )
    asks = ("quick", "openai/gpt-5-mini", "max", "openai/gpt-5.2")
    assert [principal.may_ask_for(name) for name in asks] == [True, True, False, False]


async def test_a_key_that_names_nothing_may_ask_for_everything(desk: KeyDesk, ring: KeyRing) -> None:
    tokens = [(await desk.create(each)).token for each in (key("free"), key("tiered", tiers=("quick",)))]
    free, tiered = [await ring.authenticate(token.text) for token in tokens]

    assert free.may_ask_for("max")
    assert [tiered.may_ask_for(name) for name in ("quick", "openai/gpt-5-mini")] == [True, False]


async def test_a_new_key_works_at_once(desk: KeyDesk, ring: KeyRing, clock: Clock) -> None:
    await ring.authenticate((await desk.create(key("before"))).token.text)
    issued = await desk.create(key("after"))
    clock.pass_(NEW_SECONDS * 2)
    rotated = await desk.rotate("before")

    assert (await ring.authenticate(issued.token.text)).name == "after"
    clock.pass_(NEW_SECONDS * 2)
    assert (await ring.authenticate(rotated.token.text)).name == "before"


async def test_what_is_no_token_of_ours_is_unknown(desk: KeyDesk, ring: KeyRing) -> None:
    one, other = [(await desk.create(key(f"mine{n}"))).token for n in range(2)]
    crossed = f"{one.prefix}_{other.text.rpartition('_')[2]}"

    wrong = ["sk-123", crossed, one.text[:-1] + ("a" if one.text[-1] != "a" else "b"), "curb_", "x" * 5_000]
    assert [await why_refused(ring, token) for token in wrong] == ["unknown"] * len(wrong)
    assert await why_refused(ring, "") == "missing"


async def test_without_a_key_nobody_calls_unless_that_is_switched_on(store: Store, ring: KeyRing) -> None:
    assert await why_refused(ring, "") == "missing"

    open_ring = KeyRing(store.keys, SECRETS, anonymous=ANONYMOUS)
    principal = await open_ring.authenticate("", "192.0.2.1")

    assert (principal.rate_tier, principal.roles) == ("anonymous", frozenset({"call"}))
    assert await why_refused(open_ring, "sk-123") == "unknown"
    await open_ring.close()


async def test_callers_without_a_key_may_ask_for_the_tiers_that_are_named(store: Store) -> None:
    closed = await open_key_ring(store, Settings(), RateLimits())
    opened_up = await open_key_ring(store, Settings(), RateLimits(anonymous=frozenset({"quick"})))

    assert await why_refused(closed, "") == "missing"
    anyone = await opened_up.authenticate("")
    assert [anyone.may_ask_for(name) for name in ("quick", "balanced", "openai/gpt-5-mini")] == [
        True,
        False,
        False,
    ]
    for ring in (closed, opened_up):
        await ring.close()


async def test_a_token_under_another_secret_is_unknown(desk: KeyDesk, store: Store) -> None:
    token = (await desk.create(key("elsewhere"))).token.text
    other = KeyRing(store.keys, TokenSecrets(("another secret of a server; long enough",)))

    assert await why_refused(other, token) == "unknown"
    await other.close()


async def test_a_server_without_a_secret_makes_one_and_all_processes_share_it(store: Store) -> None:
    made = await asyncio.gather(*(token_secrets(store.keys) for _ in range(5)))

    assert len({secrets.current for secrets in made}) == 1
    assert (await token_secrets(store.keys, SECRET)).current == SECRETS.current


async def test_a_token_is_nowhere_in_the_database(desk: KeyDesk, store: Store, url: str) -> None:
    tokens = [(await desk.create(key("hidden", tags={"a": "b"}))).token]
    tokens.append((await desk.rotate("hidden")).token)
    await desk.freeze("hidden", "seen in a chat")
    await desk.revoke("hidden")

    with psycopg.connect(conninfo(url)) as connection:
        tables = [
            row[0]
            for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        everything = [
            str(row)
            for table in tables
            for row in connection.execute(f"SELECT t::text FROM {table} t").fetchall()
        ]
    assert any("hidden" in row for row in everything)
    for token in tokens:
        assert not any(token.text.rpartition("_")[2] in row for row in everything)


# How it ends


async def test_an_expired_key_is_refused(desk: KeyDesk, ring: KeyRing) -> None:
    ended = await desk.create(key("ended", expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    ends = await desk.create(key("ends", expires_at=datetime.now(UTC) + timedelta(days=1)))

    assert await why_refused(ring, ended.token.text) == "expired"
    assert (await ring.authenticate(ends.token.text)).name == "ends"


async def test_a_rotated_key_has_two_tokens_until_the_overlap_ends(
    desk: KeyDesk, ring: KeyRing, clock: Clock
) -> None:
    first = await desk.create(key("rotated"))
    second = await desk.rotate("rotated", overlap_seconds=3_600)
    both = [await ring.authenticate(issued.token.text) for issued in (first, second)]
    third = await desk.rotate(first.token.prefix, overlap_seconds=0)
    clock.pass_(MUST_SECONDS)

    assert [principal.key_id for principal in both] == [first.key.id] * 2
    assert await why_refused(ring, first.token.text) == "replaced"
    assert await why_refused(ring, second.token.text) == "replaced"
    assert (await ring.authenticate(third.token.text)).key_id == first.key.id


async def test_a_longer_overlap_does_not_bring_an_ended_token_back(desk: KeyDesk, ring: KeyRing) -> None:
    first = await desk.create(key("once"))
    await desk.rotate("once", overlap_seconds=0)
    await desk.rotate("once", overlap_seconds=3_600)

    assert await why_refused(ring, first.token.text) == "replaced"


async def test_one_token_of_a_key_can_be_ended_by_itself(desk: KeyDesk, ring: KeyRing) -> None:
    first = await desk.create(key("leaked"))
    second = await desk.rotate("leaked")
    await desk.end_token("leaked", first.token.prefix)

    assert await why_refused(ring, first.token.text) == "replaced"
    assert (await ring.authenticate(second.token.text)).name == "leaked"
    with pytest.raises(NotFound, match="has no token"):
        await desk.end_token("leaked", "curb_22222222")


async def test_a_change_is_seen_before_a_picture_gets_too_old(
    desk: KeyDesk, ring: KeyRing, clock: Clock
) -> None:
    token = (await desk.create(key("changing"))).token.text
    seen = [(await ring.authenticate(token)).name]
    for change in (desk.freeze, desk.unfreeze, desk.revoke):
        await change("changing")
        clock.pass_(MUST_SECONDS)
        try:
            seen.append((await ring.authenticate(token)).name)
        except Unauthorized as refused:
            seen.append(refused.reason)

    assert MUST_SECONDS < 1
    assert seen == ["changing", "frozen", "changing", "revoked"]


async def test_a_picture_that_is_fresh_enough_is_not_asked_for_again(
    desk: KeyDesk, ring: KeyRing, clock: Clock
) -> None:
    token = (await desk.create(key("calm"))).token.text
    await ring.authenticate(token)
    await desk.freeze("calm")
    clock.pass_(REFRESH_SECONDS / 2)

    assert (await ring.authenticate(token)).name == "calm"


async def test_in_between_it_is_asked_for_beside_what_is_going_on(
    desk: KeyDesk, ring: KeyRing, clock: Clock
) -> None:
    token = (await desk.create(key("busy"))).token.text
    await ring.authenticate(token)
    await desk.freeze("busy")
    clock.pass_(REFRESH_SECONDS)
    at_once = await ring.authenticate(token)

    async def is_frozen() -> bool:
        try:
            await ring.authenticate(token)
        except Unauthorized as refused:
            return refused.reason == "frozen"
        return False

    assert at_once.name == "busy"
    await until(is_frozen)


async def test_another_process_refuses_what_is_frozen_or_revoked_here(desk: KeyDesk, url: str) -> None:
    issued = await desk.create(key("shared"))
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.key_holder", url, SECRET),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"{issued.token.text}\n".encode())

    answers = [await holder.stdout.readline()]
    for change in (desk.freeze, desk.unfreeze, desk.revoke):
        await change(issued.key.id)
        answers.append(await holder.stdout.readline())

    assert [answer.decode().strip() for answer in answers] == ["ok", "frozen", "ok", "revoked"]
    assert await holder.wait() == 0


async def test_while_postgres_is_away_known_keys_go_on_for_a_while(
    desk: KeyDesk, url: str, clock: Clock
) -> None:
    token = (await desk.create(key("patient"))).token.text
    own = await Store.connect(url)
    ring = KeyRing(own.keys, SECRETS, clock=clock)
    await ring.authenticate(token)
    await own.close()

    for seconds in (MUST_SECONDS, 60.0, GRACE_SECONDS - 90):
        clock.pass_(seconds)
        assert (await ring.authenticate(token)).name == "patient"
    clock.pass_(90)
    with pytest.raises(StoreUnavailable, match="keys cannot be read"):
        await ring.authenticate(token)
    await ring.close()


async def test_a_process_that_never_read_the_keys_lets_nobody_in(url: str) -> None:
    own = await Store.connect(url)
    await own.close()
    ring = KeyRing(own.keys, SECRETS, anonymous=ANONYMOUS)

    with pytest.raises(StoreUnavailable):
        await ring.authenticate("")
    await ring.close()


async def test_keys_of_a_restored_backup_are_read_anew(
    desk: KeyDesk, ring: KeyRing, clock: Clock, url: str
) -> None:
    early, late = [(await desk.create(key(name))).token.text for name in ("early", "late")]
    await ring.authenticate(late)
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        connection.execute("DELETE FROM api_keys WHERE name = 'late'")
        clock.pass_(MUST_SECONDS)

    assert await why_refused(ring, late) == "unknown"
    assert (await ring.authenticate(early)).name == "early"


async def test_when_a_key_was_last_used_is_kept_within_minutes(
    desk: KeyDesk, store: Store, ring: KeyRing, clock: Clock
) -> None:
    issued = await desk.create(key("used"))
    unused = (await store.keys.get(issued.key.id)).last_used_at
    await ring.authenticate(issued.token.text)
    clock.pass_(USED_EVERY_SECONDS)
    await ring.authenticate(issued.token.text)
    first = await store.keys.get(issued.key.id)
    clock.pass_(USED_EVERY_SECONDS)
    await ring.authenticate(issued.token.text)

    assert unused is None
    assert first.last_used_at is not None
    assert first.last_used_at.second == 0
    assert (await store.keys.get(issued.key.id)) == first


# What it may spend


async def test_a_keys_budget_holds_from_its_first_call(desk: KeyDesk, authority: Authority) -> None:
    issued = await desk.create(key("thrifty"), daily=NanoUsd(100), monthly=usd(5))
    scope = f"key:{issued.key.id}"

    within = await held(authority, ask("c1", 60, line(scope, None), line(scope, None, "month")))
    beyond = await refused(authority, ask("c2", 60, line(scope, None), line(scope, None, "month")))

    assert within.asked_nano_usd == 60
    assert (beyond.kind, beyond.scope, beyond.limit_nano_usd) == (RefusalKind.CONTENDED, scope, 100)


async def test_a_revoked_keys_budgets_are_gone(desk: KeyDesk, store: Store) -> None:
    issued = await desk.create(key("gone"), daily=usd(1))
    scope = f"key:{issued.key.id}"
    before = {rule.scope for rule in await store.budgets.rules()}
    await desk.revoke("gone")

    assert scope in before
    assert scope not in {rule.scope for rule in await store.budgets.rules()}


@pytest.mark.parametrize("ending", ["freeze", "revoke"])
async def test_nothing_is_bought_for_a_key_that_is_stopped(
    desk: KeyDesk, authority: Authority, ending: str
) -> None:
    """At once and whatever a process still believes: the switch is looked at by the admission itself."""
    issued = await desk.create(key(f"stopped_by_{ending}"))
    with_key = replace(ask("c1", 10), opened=replace(opened("c1", 10), key_id=issued.key.id))
    await getattr(desk, ending)(issued.key.id)

    refusal = await refused(authority, with_key)

    assert (refusal.kind, refusal.scope) == (RefusalKind.SWITCHED, f"key:{issued.key.id}")
    assert (refusal.retry_at_ms is None) == (ending == "freeze")
    await held(authority, ask("c2", 10))


async def test_a_call_in_flight_is_cut_when_its_key_is_frozen(
    desk: KeyDesk, store: Store, redis_url: str, url: str, simulator: SimulatedProvider
) -> None:
    servers = Servers(redis_url.rsplit("/", 1)[0] + f"/{DATABASE}", url)
    slow = config(simulator.url, ("balanced", ["gpt-5-mini@say-400+slow-stream-40"]))
    issued = await desk.create(key("cut"))
    async with open_world(slow, servers, simulator) as world:
        asked = call("http:cut:1")
        asked = replace(asked, caller=replace(asked.caller, key_id=issued.key.id))
        task = asyncio.create_task(world.parts.gateway.complete(asked))

        async def in_flight() -> bool:
            return world.parts.gateway.watcher.polling

        await until(in_flight)
        await KeyDesk(store, world.parts.authority, SECRETS, by="ann").freeze("cut")
        outcome = await task

    assert isinstance(outcome, Refusal)
    assert (outcome.kind, outcome.scope) == (RefusalKind.SWITCHED, f"key:{issued.key.id}")


# Handing them out


async def test_of_two_keys_of_one_name_the_second_is_refused_until_the_first_is_revoked(
    desk: KeyDesk, store: Store
) -> None:
    answers = await asyncio.gather(
        *(desk.create(key("ci"), daily=usd("1.25")) for _ in range(4)), return_exceptions=True
    )
    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    refusals = [str(answer) for answer in answers if isinstance(answer, ConfigurationError)]
    await desk.revoke("ci")
    again = await desk.create(key("ci"))

    assert (len(made), len(refusals)) == (1, 3)
    assert all(refusal.startswith("name 'ci': the key ") for refusal in refusals)
    assert again.key.id != made[0].key.id
    assert not [rule for rule in await store.budgets.rules() if rule.limit_nano_usd == usd("1.25")]


async def test_a_team_is_frozen_and_let_go_without_those_frozen_by_themselves(
    desk: KeyDesk, authority: Authority, store: Store
) -> None:
    ids = [(await desk.create(key(f"red{n}", team="red"))).key.id for n in range(3)]
    other = (await desk.create(key("blue", team="blue"))).key.id
    await desk.freeze("red0", "by itself")

    frozen = await desk.freeze_team("red")
    set_now = await authority.read_switches([switch_of(each) for each in (*ids, other)])
    thawed = await desk.unfreeze_team("red")

    assert frozen == thawed == sorted(ids[1:])
    assert set(set_now) == {switch_of(each) for each in ids}
    assert [(await store.keys.get(each)).state(datetime.now(UTC)) for each in ids] == [
        "frozen",
        "active",
        "active",
    ]
    assert await desk.unfreeze("red0")
    assert not await desk.unfreeze("red0")
    assert await authority.read_switches([switch_of(each) for each in ids]) == {}


async def test_a_revoked_key_stays_so(desk: KeyDesk, authority: Authority) -> None:
    issued = await desk.create(key("over"))
    revoked = await desk.revoke("over")

    assert await desk.revoke(issued.key.id) == revoked
    assert not await desk.unfreeze(issued.key.id)
    for change in (desk.rotate, desk.freeze):
        with pytest.raises(NotFound):
            await change(issued.key.id)
    assert await authority.read_switches([switch_of(issued.key.id)])


async def test_who_did_what_to_a_key_is_in_the_audit_log(desk: KeyDesk, store: Store) -> None:
    issued = await desk.create(key("audited", roles=("call", "admin")))
    await desk.rotate("audited")
    await desk.freeze("audited", "why")
    await desk.unfreeze("audited")
    await desk.revoke("audited")

    log = [entry for entry in await store.events.audit_log(limit=50) if entry.target == issued.key.id]
    actions = [entry.action for entry in reversed(log)]
    assert actions == ["key_create", "key_rotate", "key_freeze", "key_unfreeze", "key_revoke"]
    assert {entry.actor for entry in log} == {"ann"}
    assert issued.token.text not in json.dumps([entry.detail for entry in log])


async def test_a_role_that_is_none_is_refused(desk: KeyDesk) -> None:
    with pytest.raises(ConfigurationError, match="role 'root'"):
        await desk.create(key("rooted", roles=("root",)))
