"""Cost thresholds: the worst one that is crossed, with everything that a person asks about it."""

from gateway.policy.cost_thresholds import (
    DEFAULT_THRESHOLDS,
    CostThreshold,
    Limits,
    Spent,
    least_amount,
    over_thresholds,
)
from gateway.policy.money import usd

HOUR = "2026-11-21T10:00Z"


def rules(spent: Spent, *thresholds: CostThreshold, limits: Limits | None = None) -> list[tuple[str, object]]:
    found = over_thresholds(thresholds or DEFAULT_THRESHOLDS, [spent], limits or {})
    return [(finding.severity, finding.evidence["name"]) for finding in found]


def test_an_hour_above_ten_dollars_warns_and_above_fifty_is_critical() -> None:
    assert rules(Spent("global", "hour", HOUR, usd(10))) == []
    assert rules(Spent("global", "hour", HOUR, usd("10.01"))) == [("warning", "hourly warning")]
    assert rules(Spent("global", "hour", HOUR, usd(51))) == [("critical", "hourly critical")]


def test_days_months_and_users_have_their_own() -> None:
    assert rules(Spent("global", "day", "2026-11-21", usd(101))) == [("warning", "daily warning")]
    assert rules(Spent("global", "month", "2026-11", usd(5_001))) == [("critical", "monthly critical")]
    assert rules(Spent("user:ann", "day", "2026-11-21", usd(11))) == [("warning", "daily user")]
    assert rules(Spent("user:ann", "hour", HOUR, usd(11))) == []
    assert rules(Spent("team:red", "day", "2026-11-21", usd(1_000))) == []


def test_a_finding_says_period_window_threshold_actual_overage_and_channels() -> None:
    mine = CostThreshold("red", "team:red", "month", usd(50), channels=("email",))

    [finding] = over_thresholds([mine], [Spent("team:red", "month", "2026-11", usd(62))], {})

    assert finding.window == "2026-11"
    assert finding.evidence == {
        "name": "red",
        "period": "month",
        "window": "2026-11",
        "threshold_nano_usd": usd(50),
        "actual_nano_usd": usd(62),
        "overage_nano_usd": usd(12),
        "channels": ["email"],
    }


def test_a_share_is_of_the_limit_that_holds_for_the_scope() -> None:
    half = CostThreshold("half", "user:*", "day", share_millionths=500_000)
    limits = {("user:*", "day"): usd(10), ("user:bob", "day"): usd(100)}

    assert rules(Spent("user:ann", "day", "2026-11-21", usd("5.01")), half, limits=limits) != []
    assert rules(Spent("user:bob", "day", "2026-11-21", usd("5.01")), half, limits=limits) == []
    assert rules(Spent("user:bob", "day", "2026-11-21", usd("50.01")), half, limits=limits) != []
    assert rules(Spent("user:ann", "day", "2026-11-21", usd(1_000)), half) == []


def test_who_spent_least_need_not_be_asked_about() -> None:
    assert least_amount(DEFAULT_THRESHOLDS) == usd(10)
    assert least_amount([CostThreshold("half", "global", "day", share_millionths=1)]) == 0
    assert least_amount([]) == 0
