"""What a provider's sums decide about attempts in doubt, and what they do not."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.pricing import Bracket, Card, Price, Rates, cost
from gateway.policy.sums import MINUTE_MS, Counts, Share, Span, Spent, Undecided, share, solve, spans

RATES = Rates(*(Fraction(1_000 * rate) for rate in (1_000_000, 4_000_000, 100_000, 1_250_000, 4_000_000)))
PRICE = Price("p", "openai", "gpt", Card(RATES), Card(RATES))
LONG = replace(PRICE, standard=Card(RATES, (Bracket(1_000, RATES.scaled(Fraction(2))),)))


def spent(name: str, counts: Counts = Counts(), **changes: object) -> Spent:  # noqa: B008 - frozen
    return replace(Spent(name, 0, 1_000, counts), **changes)  # type: ignore[arg-type]


def doubt(name: str, estimate: int = 0, bound: int = 10**12) -> Spent:
    return spent(name, known=False, counted=False, estimate_nano_usd=estimate, bound_nano_usd=bound)


def span(*attempts: Spent) -> Span:
    [found] = spans(attempts)
    return found


def amounts(solution: Sequence[Share] | Undecided) -> dict[str, int]:
    assert not isinstance(solution, Undecided), solution
    return {each.attempt_id: each.amount_nano_usd for each in solution}


def why(solution: Sequence[Share] | Undecided) -> str:
    assert isinstance(solution, Undecided), solution
    return solution.reason


def test_a_rest_of_nothing_says_that_nothing_was_bought() -> None:
    known = spent("a", Counts(10, 5))

    assert amounts(solve(span(known, doubt("b"), doubt("c")), Counts(10, 5), None, PRICE)) == {"b": 0, "c": 0}


def test_one_attempt_in_doubt_is_the_rest_at_its_exact_price() -> None:
    known = spent("a", Counts(10, 5))

    [only] = solve(span(known, doubt("b", estimate=1)), Counts(30, 12, 4, 2), 2, LONG)  # type: ignore[misc]

    assert only == Share("b", int(cost(LONG, Counts(20, 7, 4, 2).usage)), Counts(20, 7, 4, 2))


def test_several_share_the_rest_by_their_estimates() -> None:
    solution = solve(span(doubt("a", 300), doubt("b", 100)), Counts(0, 100), 2, PRICE)

    assert amounts(solution) == {"a": 300_000, "b": 100_000}
    assert [each.counts for each in solution] == [Counts(0, 75), Counts(0, 25)]  # type: ignore[union-attr]


def test_nobody_gets_more_than_was_held_for_it() -> None:
    held = doubt("a", 300, bound=40_000)

    assert amounts(solve(span(held, doubt("b", 100)), Counts(0, 100), 2, PRICE)) == {
        "a": 40_000,
        "b": 360_000,
    }


@pytest.mark.parametrize(
    ("attempts", "reported", "requests", "price", "reason"),
    [
        ([spent("a", Counts(10, 5)), doubt("b")], Counts(9, 50), None, PRICE, "less than what is booked"),
        ([doubt("b", bound=3)], Counts(0, 1), None, PRICE, "more than was held"),
        ([doubt("b"), spent("p", known=False, pending=True)], Counts(0, 1), None, PRICE, "in flight"),
        ([doubt("b")], Counts(0, 1), 2, PRICE, "no attempt explains"),
        ([spent("a", Counts(1)), spent("b", Counts(1)), doubt("c")], Counts(2), 1, PRICE, "not counted"),
        ([doubt("b")], Counts(0, 1), None, None, "no price"),
        ([doubt("a"), doubt("b")], Counts(1_001), None, LONG, "how long each prompt was"),
    ],
)
def test_what_does_not_fit_stays_in_doubt(
    attempts: list[Spent], reported: Counts, requests: int | None, price: Price | None, reason: str
) -> None:
    assert reason in why(solve(span(*attempts), reported, requests, price))


def test_short_prompts_have_one_price_however_they_are_spread() -> None:
    assert amounts(solve(span(doubt("a"), doubt("b")), Counts(1_000), None, LONG))


def test_attempts_that_touch_are_one_span_and_no_two_spans_share_a_minute() -> None:
    early = spent("a", from_ms=0, to_ms=61_000)
    touching = spent("b", from_ms=100_000, to_ms=100_001)
    later = spent("c", from_ms=2 * MINUTE_MS, to_ms=2 * MINUTE_MS + 1)

    first, second = spans([later, touching, early])

    assert [each.attempt_id for each in first.attempts] == ["a", "b"]
    assert (first.from_ms, first.to_ms, second.from_ms) == (0, 2 * MINUTE_MS, 2 * MINUTE_MS)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)), max_size=30))
def test_every_attempt_is_in_exactly_one_span_and_inside_of_it(times: list[tuple[int, int]]) -> None:
    given_ = [spent(str(i), from_ms=at, to_ms=at + length) for i, (at, length) in enumerate(times)]
    found = spans(given_)

    assert sorted(each.attempt_id for span in found for each in span.attempts) == sorted(
        each.attempt_id for each in given_
    )
    for each in found:
        assert all(each.from_ms <= a.from_ms and a.to_ms <= each.to_ms for a in each.attempts)
        assert each.from_ms % MINUTE_MS == each.to_ms % MINUTE_MS == 0
    for one, next_ in itertools.pairwise(found):
        assert one.to_ms <= next_.from_ms


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    caps = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
    weights = draw(st.lists(st.integers(0, 10**6), min_size=len(caps), max_size=len(caps)))
    return draw(st.integers(0, sum(caps))), weights, caps


@given(sharings())
def test_shares_sum_up_to_the_total_and_stay_within_their_caps(
    given_: tuple[int, list[int], list[int]],
) -> None:
    total, weights, caps = given_
    parts = share(total, weights, caps)

    assert sum(parts) == total
    assert all(0 <= part <= cap for part, cap in zip(parts, caps, strict=True))


@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_without_caps_nobody_is_off_its_proportion_by_a_whole_nano_dollar(
    total: int, weights: list[int]
) -> None:
    parts = share(total, weights, [total] * len(weights))

    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(total * weight, sum(weights))) < 1


COUNTS = st.builds(Counts, *(st.integers(0, 5_000) for _ in range(4)))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Spent], list[Counts], list[Counts]]:
    """Attempts as the books have them, and what those in doubt and those settled did use."""
    settled = draw(st.lists(COUNTS, max_size=5))
    used = draw(st.lists(COUNTS, min_size=1, max_size=5))
    slack = draw(st.integers(0, 10**9))
    doubts = [
        doubt(f"d{i}", estimate=draw(st.integers(0, 10**9)), bound=int(cost(PRICE, counts.usage)) + slack)
        for i, counts in enumerate(used)
    ]
    return [spent(f"s{i}", counts) for i, counts in enumerate(settled)] + doubts, settled, used


@given(histories(), st.booleans())
def test_the_books_come_to_what_the_provider_bills(
    history: tuple[list[Spent], list[Counts], list[Counts]], counts_requests: bool
) -> None:
    """Ledger = invoice afterwards, to the nano-dollar; what had been settled is untouched."""
    attempts, settled, used = history
    reported = sum([*settled, *used], Counts())
    requests = len(attempts) if counts_requests else None

    solution = solve(span(*attempts), reported, requests, PRICE)

    assert not isinstance(solution, Undecided), solution
    invoice = sum(int(cost(PRICE, counts.usage)) for counts in [*settled, *used])
    ledger = sum(int(cost(PRICE, counts.usage)) for counts in settled)
    assert ledger + sum(each.amount_nano_usd for each in solution) == invoice
    assert sum((each.counts for each in solution), Counts()) == sum(used, Counts())
    bounds = {each.attempt_id: each.bound_nano_usd for each in attempts}
    assert all(0 <= each.amount_nano_usd <= bounds[each.attempt_id] for each in solution)
    assert {each.attempt_id for each in solution} == {f"d{i}" for i in range(len(used))}


@given(histories(), COUNTS)
def test_what_somebody_else_used_is_never_settled_above_what_was_held(
    history: tuple[list[Spent], list[Counts], list[Counts]], stranger: Counts
) -> None:
    attempts, settled, used = history
    reported = sum([*settled, *used], stranger)

    solution = solve(span(*attempts), reported, None, PRICE)

    if not isinstance(solution, Undecided):
        total = sum(each.amount_nano_usd for each in solution)
        assert total == int(cost(PRICE, (sum(used, Counts()) + stranger).usage))
        assert total <= sum(each.bound_nano_usd for each in attempts)
