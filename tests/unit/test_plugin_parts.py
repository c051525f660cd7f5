"""The parts of SupervisorPlugin that need no server: when to try again, whose model, what is imported."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from gateway.agents import Agent
from gateway.errors import ConfigurationError
from gateway.policy.limits import RunLimits
from gateway.policy.refusals import Refusal, RefusalKind
from worker.plugin import pydantic_ai
from worker.plugin.asking import Problem
from worker.plugin.launch import Launch, agent_name, launch_in
from worker.plugin.problems import error_of
from worker.plugin.workflows import is_model_activity

AGENT = Agent(name="tester")


def info(*, attempt: int = 1, waited_seconds: float = 0.0) -> activity.Info:
    began = datetime.now(UTC) - timedelta(seconds=waited_seconds)
    return replace(ActivityEnvironment().info, attempt=attempt, scheduled_time=began)


def told(
    kind: RefusalKind,
    agent: Agent = AGENT,
    *,
    period: str = "day",
    in_seconds: float | None = None,
    **more: Any,
) -> ApplicationError:
    """The error of a refusal that may be asked again so many seconds from now."""
    at = None if in_seconds is None else int(datetime.now(UTC).timestamp() * 1000 + in_seconds * 1000)
    refusal = Refusal(kind, scope="agent:tester", period=period, limit_nano_usd=5, retry_at_ms=at)
    return error_of(refusal, info(**more), agent)


@pytest.mark.parametrize("kind", [RefusalKind.NEVER_FITS, RefusalKind.INVALID])
def test_what_never_fits_is_final(kind: RefusalKind) -> None:
    assert told(kind).non_retryable


@pytest.mark.parametrize(
    "kind",
    [
        RefusalKind.CONTENDED,
        RefusalKind.THROTTLED,
        RefusalKind.RATE_LIMITED,
        RefusalKind.IN_FLIGHT,
        RefusalKind.UNAVAILABLE,
        RefusalKind.SWITCHED,
        RefusalKind.EXHAUSTED,
    ],
)
def test_what_passes_is_asked_again_when_it_has_passed(kind: RefusalKind) -> None:
    error = told(kind, in_seconds=30, attempt=6)

    assert (error.type, error.non_retryable) == (kind.value, False)
    assert error.next_retry_delay is not None
    assert 20 < error.next_retry_delay.total_seconds() < 35


def test_a_day_that_ends_much_later_is_looked_at_every_minute() -> None:
    error = told(RefusalKind.EXHAUSTED, in_seconds=40_000, attempt=50)

    assert error.next_retry_delay == timedelta(seconds=60)


def test_a_spent_run_fails_or_waits_as_its_agent_says() -> None:
    limits = RunLimits(max_wait_seconds=100)
    patient = Agent(name="tester", on_budget="pause", limits=limits)

    assert told(RefusalKind.EXHAUSTED, period="run").type == "exhausted"
    assert told(RefusalKind.EXHAUSTED, period="run").non_retryable
    assert not told(RefusalKind.EXHAUSTED, patient, period="run", waited_seconds=90).non_retryable
    assert told(RefusalKind.EXHAUSTED, patient, period="run", waited_seconds=110).type == "expired"


def test_servers_that_stay_away_end_it_after_thirty_tries() -> None:
    assert not told(RefusalKind.UNAVAILABLE, attempt=29).non_retryable
    assert told(RefusalKind.UNAVAILABLE, attempt=30).non_retryable


def test_a_budgets_own_switch_never_kills() -> None:
    obedient = Agent(name="tester", on_switch="stop")
    by_hand = Refusal(RefusalKind.SWITCHED, scope="agent:tester", detail="manual:adam:loop")
    by_budget = replace(by_hand, detail="auto:budget:daily")

    assert error_of(by_hand, info(), obedient).type == "killed"
    assert not error_of(by_budget, info(), obedient).non_retryable


def test_the_refusals_numbers_come_along() -> None:
    assert told(RefusalKind.NEVER_FITS).details[0]["limit_usd"] == "0.000000005"


def test_a_problem_is_final_and_named() -> None:
    error = error_of(Problem("stopped", "max_steps: 2 steps are used up"), info(), None)

    assert (error.type, error.message, error.non_retryable) == (
        "stopped",
        "max_steps: 2 steps are used up",
        True,
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("invoke_model_activity", True),
        ("agent__helper__model_request", True),
        ("agent__helper__model_request_stream", True),
        ("agent__helper__toolset__call_tool", False),
        ("my_activity", False),
    ],
)
def test_model_activities_are_known_by_name(name: str, known: bool) -> None:
    assert is_model_activity(name) is known


def test_a_launch_travels_in_a_header() -> None:
    launch = Launch(agent="helper", budget_usd="1", tags={"feature": "faq"}, ancestors=("above",))

    assert launch_in(launch.as_header()) == launch
    assert launch_in({}) is None


def test_a_workflow_types_name_becomes_an_agents() -> None:
    assert agent_name("research (v2)") == "research--v2-"
    assert agent_name("_!") == "agent"


def workflow_with(model: Any) -> type:
    agent = PydanticAgent(model, name="helper", defer_model_check=True)
    return type("Ask", (), {"__pydantic_ai_agents__": [agent]})


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", TestModel()])
def test_a_model_that_cannot_be_supervised_is_an_error_that_names_the_agent(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(ConfigurationError, match=r"agent helper: .*OpenAIChatModel"):
        pydantic_ai.supervise([workflow_with(model)])


def test_a_model_by_name_is_supervised_where_the_agent_makes_it_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    agent = PydanticAgent("openai-chat:gpt-5-mini", name="helper")

    pydantic_ai.supervise([type("Ask", (), {"__pydantic_ai_agents__": [agent]})])

    assert isinstance(agent.model, OpenAIChatModel)
    assert type(agent.model.client._client._transport).__module__ == "worker.plugin.transport"


def test_models_of_anthropics_are_supervised_too() -> None:
    model = AnthropicModel("claude-sonnet-4-5", provider=AnthropicProvider(api_key="unused"))

    pydantic_ai.supervise([workflow_with(model)])

    assert type(model.client._client._transport).__module__ == "worker.plugin.transport"


def test_a_supervised_model_never_makes_another_client() -> None:
    provider = OpenAIProvider(api_key="unused")
    pydantic_ai.supervise([workflow_with(OpenAIChatModel("balanced", provider=provider))])
    ours = provider.client._client

    provider._refresh_http_client()

    assert provider.client._client is ours
    assert type(ours._transport).__module__ == "worker.plugin.transport"


def test_curb_is_imported_without_any_framework() -> None:
    code = (
        "import sys, curb; from curb import SupervisorPlugin; SupervisorPlugin(); "
        "frameworks = {'agents', 'pydantic_ai', 'langgraph', 'langchain_core', 'openai', 'anthropic'}; "
        "found = frameworks & set(sys.modules); "
        "sys.exit(f'imported: {found}' if found else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.returncode == 0
