"""Messages to try channels with."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from activities.channels import Message

AT = datetime(2026, 10, 14, 14, 22, 10, tzinfo=UTC)

FIRING = Message(
    kind="firing",
    severity="critical",
    title="research-bot spends $16.20 in 5 minutes",
    text="The agent is paused for 10 minutes.\nNothing of its work is lost.",
    key="alert:0042",
    at=AT,
    fields=(("Agent", "research-bot"), ("Limit", "$15.00"), ("Run", "a<b> & c*d*")),
    links=(
        ("Open the run", "https://ui.example.org/namespaces/default/workflows/r1?a=1&b=2"),
        ("Runbook", "https://example.org/runbook"),
    ),
    data={"rule": "velocity_critical", "scope": "agent:research-bot", "spent_usd": "16.20"},
)


def message(**changed: Any) -> Message:
    """FIRING with other fields."""
    return replace(FIRING, **changed)
