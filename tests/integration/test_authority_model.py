"""The counters against a model in plain Python, over random histories."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from gateway.policy.money import MAX_NANO_USD
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import BudgetLine
from gateway.state.authority import Ask, Authority, EpochSnapshot, Reservation
from tests.budget_world import DATABASE, ask, doubted, lapse, line, released, settled
from tests.budget_world import settings as authority_settings

AMOUNTS = st.one_of(st.integers(0, 50), st.integers(0, MAX_NANO_USD // 1_000), st.just(10**15 + 1))
LIMITS = {"agent:a": 120, "agent:b": 2 * 10**15, "team:core": None, "global": 4 * 10**15}


class Attempt:
    """What the model knows of an attempt. state: held, in_doubt or closed."""

    def __init__(self, reservation: Reservation, lines: list[str]) -> None:
        self.reservation = reservation
        self.scopes = lines
        self.amount = reservation.asked_nano_usd
        self.state = "held"


class BudgetMachine(RuleBasedStateMachine):
    """Each rule does one thing to Redis and the same to the model; the invariant compares them."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.raw: Any = None
        self.authority: Authority = self.runner.run(self._open())
        self.spent: Counter[str] = Counter()
        self.topped: Counter[str] = Counter()
        self.attempts: list[Attempt] = []
        self.calls = 0

    async def _open(self) -> Authority:
        self.raw = Redis.from_url(self.url, decode_responses=True)
        await self.raw.flushdb()
        authority = await Authority.connect(self.url, process_id="p1", config=authority_settings())
        await authority.open_epoch(EpochSnapshot(epoch=1))
        return authority

    def teardown(self) -> None:
        self.runner.run(self.authority.close())
        self.runner.run(self.raw.aclose())
        self.runner.close()

    # What the model says

    def sums(self, state: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for attempt in self.attempts:
            if attempt.state == state:
                found.update(dict.fromkeys(attempt.scopes, attempt.amount))
        return found

    def verdict(self, scopes: list[str], asked: int) -> RefusalKind | None:
        kinds = {self.verdict_of(scope, asked) for scope in scopes}
        hardest = (RefusalKind.NEVER_FITS, RefusalKind.EXHAUSTED, RefusalKind.CONTENDED)
        return next((kind for kind in hardest if kind in kinds), None)

    def verdict_of(self, scope: str, asked: int) -> RefusalKind | None:
        base = LIMITS[scope]
        if base is None:
            return None
        limit = base + self.topped[scope]
        others = self.sums("held")[scope] + self.sums("in_doubt")[scope]
        if self.spent[scope] + others + asked <= limit:
            return None
        if asked > limit:
            return RefusalKind.NEVER_FITS
        return RefusalKind.EXHAUSTED if self.spent[scope] + asked > limit else RefusalKind.CONTENDED

    def pick(self, index: int, *states: str) -> Attempt | None:
        found = [attempt for attempt in self.attempts if attempt.state in states]
        return found[index % len(found)] if found else None

    # What may happen

    @rule(agent=st.sampled_from("ab"), team=st.booleans(), asked=AMOUNTS)
    def admit(self, agent: str, team: bool, asked: int) -> None:
        self.calls += 1
        scopes = [f"agent:{agent}", *(["team:core"] if team else []), "global"]
        expected = self.verdict(scopes, asked)
        answer = self.runner.run(self.authority.admit(self.ask(agent, scopes, asked)))
        if isinstance(answer, Refusal):
            assert answer.kind is expected, str(answer)
            scope = answer.scope
            quoted = (answer.spent_nano_usd, answer.held_nano_usd, answer.in_doubt_nano_usd)
            assert quoted == (self.spent[scope], self.sums("held")[scope], self.sums("in_doubt")[scope])
        else:
            assert expected is None
            self.attempts.append(Attempt(answer, scopes))

    def ask(self, agent: str, scopes: list[str], asked: int) -> Ask:
        lines: list[BudgetLine] = [line(scope, LIMITS[scope]) for scope in scopes]
        return ask(f"c{self.calls}", asked, *lines, agent=agent, daily_switch=False)

    @rule(index=st.integers(0, 100), cost=AMOUNTS, again=st.booleans())
    def settle(self, index: int, cost: int, again: bool) -> None:
        attempt = self.pick(index, "held", "in_doubt")
        if attempt is None:
            return
        cost = min(cost, attempt.amount) if cost > 10**12 else cost  # over the bound, but not by millions
        assert self.close(settled(attempt.reservation, cost)) == "applied"
        attempt.state = "closed"
        self.spent.update(dict.fromkeys(attempt.scopes, cost))
        if again:
            assert self.close(settled(attempt.reservation, cost + 1)) == "already"

    @rule(index=st.integers(0, 100))
    def release(self, index: int) -> None:
        attempt = self.pick(index, "held", "in_doubt")
        if attempt is not None:
            assert self.close(released(attempt.reservation)) == "applied"
            attempt.state = "closed"

    @rule(index=st.integers(0, 100))
    def doubt(self, index: int) -> None:
        attempt = self.pick(index, "held")
        if attempt is not None:
            assert self.close(doubted(attempt.reservation)) == "applied"
            attempt.state = "in_doubt"

    @rule(index=st.integers(0, 100))
    def lapse(self, index: int) -> None:
        attempt = self.pick(index, "held")
        if attempt is not None:
            self.runner.run(lapse(self.raw, attempt.reservation))
            assert self.runner.run(self.authority.expire_overdue()) == 1
            attempt.state = "in_doubt"

    @rule(index=st.integers(0, 100))
    def close_once_more(self, index: int) -> None:
        attempt = self.pick(index, "closed")
        if attempt is not None:
            for way in (
                settled(attempt.reservation, 1),
                released(attempt.reservation),
                doubted(attempt.reservation),
            ):
                assert self.close(way) == "already"

    @rule(scope=st.sampled_from(["agent:a", "global"]), amount=st.integers(0, 100))
    def top_up(self, scope: str, amount: int) -> None:
        self.calls += 1
        counter = f"{scope}|day|2026-11-21"
        assert self.runner.run(self.authority.top_up(f"t{self.calls}", counter, amount)).applied
        self.topped[scope] += amount

    @rule(scope=st.sampled_from(["agent:a", "team:core"]), amount=st.integers(0, 100))
    def post(self, scope: str, amount: int) -> None:
        self.calls += 1
        counter = f"{scope}|day|2026-11-21"
        assert self.runner.run(self.authority.post(f"p{self.calls}", [counter], amount, {}))
        self.spent[scope] += amount

    @invariant()
    def counters_equal_the_model(self) -> None:
        held, in_doubt = self.sums("held"), self.sums("in_doubt")
        for state in self.runner.run(self.authority.budgets()):
            scope = state.scope
            numbers = (
                state.spent_nano_usd,
                state.held_nano_usd,
                state.in_doubt_nano_usd,
                state.topped_nano_usd,
            )
            assert numbers == (self.spent[scope], held[scope], in_doubt[scope], self.topped[scope]), scope

    def close(self, way: Any) -> str:
        return self.runner.run(self.authority.close_attempt(way))


@pytest.mark.timeout(240)
def test_counters_equal_a_model_over_random_histories(redis_url: str) -> None:
    BudgetMachine.url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
