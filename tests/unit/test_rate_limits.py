"""Which rates a call is checked against (REQUIREMENTS 4)."""

from dataclasses import replace

import pytest

from gateway.calls import Caller
from gateway.policy.rate_limits import (
    HOUR_MS,
    Expensive,
    InFlightLine,
    Rate,
    RateLimits,
    RateLine,
    in_flight_lines,
    network_of,
    rate_lines,
)
from gateway.policy.refusals import Refusal, RefusalKind

STEP = Caller(agent="coder", run_id="r1", team="core", user="ann")
CLIENT = replace(STEP, key_id="k1", address="192.0.2.7", rate_tier="pro")
DEFAULTS = RateLimits()


def lines(
    limits: RateLimits, caller: Caller, *, model_tier: str = "balanced", asked: int = 0
) -> tuple[RateLine, ...]:
    return rate_lines(limits, caller, deployment="sim/steady", model_tier=model_tier, asked_nano_usd=asked)


@pytest.mark.parametrize(
    ("tier", "limit"), [("anonymous", 3), ("free", 10), ("pro", 100), ("enterprise", 1_000)]
)
def test_the_hourly_limit_of_a_client_goes_by_its_tier(tier: str, limit: int) -> None:
    [line] = lines(DEFAULTS, replace(CLIENT, rate_tier=tier))

    assert (line.rule, line.rate, line.tier) == ("tier", Rate(limit, HOUR_MS), tier)


def test_a_step_of_a_run_has_no_hourly_limit() -> None:
    assert lines(DEFAULTS, STEP) == ()
    assert in_flight_lines(DEFAULTS, STEP) == ()


def test_a_key_is_counted_wherever_it_calls_from_and_an_anonymous_caller_by_the_address() -> None:
    anonymous = replace(CLIENT, key_id="anonymous", rate_tier="anonymous")

    assert [line.scope for line in lines(DEFAULTS, CLIENT)] == ["key:k1"]
    assert [line.scope for line in lines(DEFAULTS, anonymous)] == ["address:192.0.2.7"]


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_all_addresses_that_one_machine_can_have_count_as_one(address: str, counts_as: str) -> None:
    assert network_of(address) == counts_as


def test_calls_of_a_dear_tier_or_of_a_high_bound_count_in_the_stricter_class_too() -> None:
    limits = RateLimits(expensive=Expensive(from_nano_usd=500))

    rules = [
        [line.rule for line in lines(limits, CLIENT, model_tier=tier, asked=asked)]
        for tier, asked in (("balanced", 499), ("balanced", 500), ("max", 1))
    ]

    assert rules == [["tier"], ["tier", "expensive"], ["tier", "expensive"]]
    assert lines(limits, CLIENT, model_tier="max")[1].rate == Rate(10, HOUR_MS)


def test_a_tier_that_has_no_limit_has_none() -> None:
    assert lines(RateLimits(tiers={}, expensive=Expensive(rates={})), CLIENT, model_tier="max") == ()


def test_limits_on_scopes_hold_for_everybody_the_exact_one_before_the_wildcard() -> None:
    scopes = {
        "global": (Rate(1_000, 60_000),),
        "agent:*": (Rate(9, 60_000),),
        "agent:coder": (Rate(2, 1_000), Rate(60, 60_000)),
        "model:*": (Rate(30, 60_000),),
        "user:bob": (Rate(1, 1_000),),
        "address:*": (Rate(5, 1_000),),
        "team:*": (Rate(7, 1_000),),
        "key:*": (Rate(8, 1_000),),
    }
    limits = RateLimits(tiers={}, scopes=scopes)

    step = [(line.scope, line.rate.limit, line.each_attempt) for line in lines(limits, STEP)]
    client = [line.scope for line in lines(limits, CLIENT)]

    assert step == [
        ("global", 1_000, False),
        ("agent:coder", 2, False),
        ("agent:coder", 60, False),
        ("model:sim/steady", 30, True),
        ("team:core", 7, False),
    ]
    assert client == [*(scope for scope, _, _ in step), "key:k1", "address:192.0.2.7"]


def test_calls_in_flight_are_limited_by_agent_and_by_key() -> None:
    limits = RateLimits(in_flight={"agent:*": 5, "key:*": 3, "key:k1": 0})

    assert in_flight_lines(limits, STEP) == (InFlightLine("agent:coder", 5),)
    assert in_flight_lines(limits, CLIENT) == (InFlightLine("agent:coder", 5), InFlightLine("key:k1", 0))


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(100, HOUR_MS), "100 requests per hour"),
        (Rate(1, 1_000), "1 request per second"),
        (Rate(5_000, 600_000), "5,000 requests in 10 minutes"),
        (Rate(2, 1_500), "2 requests in 1,500 ms"),
    ],
)
def test_a_rate_is_said_in_words(rate: Rate, words: str) -> None:
    assert str(rate) == words


def test_a_refusal_says_which_limit_and_whose() -> None:
    tier = Refusal(
        RefusalKind.RATE_LIMITED,
        scope="key:k1",
        rate_rule="tier",
        rate_tier="pro",
        rate_limit=100,
        rate_window_ms=HOUR_MS,
    )

    assert str(tier) == "rate_limited: key:k1: the pro tier is 100 requests per hour"
    assert (
        str(replace(tier, rate_rule="expensive", rate_limit=10))
        == "rate_limited: key:k1: the pro tier of expensive calls is 10 requests per hour"
    )
    assert str(replace(tier, rate_rule="in_flight", rate_limit=4)).endswith(
        ": 4 calls may be in flight at once"
    )
