"""`provider_health:` in curb.yaml."""

from dataclasses import replace

import pytest

from tests.unit.test_config import everything_in
from worker.config import parse_config, template
from worker.config_errors import ConfigurationProblems


def test_every_provider_is_asked_for_its_models_unless_it_is_said_otherwise() -> None:
    plan = parse_config("").health

    assert set(plan.providers.values()) == {"models"}
    assert {"anthropic", "openai", "google", "groq", "together"} == set(plan.providers)


def test_yaml_s_off_and_a_provider_of_its_own_are_read() -> None:
    plan = parse_config("provider_health: {probe: off, providers: {openai: call}, tries: 2}").health

    assert (plan.providers["openai"], plan.providers["groq"], plan.tries) == ("call", "off", 2)


def test_the_template_shows_the_defaults() -> None:
    shown, plain = everything_in(template()), parse_config("")

    assert replace(shown.health, providers=plain.health.providers) == plain.health
    assert shown.reconcile == plain.reconcile


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{probe: ping}", "'models', 'call' or 'off'"),
        ("{providers: {opnai: call}}", "did you mean openai?"),
        ("{deployments: [openai/gpt-5-minni]}", "did you mean openai/gpt-5-mini?"),
        ("{timeout: 10s}", "take 40 s, and a look begins every 30 s"),
        ("{switch_for: 40s}", "would expire between two looks; write 60s or more"),
        ("{}\nschedules: {provider-health: {every: 10s}}", "write `every` under provider_health instead"),
    ],
)
def test_what_cannot_work_is_said_with_its_place(written: str, said: str) -> None:
    with pytest.raises(ConfigurationProblems) as caught:
        parse_config(f"provider_health: {written}")

    assert said in str(caught.value)
