"""The providers' usage APIs, read from local servers of their shape."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from gateway.config import Provider
from gateway.policy.sums import Counts
from gateway.providers.usage_apis import usage_api
from gateway.usage import BucketSource, UsageUnavailable
from tests.integration.usage_server import ADMIN_KEY, Billed, UsageServer, usage_server

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MS = int(NOON.timestamp() * 1000)
HOUR = 3_600_000
KINDS = ["openai", "anthropic"]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UsageServer]:
    monkeypatch.setenv("TEST_ADMIN_KEY", ADMIN_KEY)
    async with usage_server() as server:
        yield server


def provider(server: UsageServer, kind: str, **changes: object) -> Provider:
    url = f"{server.url}/v1" if kind == "openai" else server.url
    made = Provider(kind, "openai", "http://unused", usage_url=url, usage_key_env="TEST_ADMIN_KEY")
    changes = {"usage_api": kind, **changes}
    return replace(made, **changes)  # type: ignore[arg-type]


def source(server: UsageServer, kind: str, **changes: object) -> BucketSource:
    found = usage_api(provider(server, kind, **changes))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_tokens_come_by_model_and_time_in_kinds_that_do_not_overlap(
    server: UsageServer, kind: str
) -> None:
    server.billed = [
        Billed(NOON, "gpt-5-mini", 10, 5, cache_read=3),
        Billed(NOON + timedelta(minutes=59), "gpt-5-mini", 1, 2),
        Billed(NOON + timedelta(minutes=60), "gpt-5-mini", 7),
        Billed(NOON, "other", 4, cache_write=3),
        Billed(NOON + timedelta(hours=3), "gpt-5-mini", 1_000),
    ]

    found = await source(server, kind).buckets(MS, MS + 3 * HOUR, "1h")

    # OpenAI has no price of its own for writing to the cache: these tokens are plain input.
    other = Counts(7) if kind == "openai" else Counts(4, cache_write=3)
    assert [(each.model, each.from_ms - MS, each.counts) for each in found] == [
        ("gpt-5-mini", 0, Counts(11, 7, 3)),
        ("other", 0, other),
        ("gpt-5-mini", HOUR, Counts(7)),
    ]
    assert [each.requests for each in found] == ([2, 1, 1] if kind == "openai" else [None] * 3)
    assert {each.to_ms - each.from_ms for each in found} == {HOUR}


@pytest.mark.parametrize("kind", KINDS)
async def test_page_after_page_is_read(server: UsageServer, kind: str) -> None:
    server.billed = [Billed(NOON + timedelta(hours=n), "m", 1) for n in range(400)]

    found = await source(server, kind).buckets(MS, MS + 400 * HOUR, "1h")

    assert len(found) == 400
    assert [given.get("page") for _, given in server.asked] == [None, ["page_168"], ["page_336"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_key_is_counted_alone_where_its_id_is_known(server: UsageServer, kind: str) -> None:
    server.billed = [Billed(NOON, "m", 1), Billed(NOON, "m", 50, key_id="key_of_others")]

    everybody = await source(server, kind).buckets(MS, MS + HOUR, "1h")
    mine = await source(server, kind, usage_api_key_id="key_curb").buckets(MS, MS + HOUR, "1h")

    assert (everybody[0].counts.input, mine[0].counts.input) == (51, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_costs_are_exact_nano_dollars_by_day(server: UsageServer, kind: str) -> None:
    server.billed = [
        Billed(NOON, "m", nano_usd=1_234_567_891),
        Billed(NOON + timedelta(hours=13), "n", nano_usd=60_000_000),
    ]

    found = await source(server, kind).costs(date(2026, 11, 19), date(2026, 11, 22))

    assert found == {date(2026, 11, 20): 1_234_567_891, date(2026, 11, 21): 60_000_000}


async def test_anthropic_s_cost_report_says_nothing_of_one_key(server: UsageServer) -> None:
    alone = source(server, "anthropic", usage_api_key_id="key_curb")

    assert await alone.costs(date(2026, 11, 20), date(2026, 11, 21)) is None
    assert server.asked == []


@pytest.mark.parametrize("kind", KINDS)
async def test_rate_limits_are_waited_for_and_not_for_ever(server: UsageServer, kind: str) -> None:
    server.billed, server.busy = [Billed(NOON, "m", 1)], 2
    assert len(await source(server, kind).buckets(MS, MS + HOUR, "1h")) == 1

    server.busy = 100
    with pytest.raises(UsageUnavailable, match="answered 429"):
        await source(server, kind).buckets(MS, MS + HOUR, "1h")
    assert server.busy == 96


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_may_not_read_usage_is_named_by_its_variable_and_never_shown(
    server: UsageServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ADMIN_KEY", "sk-secret")

    with pytest.raises(UsageUnavailable) as caught:
        await source(server, kind).buckets(MS, MS + HOUR, "1h")

    assert "answered 401: the key in TEST_ADMIN_KEY must be an admin key" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_without_a_key_there_is_no_source(server: UsageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usage_api(replace(provider(server, "openai"), usage_api="")) is None
    monkeypatch.delenv("TEST_ADMIN_KEY")
    assert usage_api(provider(server, "openai")) is None


async def test_a_key_may_stand_in_a_file(server: UsageServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{ADMIN_KEY}\n")
    server.billed = [Billed(NOON, "m", 1)]

    found = source(server, "openai", usage_key_env="", usage_key_file=str(tmp_path / "key"))

    assert len(await found.buckets(MS, MS + HOUR, "1h")) == 1
    with pytest.raises(UsageUnavailable, match="No such file"):
        usage_api(provider(server, "openai", usage_key_env="", usage_key_file=str(tmp_path / "gone")))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>", "no JSON"),
        ("[]", "a list"),
        (json.dumps({"data": [{"results": []}]}), "cannot be read"),
        (json.dumps({"data": [{"start_time": 0, "end_time": 1, "results": [{"input_tokens": -1}]}]}), "-1"),
    ],
)
async def test_what_makes_no_sense_is_no_usage(server: UsageServer, body: str, said: str) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/organization/usage/completions", nonsense)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(UsageUnavailable, match=said):
            await source(server, "openai", usage_url=url).buckets(MS, MS + HOUR, "1h")
    finally:
        await runner.cleanup()


async def test_nobody_there_is_unavailable(server: UsageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.providers.usage_apis.pages._TRIES", 1)

    with pytest.raises(UsageUnavailable, match="does not answer: ConnectError"):
        await source(server, "openai", usage_url="http://127.0.0.1:1").buckets(MS, MS + HOUR, "1h")
