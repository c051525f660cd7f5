"""Reconciliation with providers that tell sums only: what they decide, what is shown, what stays open."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from gateway.aggregated.follow import SumReport, follow_sums
from gateway.config import GatewayConfig, Provider
from gateway.drainer import Drainer
from gateway.policy.sums import SumRules
from gateway.providers.usage_apis import usage_api
from gateway.rebuild import Rebuilder
from gateway.reconcile import resolve
from gateway.state.values import Reservation
from gateway.store import AttemptRow
from gateway.usage import BucketSource
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import migrated_database
from tests.integration.usage_server import ADMIN_KEY, Billed, UsageServer, usage_server

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
LATER = NOON + timedelta(hours=37)
RULES = SumRules()
MODEL = "gpt-5-mini"
NANO_IN, NANO_OUT = 250, 2_000  # a token, at the list price
_CALLS = itertools.count()


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_aggregated") as url:
        yield url


@pytest.fixture(scope="module")
async def opened(redis_url: str, url: str) -> AsyncIterator[Books]:
    """Admission is open and a drainer works."""
    async with open_books(redis_url, url) as books:
        task = asyncio.create_task(Drainer(books.authority, books.store, "d").run())
        assert await Rebuilder(books.authority, books.store, books.authority.process_id).round()
        yield books
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def scene(opened: Books, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Scene"]:
    """Books in which nothing is in doubt, beside a provider that has billed nothing."""
    monkeypatch.setenv("TEST_ADMIN_KEY", ADMIN_KEY)
    async with (
        usage_server() as server,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as database,
    ):
        await Drainer(opened.authority, opened.store, "t").drain_all(within_seconds=10)
        await database.execute("TRUNCATE attempts, events, unattributed_usage, provider_costs")
        yield Scene(opened, server, database)


@dataclass
class Scene:
    """What a test does with the books and the provider."""

    books: Books
    server: UsageServer
    database: "psycopg.AsyncConnection[Any]"

    def source(self, **changes: object) -> BucketSource:
        provider = Provider(
            "openai",
            "openai",
            "http://unused",
            usage_api="openai",
            usage_url=f"{self.server.url}/v1",
            usage_key_env="TEST_ADMIN_KEY",
            exclusive_key=True,
        )
        found = usage_api(replace(provider, **changes))  # type: ignore[arg-type]
        assert found is not None
        return found

    async def follow(self, *sources: BucketSource, now: datetime = LATER) -> SumReport:
        config = GatewayConfig(providers={}, deployments={}, tiers=())
        chosen = sources or (self.source(),)
        return await follow_sums(self.books.authority, self.books.store, chosen, config, RULES, now=now)

    async def admit(self, asked: int, call: str = "sums") -> Reservation:
        ask = self.books.ask(f"{call}-{next(_CALLS)}", asked)
        opened = replace(ask.opened, provider="openai", model=MODEL, deployment=f"openai/{MODEL}")
        reservation = await self.books.authority.admit(replace(ask, opened=opened))
        assert isinstance(reservation, Reservation)
        return reservation

    async def bought(self, input: int, output: int, *, at: datetime = NOON) -> str:
        """A call that was answered."""
        held = await self.admit(10**9)
        cost = input * NANO_IN + output * NANO_OUT
        await self.books.settle(held, cost, input_tokens=input, output_tokens=output)
        return await self._at(held.attempt_id, at)

    async def doubt(
        self, *, estimate: int = 0, bound: int = 10**9, at: datetime = NOON, call: str = "sums"
    ) -> str:
        """A call that was cut."""
        held = await self.admit(bound, call)
        cut = settlement(held.attempt_id, state="in_doubt", estimate_nano_usd=estimate, status="timeout")
        await self.books.authority.close_attempt(cut)
        return await self._at(held.attempt_id, at)

    async def _at(self, attempt_id: str, at: datetime) -> str:
        """As if it had been at that time."""
        assert await Drainer(self.books.authority, self.books.store, "t").drain_all(within_seconds=10)
        await self.database.execute(
            "UPDATE attempts SET (at, done_at, in_doubt_at) = (%(at)s, %(at)s, %(at)s)"
            " WHERE attempt_id = %(id)s",
            {"at": at, "id": attempt_id},
        )
        return attempt_id

    def bill(self, input: int, output: int, *, at: datetime = NOON, model: str = MODEL, **more: Any) -> None:
        nano = input * NANO_IN + output * NANO_OUT
        self.server.billed.append(Billed(at, model, input, output, **{"nano_usd": nano, **more}))

    async def row(self, attempt_id: str) -> AttemptRow:
        row = await self.books.store.attempts.get(attempt_id)
        assert row is not None
        return row

    async def costs(self, *attempt_ids: str) -> list[int]:
        """What is booked for these, -1 for what is in doubt."""
        booked = await self.books.store.attempts.booked(attempt_ids)
        return [
            booked[each].ledger_nano_usd if booked[each].state == "settled" else -1 for each in attempt_ids
        ]

    async def counted(self) -> list[tuple[int, int]]:
        """(spent, in doubt) of every counter."""
        counters = await self.books.authority.budgets()
        return [(each.spent_nano_usd, each.in_doubt_nano_usd) for each in counters]

    async def told(self, rule: str) -> list[dict[str, Any]]:
        return [alert.evidence for alert in await self.books.store.events.alerts(rule=rule)]


async def test_one_doubt_is_the_rest_of_its_minutes(scene: Scene) -> None:
    known, doubt = await scene.bought(100, 10), await scene.doubt(estimate=5)
    scene.bill(100, 10)
    scene.bill(40, 7, model=f"{MODEL}-2025-08-07")
    before = await scene.counted()

    report = await scene.follow()

    assert await scene.costs(known, doubt) == [45_000, 24_000]
    row = await scene.row(doubt)
    assert (row["basis"], row["status"], row["input_tokens"], row["output_tokens"]) == (
        "invoice",
        "timeout",
        40,
        7,
    )
    assert row["provider_usage"] == {"source": "usage_api", "shared_by": 1}
    assert (report.settled, report.followed, report.undecided) == (1, ["openai"], {})
    assert await scene.counted() == [(spent + 24_000, doubted - 10**9) for spent, doubted in before]


async def test_nothing_beyond_the_books_means_that_nothing_was_bought(scene: Scene) -> None:
    known, one, two = await scene.bought(100, 10), await scene.doubt(), await scene.doubt()
    scene.bill(100, 10)

    await scene.follow()

    assert await scene.costs(known, one, two) == [45_000, 0, 0]


async def test_a_batch_that_may_still_run_is_not_taken_for_nothing(scene: Scene) -> None:
    """Its provider works on it for a day: that its first minutes show nothing says nothing."""
    batch = await scene.doubt(estimate=500, call="batch:k")

    report = await scene.follow()

    assert report.settled == 0
    assert (await scene.row(batch))["state"] == "in_doubt"


async def test_a_call_beside_a_batch_that_runs_does_not_pay_for_it(scene: Scene) -> None:
    batch = await scene.admit(10**9, "batch:k")
    await scene._at(batch.attempt_id, NOON - timedelta(hours=8))
    doubt = await scene.doubt(estimate=500)
    scene.bill(1_000, 100)

    report = await scene.follow()

    assert report.settled == 0
    assert (await scene.row(doubt))["state"] == "in_doubt"
    await scene.books.settle(batch, 0)


async def test_several_share_the_rest_exactly(scene: Scene) -> None:
    one, two = await scene.doubt(estimate=2_000), await scene.doubt(estimate=1_000)
    scene.bill(8, 0)
    scene.bill(0, 1)

    report = await scene.follow()

    assert sum(await scene.costs(one, two)) == 4_000
    assert await scene.costs(one, two) == [2_667, 1_333]
    assert (await scene.row(one))["provider_usage"]["shared_by"] == 2
    assert report.settled == 2


async def test_calls_at_other_times_are_told_apart(scene: Scene) -> None:
    """The doubt is alone with the hour in which nothing else was."""
    early, late = await scene.doubt(at=NOON), await scene.doubt(at=NOON + timedelta(minutes=40))
    scene.bill(8, 0, at=NOON + timedelta(minutes=4))
    scene.bill(0, 3, at=NOON + timedelta(minutes=41))

    await scene.follow()

    assert await scene.costs(early, late) == [2_000, 6_000]
    widths = [given["bucket_width"] for path, given in scene.server.asked if "completions" in path]
    assert widths == [["1h"], ["1m"]]  # both in one page of minutes


async def test_what_was_settled_at_its_estimate_is_corrected(scene: Scene) -> None:
    doubt = await scene.doubt(estimate=9_000)
    await resolve(scene.books.authority, scene.books.store, estimate_after_seconds=0)
    await scene._at(doubt, NOON)
    assert await scene.costs(doubt) == [9_000]
    scene.bill(8, 0)

    first, second = await scene.follow(), await scene.follow()

    assert await scene.costs(doubt) == [2_000]
    assert (first.adjusted, second.adjusted) == (1, 0)


async def test_a_doubt_and_an_estimate_share_the_rest_once(scene: Scene) -> None:
    estimated = await scene.doubt(estimate=7)
    await resolve(scene.books.authority, scene.books.store, estimate_after_seconds=0)
    await scene._at(estimated, NOON)
    doubt = await scene.doubt(estimate=4)
    scene.bill(3, 2)

    for _ in range(3):
        await scene.follow()

    assert sum(await scene.costs(estimated, doubt)) == 3 * NANO_IN + 2 * NANO_OUT


async def test_following_twice_and_at_once_books_once(scene: Scene) -> None:
    before = await scene.counted()
    doubts = [await scene.doubt(estimate=n) for n in range(1, 6)]
    scene.bill(1_000, 0)

    reports = await asyncio.gather(*(scene.follow() for _ in range(3)))
    again = await scene.follow()

    assert sum(await scene.costs(*doubts)) == 250_000
    assert again.settled == 0
    assert all(report.unattributed_nano_usd == 0 for report in [*reports, again])
    assert await scene.counted() == [(spent + 250_000, doubted) for spent, doubted in before]


async def test_a_key_that_others_use_too_decides_nothing(scene: Scene) -> None:
    doubt = await scene.doubt(bound=5_000)
    scene.bill(8, 0)
    scene.bill(1_000, 0)

    report = await scene.follow(scene.source(exclusive_key=False))

    assert await scene.costs(doubt) == [-1]
    assert report.unattributed_nano_usd == 252_000 - 5_000  # what may be the doubt's own is not counted
    assert await scene.told("usage_unattributed") == []
    [shown] = await scene.books.store.reconciliations.unattributed(NOON.date(), NOON.date())
    assert (shown.model, shown.exclusive, shown.amount_nano_usd) == (MODEL, False, 247_000)


async def test_more_than_was_held_stays_in_doubt_and_is_shown(scene: Scene) -> None:
    doubt = await scene.doubt(bound=5_000)
    scene.bill(100, 0)

    report = await scene.follow()

    assert await scene.costs(doubt) == [-1]
    assert report.undecided == {"the provider reports more than was held": 1}
    [evidence] = await scene.told("usage_unattributed")
    assert (evidence["provider"], evidence["model"], evidence["day"]) == ("openai", MODEL, str(NOON.date()))
    assert evidence["amount_nano_usd"] == 20_000


async def test_requests_that_curb_does_not_know_leave_a_doubt_open(scene: Scene) -> None:
    doubt = await scene.doubt()
    scene.bill(8, 0)
    scene.bill(8, 0)

    report = await scene.follow()

    assert await scene.costs(doubt) == [-1]
    assert report.undecided == {"the provider counts requests that no attempt explains": 1}


async def test_usage_that_nobody_explains_is_shown_told_once_and_never_booked(scene: Scene) -> None:
    await scene.bought(100, 10)
    scene.bill(100, 10)
    scene.bill(1_000, 0, at=NOON + timedelta(hours=2))
    before = await scene.books.store.attempts.totals()

    await scene.follow()
    report = await scene.follow()

    assert report.unattributed_nano_usd == 250_000
    assert len(await scene.told("usage_unattributed")) == 1
    assert await scene.books.store.attempts.totals() == before
    scene.bill(100_000, 0)  # it grows
    await scene.follow()
    assert [each["input_tokens"] for each in await scene.told("usage_unattributed")] == [101_000, 1_000]


async def test_what_is_explained_at_last_is_shown_no_more(scene: Scene) -> None:
    scene.bill(100, 10)
    await scene.follow()
    await scene.bought(100, 10)

    report = await scene.follow()

    assert report.unattributed_nano_usd == 0
    assert await scene.books.store.reconciliations.unattributed(NOON.date(), NOON.date()) == []


async def test_what_is_booked_beyond_the_providers_word_is_told(scene: Scene) -> None:
    await scene.bought(100, 10)
    await scene.bought(1_000, 0)
    scene.bill(100, 10)

    await scene.follow()

    [evidence] = await scene.told("invoice_differs")
    assert (evidence["booked_beyond_nano_usd"], evidence["input_tokens"]) == (250_000, 1_000)


async def test_a_day_that_the_provider_may_still_count_is_not_held_against_it(scene: Scene) -> None:
    await scene.bought(100, 10)

    await scene.follow(now=NOON + timedelta(hours=14))

    assert await scene.told("invoice_differs") == []


async def test_dollars_that_differ_from_the_ledger_are_told(scene: Scene) -> None:
    """The tokens agree, the price does not."""
    await scene.bought(4_000_000, 0)
    scene.bill(4_000_000, 0, nano_usd=2 * 10**9)

    await scene.follow()

    [evidence] = await scene.told("invoice_differs")
    assert (evidence["invoice_nano_usd"], evidence["ledger_nano_usd"]) == (2 * 10**9, 10**9)
    [costs] = await scene.books.store.reconciliations.costs(NOON.date(), NOON.date())
    assert (costs.billed_nano_usd, costs.ledger_nano_usd, costs.tolerance_nano_usd) == (
        2 * 10**9,
        10**9,
        2 * 10**7,
    )


async def test_dollars_that_agree_are_kept_and_not_told(scene: Scene) -> None:
    await scene.bought(4_000_000, 0)
    scene.bill(4_000_000, 0)

    await scene.follow()

    assert await scene.told("invoice_differs") == []
    assert len(await scene.books.store.reconciliations.costs(NOON.date(), NOON.date())) == 1


@pytest.mark.parametrize(
    ("hours", "witness", "settled"),
    [(1, True, False), (4, False, False), (4, True, True), (13, False, True)],
)
async def test_a_doubt_waits_until_the_provider_has_counted(
    scene: Scene, hours: int, witness: bool, settled: bool
) -> None:
    """Old enough, and something later is reported, or so old that nothing more will come."""
    doubt = await scene.doubt()
    scene.bill(8, 0)
    if witness:
        scene.bill(1, 0, at=NOON + timedelta(hours=2), model="another")

    report = await scene.follow(now=NOON + timedelta(hours=hours))

    assert (await scene.costs(doubt) == [2_000]) is settled
    assert report.settled == settled


async def test_one_provider_that_does_not_answer_keeps_nobody_from_the_others(scene: Scene) -> None:
    doubt = await scene.doubt()
    scene.bill(8, 0)
    broken = replace(scene.source().source, name="broken", usage_url=f"{scene.server.url}/nothing")  # type: ignore[attr-defined]
    other = usage_api(broken)
    assert other is not None

    report = await scene.follow(other, scene.source())

    assert await scene.costs(doubt) == [2_000]
    assert report.followed == ["openai"]
    assert "answered 404" in report.unavailable["broken"]
