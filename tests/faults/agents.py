"""What the workers of these tests are configured with; the test and its worker processes agree by this."""

from dataclasses import replace
from pathlib import Path

from gateway.agents import Agent
from gateway.config import BatchRules, GatewayConfig
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from tests.integration.world import config

LEASE_SECONDS = 1.0
GRACE_SECONDS = 0.5
LOST_AFTER_SECONDS = 3.0
_TOOLS = ("list_files", "read_file", "write_file")
_LIMITS = RunLimits(lost_after_seconds=LOST_AFTER_SECONDS, call_timeout_seconds=20)
_MODELS = {
    "steady": "gpt-5-mini",
    "talker": "gpt-5-mini@say-50+slow-stream-40",
    "walker": "gpt-5-mini@long-5+slow-first-250",
    "thinker": "claude-sonnet-4-5@long-4+slow-stream-10",
    "spender": "gpt-5-mini@spend-400-6",
    "crowd": "gpt-5-mini@spend-300-3",
}


def gateway_config(provider_url: str) -> GatewayConfig:
    """Leases are short, so that tests need not wait long for them to lapse."""
    return replace(
        config(provider_url, ("balanced", tuple(_MODELS.values()))),
        batches=BatchRules(poll_seconds=0.1, send_seconds=1.0),
        lease_seconds=LEASE_SECONDS,
        lease_grace_seconds=GRACE_SECONDS,
    )


def agents(root: Path) -> dict[str, Agent]:
    """One agent per behaviour. `spender` may spend little in a run, `crowd` little in a day."""
    changes: dict[str, dict[str, object]] = {
        "talker": {"tools": ()},
        "spender": {"run_budget_nano_usd": usd("0.006")},
        "crowd": {"daily_budget_nano_usd": usd("0.006")},
    }
    return {name: _agent(name, model, root, changes.get(name, {})) for name, model in _MODELS.items()}


def _agent(name: str, model: str, root: Path, changes: dict[str, object]) -> Agent:
    provider = "anthropic" if model.startswith("claude") else "openai"
    values = {
        "name": name,
        "tier": f"{provider}/{model}",
        "tools": _TOOLS,
        "root": str(root),
        "limits": _LIMITS,
        **changes,
    }
    return Agent.model_validate(values)
