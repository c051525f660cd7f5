"""Many at once against one budget: never one too many, and nobody refused for the wrong reason (I2, I6)."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import pytest

from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import Period
from gateway.state.authority import Authority, Reservation
from tests.budget_world import DATABASE, Connect, amounts, ask, held, line, refused, released, settled
from tests.integration.waiting import until

SHARED_DAY = "agent:shared|day|2026-11-21"


@pytest.mark.parametrize(("mode", "others"), [("hold", "contended"), ("settle", "switched")])
async def test_fifty_clients_in_five_processes_get_exactly_what_the_budget_affords(
    authority: Authority, raw: Any, redis_url: str, mode: str, others: str
) -> None:
    """500 calls of 10 against a budget of 1,234 nano-dollars: 123 are admitted, whoever asks first."""
    await authority.apply_limits(1, {("agent:shared", Period.DAY): 1_234})
    url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    processes = [await _clients(url, f"p{n}", mode) for n in range(5)]

    async def all_ready() -> bool:
        return bool(await raw.get("curb:lead:ready") == "5")

    await until(all_ready, seconds=60)
    await raw.set("curb:lead:go", "1", ex=60)
    answers: Counter[str] = Counter()
    for process in processes:
        output, _ = await process.communicate()
        answers.update(json.loads(output))

    assert answers["admitted"] == 123
    assert answers.total() == 500
    spent_or_held = sum(await amounts(authority, SHARED_DAY))
    assert spent_or_held == 1_230
    if mode == "hold":
        assert answers == {"admitted": 123, others: 377}
    else:
        # The last nano-dollars stand in the way of all; only while calls are open is it a hold's fault.
        assert set(answers) <= {"admitted", "contended", "exhausted"}
        refusal = await refused(authority, ask("late", 10, line("agent:shared", None), agent="shared"))
        assert (refusal.kind, refusal.spent_nano_usd) == (RefusalKind.EXHAUSTED, 1_230)


async def _clients(url: str, process_id: str, mode: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.budget_clients", url, process_id, "10", "10", mode),
        stdout=asyncio.subprocess.PIPE,
    )


async def test_eight_simultaneous_first_calls_of_a_new_agent_do_not_slip_through(
    connect: Connect, authority: Authority
) -> None:
    processes = [authority, *[await connect(f"p{n}") for n in range(2, 9)]]
    asks = [ask(f"c{n}", 30, line("agent:new", 100), agent="new") for n in range(8)]

    answers = await asyncio.gather(*(p.admit(a) for p, a in zip(processes, asks, strict=True)))

    admitted = [answer for answer in answers if isinstance(answer, Reservation)]
    kinds = {answer.kind for answer in answers if isinstance(answer, Refusal)}
    assert len(admitted) == 3
    assert kinds == {RefusalKind.CONTENDED}
    assert await amounts(authority, "agent:new|day|2026-11-21") == (0, 90, 0)


async def test_nobody_is_told_exhausted_because_of_somebody_elses_hold(authority: Authority) -> None:
    """Twenty calls hold a budget that they will hardly use: whoever comes meanwhile waits seconds."""
    day = line("agent:coder", 2_000)
    answers = await asyncio.gather(*(authority.admit(ask(f"c{n}", 100, day)) for n in range(40)))
    holders = [answer for answer in answers if isinstance(answer, Reservation)]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]

    assert (len(holders), len(refusals)) == (20, 20)
    for refusal in refusals:
        assert refusal.kind is RefusalKind.CONTENDED
        assert (refusal.spent_nano_usd, refusal.held_nano_usd, refusal.limit_nano_usd) == (0, 2_000, 2_000)
    await asyncio.gather(*(authority.close_attempt(settled(holder, 3)) for holder in holders))
    again = await asyncio.gather(*(authority.admit(ask(f"d{n}", 95, day)) for n in range(20)))
    assert all(isinstance(answer, Reservation) for answer in again)


async def test_an_attempt_settled_by_many_at_once_is_settled_once(
    connect: Connect, authority: Authority
) -> None:
    day = line("agent:coder", 1_000)
    reservation = await held(authority, ask("c1", 100, day))
    processes = [await connect(f"p{n}") for n in range(5)]

    ways = [settled(reservation, 10 + n) if n else released(reservation) for n in range(5)]
    results = await asyncio.gather(*(p.close_attempt(w) for p, w in zip(processes, ways, strict=True)))

    assert Counter(results) == {"applied": 1, "already": 4}
    spent, still_held, in_doubt = await amounts(authority, "agent:coder|day|2026-11-21")
    assert (still_held, in_doubt) == (0, 0)
    assert spent == (0 if results[0] == "applied" else 10 + results.index("applied"))


async def test_of_many_retries_of_one_call_one_is_admitted(connect: Connect, authority: Authority) -> None:
    processes = [authority, *[await connect(f"p{n}") for n in range(2, 9)]]
    answers = await asyncio.gather(*(p.admit(ask("same", 10)) for p in processes))
    assert Counter(type(answer) for answer in answers) == {Reservation: 1, Refusal: 7}
    assert {a.kind for a in answers if isinstance(a, Refusal)} == {RefusalKind.IN_FLIGHT}
