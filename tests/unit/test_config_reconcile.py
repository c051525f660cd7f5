"""Whose usage is read, in curb.yaml."""

import pytest

from worker.config import on_simulator, parse_config
from worker.config_errors import ConfigurationProblems


def test_openai_and_anthropic_are_read_once_an_admin_key_is_there() -> None:
    providers = parse_config("").gateway.providers

    told = {name: (each.usage_api, each.usage_key_env) for name, each in providers.items() if each.usage_api}
    assert told == {
        "openai": ("openai", "OPENAI_ADMIN_KEY"),
        "anthropic": ("anthropic", "ANTHROPIC_ADMIN_KEY"),
    }
    assert not any(each.exclusive_key for each in providers.values())


def test_a_provider_says_whose_its_key_is() -> None:
    written = "{openai: {exclusive_key: true, usage_api_key_id: key_1, usage_key_file: /run/key}}"
    openai = parse_config(f"providers: {written}").gateway.providers["openai"]

    assert (openai.exclusive_key, openai.usage_api_key_id, openai.usage_key_file) == (
        True,
        "key_1",
        "/run/key",
    )
    assert openai.usage_url == "https://api.openai.com/v1"


def test_another_base_url_does_not_move_the_usage_api() -> None:
    openai = parse_config('providers: {openai: {base_url: "http://proxy/v1"}}').gateway.providers["openai"]

    assert openai.usage_url == "https://api.openai.com/v1"


def test_the_simulator_s_calls_are_never_compared_with_a_real_account() -> None:
    played = on_simulator(parse_config(""), "http://127.0.0.1:1")

    assert {each.usage_api for each in played.gateway.providers.values()} == {""}


def test_how_patient_it_is() -> None:
    assert parse_config("reconcile: {complete_after: 4h}").reconcile.complete_after_seconds == 14_400


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{house: {base_url: 'http://x/v1', exclusive_key: true}}", "usage_api: is missing"),
        ("{house: {base_url: 'http://x/v1', usage_api: openai}}", "usage_url: is missing"),
        ("{openai: {usage_key: sk-1}}", "keys never stand in this file; write usage_key_env"),
    ],
)
def test_usage_that_cannot_be_read_is_said(written: str, said: str) -> None:
    with pytest.raises(ConfigurationProblems, match=said):
        parse_config(f"providers: {written}")
