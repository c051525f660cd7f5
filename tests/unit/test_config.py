"""curb.yaml: what it comes to, and errors that name the line, the field and the remedy."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.agents import McpServer
from gateway.config import Velocity
from gateway.defaults import default_config, default_limits
from gateway.errors import ConfigurationError
from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.money import usd
from gateway.policy.scopes import Period
from worker.config import Config, load_config, on_simulator, parse_config, template
from worker.config_schema import LoopsSection


def test_an_empty_file_leaves_every_default() -> None:
    config = parse_config("")
    assert config.gateway == default_config()
    assert config.agents == {}
    assert default_limits().items() <= config.limits.items()
    assert config.limits["global", Period.DAY] == usd(200)
    assert config.limits["global", Period.MONTH] == usd(3_000)
    assert config.limits["agent:*", Period.DAY] == usd(10)
    assert config.limits["tier:frontier", Period.DAY] == usd(50)


def test_an_agent_is_read_with_its_money_limits_and_tools() -> None:
    config = parse_config(
        """
        limits: {max_steps: 40, loops: {similarity: 95%, errors_in_a_row: 5}}
        agents:
          coder:
            instructions: Write code.
            tier: frontier
            tools: [read_file]
            run_budget: 0.1
            daily_budget: $12.50
            temperature: 0.2
            prompt_version: 1.10
            limits: {call_timeout: 1m30s, loops: {errors_in_a_row: off}}
            mcp:
              tickets: {command: "npx -y 'some server'"}
        """
    )
    coder = config.agents["coder"]
    assert (coder.run_budget_nano_usd, coder.daily_budget_nano_usd) == (usd("0.1"), usd("12.50"))
    assert coder.limits == RunLimits(
        max_steps=40, call_timeout_seconds=90.0, loops=LoopRules(similarity=0.95, errors_in_a_row=0)
    )
    assert coder.mcp == (McpServer(name="tickets", command=("npx", "-y", "some server")),)
    assert (coder.temperature, coder.prompt_version) == (0.2, "1.10")
    assert config.limits["agent:coder", Period.DAY] == usd("12.50")


@pytest.mark.parametrize(
    ("written", "nano"), [("0.05", 50_000_000), ('"0.05"', 50_000_000), ("5", 5 * 10**9), ("0.1", 10**8)]
)
def test_dollars_are_read_through_their_text(written: str, nano: int) -> None:
    config = parse_config(f"budgets: {{'user:ann': {{day: {written}}}}}")
    assert config.limits["user:ann", Period.DAY] == nano


def test_more_digits_than_a_float_has_are_kept() -> None:
    config = parse_config("budgets: {global: {month: 8999999.123456789}}")
    assert config.limits["global", Period.MONTH] == 8_999_999_123_456_789


def test_unlimited_takes_a_default_away() -> None:
    config = parse_config("budgets: {global: {day: unlimited}, 'agent:*': unlimited}")
    assert ("global", Period.DAY) not in config.limits
    assert ("agent:*", Period.DAY) not in config.limits
    assert ("global", Period.MONTH) in config.limits


def test_the_usual_names_for_budgets_are_accepted() -> None:
    config = parse_config(
        """
        monthly_budget: 1500
        swap_threshold: 75%
        user_limits: {default: 10, ann: {daily: 20, monthly: 100}}
        alert_rules: [{name: half, threshold: 0.5, period: month, channels: [slack]}]
        """
    )
    assert config.limits["global", Period.MONTH] == usd(1_500)
    assert config.limits["user:*", Period.DAY] == usd(10)
    assert config.limits["user:ann", Period.DAY] == usd(20)
    assert config.limits["user:ann", Period.MONTH] == usd(100)
    assert config.gateway.downgrade_at_ratio == 0.75
    assert [rule.threshold for rule in config.alert_rules] == [0.5]


def test_a_known_tier_keeps_its_place_and_a_new_one_is_dearer() -> None:
    config = parse_config(
        """
        tiers:
          huge: {deployments: [anthropic/claude-opus-4-6]}
          quick: {daily_budget: 7}
        """
    )
    assert [tier.name for tier in config.gateway.tiers] == ["quick", "balanced", "frontier", "max", "huge"]
    assert config.gateway.tiers[0] == replace(default_config().tiers[0], daily_budget_nano_usd=usd(7))
    assert config.limits["tier:quick", Period.DAY] == usd(7)


def test_an_alias_in_a_tier_is_what_it_stands_for() -> None:
    config = parse_config(
        "tiers: {frontier: {deployments: [mine]}}\naliases: {mine: anthropic/claude-opus-4-6}"
    )
    assert config.gateway.tiers[2].deployments == ("anthropic/claude-opus-4-6",)


def test_a_tier_says_who_gets_what() -> None:
    gateway = parse_config(
        "tiers:\n  quick: {larger: [google/gemini-2.5-pro], on_content_refusal: next, queue: 5s,\n"
        "    weights: {groq/llama-3.1-8b-instant: 9}}\n"
        "deployments:\n  groq/llama-3.1-8b-instant: {context_window_tokens: 8000}\n"
    ).gateway
    quick = gateway.tiers[0]

    assert (quick.larger, quick.on_content_refusal) == (("google/gemini-2.5-pro",), "next")
    assert (quick.queue_seconds, quick.weights) == (5.0, {"groq/llama-3.1-8b-instant": 9})
    assert gateway.deployments["groq/llama-3.1-8b-instant"].context_window_tokens == 8000


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [
        ("larger: [no/body]", "there is no deployment no/body"),
        ("weights: {openai/gpt-5-mini: 1}", "the tier has no deployment openai/gpt-5-mini"),
        ("prefer: cheapest, weights: {groq/llama-3.1-8b-instant: 1}", "remove one of them"),
        ("queue: 1h", "600"),
    ],
)
def test_a_rule_of_a_tier_that_makes_no_sense_is_named(rule: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(remedy)):
        parse_config(f"tiers:\n  quick: {{{rule}}}\n")


def test_a_known_deployment_is_changed_field_by_field() -> None:
    config = parse_config("deployments: {openai/gpt-5-mini: {max_output_tokens: 99, ceiling: 3}}")
    before = default_config().deployments["openai/gpt-5-mini"]
    changed = replace(before, max_output_tokens=99, ceiling_nano_usd_per_mtok=usd(3))
    assert config.gateway.deployments["openai/gpt-5-mini"] == changed


def test_the_accounting_day_can_begin_elsewhere() -> None:
    gateway = parse_config("timezone: Europe/Berlin\nday_start: 10:30:05").gateway
    assert (gateway.timezone, gateway.day_start_seconds) == ("Europe/Berlin", 37_805)


def test_on_the_simulator_every_provider_is_local_and_needs_no_key() -> None:
    config = on_simulator(parse_config(""), "http://127.0.0.1:8787")
    providers = config.gateway.providers
    assert providers["openai"].base_url == "http://127.0.0.1:8787/v1"
    assert providers["anthropic"].base_url == "http://127.0.0.1:8787"
    assert {provider.api_key_env for provider in providers.values()} == {""}
    assert {provider.invoice_url for provider in providers.values()} == {"http://127.0.0.1:8787/invoice"}


@pytest.mark.parametrize(
    ("text", "line", "field", "remedy"),
    [
        ("agents:\n  a:\n    tierr: quick", 3, "agents.a.tierr", "did you mean tier?"),
        ("agents:\n  a:\n    tier: ballanced", 3, "agents.a.tier", "did you mean balanced?"),
        ("agents:\n  a:\n    tools: read_file", 3, "agents.a.tools", "write a list"),
        ("agents:\n  a:\n    daily_budget: -3", 3, "agents.a.daily_budget", "zero or more"),
        ("agents:\n  a:\n    daily_budget: 10000000", 3, "agents.a.daily_budget", "outside of"),
        ("agents:\n  a:\n    on_budget: stop", 3, "agents.a.on_budget", "'fail', 'pause' or 'ask'"),
        ("agents:\n  a:\n    mcp: {x: {}}", 3, "agents.a.mcp.x", "`command`"),
        ("agents:\n  a b: {}", 2, "agents.a b", "pattern"),
        ("agents:", 1, "agents", "remove the line"),
        ("\nlimits:\n  max_steps: 0", 3, "limits.max_steps", "greater than 0"),
        ("limits:\n  loops:\n    similar: 1", 3, "limits.loops.similar", "did you mean similarity?"),
        ("limits:\n  call_timeout: soon", 2, "limits.call_timeout", "90s, 10m"),
        ("retention: {attempts: 5000000d}", 1, "retention.attempts", "100 years"),
        ("alerts:\n  repeat_after: 99999999999d", 2, "alerts.repeat_after", "100 years"),
        ("alerts:\n  resolve_after: {error_rate: 0s}", 2, "alerts.resolve_after.error_rate", "equal to 1"),
        ("schedules:\n  anomaly-sweep: {every: 9e99d}", 2, "schedules.anomaly-sweep.every", "90s, 10m"),
        ("schedules:\n  reconcile:\n    jitter: 99999999999", 3, "schedules.reconcile.jitter", "100 years"),
        ("anomalies:\n  error_rate: {window: 2d}", 2, "anomalies.error_rate.window", "equal to 86400"),
        ("anomalies: {velocity_all: {window: 0s}}", 1, "anomalies.velocity_all.window", "equal to 1"),
        ("provider_health: {window: 40000d}", 1, "provider_health.window", "100 years"),
        ("downgrade_at: 80", 1, "downgrade_at", "80%"),
        ("swap_threshold: x", 1, "swap_threshold", "80%"),
        ("day_start: noon", 1, "day_start", "HH:MM"),
        ("timezone: Mars/Base", 1, "timezone", "Europe/Berlin"),
        ("budgets:\n  agents:x: {day: 1}", 2, "budgets.agents:x", "write global, or one of"),
        ("budgets:\n  global:\n    day:", 3, "budgets.global.day", "remove the line"),
        ("budgets:\n  global: {run: 1}", 2, "budgets.global", "`day` and `month`"),
        ("budgets:\n  model:gpt: {day: 1}", 2, "budgets.model:gpt", "there is no model gpt"),
        ("monthly_budget: 3\nbudgets:\n  global: {month: 4}", 3, "budgets.global.month", "keep one"),
        ("providers:\n  openai: {api_key: k}", 2, "providers.openai.api_key", "write api_key_env"),
        ("providers:\n  mine: {}", 2, "providers.mine", "base_url is missing"),
        ("deployments:\n  x/y: {}", 2, "deployments.x/y", "there is no provider x"),
        (
            "tiers:\n  t:\n    deployments:\n      - no/x",
            4,
            "tiers.t.deployments[0]",
            "there is no deployment",
        ),
        ("aliases:\n  a: b", 2, "aliases.a", "there is no tier or deployment b"),
        ("prices:\n  - {provider: x, model: y}", 2, "prices[0].input", "missing"),
        ("alert_rules:\n  - name: x", 2, "alert_rules[0]", "`threshold`"),
        ("- a list", 1, "the file", "write a mapping"),
    ],
)
def test_an_error_names_file_line_field_and_remedy(text: str, line: int, field: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(text, "my.yaml")
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"my.yaml:{line}: {field}: "), first
    assert remedy in first


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config("velocity: {alert: x}\nagents:\n  a: {mode: dry}\n  b: {mode: wet}")
    assert re.findall(r"^curb.yaml:(\d+)", str(caught.value), re.MULTILINE) == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "my.yaml:2: a stands here twice"),
        ("a: [1,\nb: }", "my.yaml:2: "),
        ("a: !!python/object:os.system x", "my.yaml:1: could not determine a constructor"),
        ("\x00", "my.yaml: this is not YAML"),
    ],
)
def test_what_is_not_yaml_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(text, "my.yaml")
    assert str(caught.value).startswith(message)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_file_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config() == parse_config("")
    (tmp_path / "curb.yaml").write_text("agents: {a: {}}")
    config = load_config()
    assert (list(config.agents), config.path) == (["a"], tmp_path / "curb.yaml")
    assert config.source == "agents: {a: {}}"


def test_the_shipped_template_is_valid_as_it_stands() -> None:
    assert list(parse_config(template()).agents) == ["researcher"]


def test_what_the_template_shows_commented_out_is_the_default() -> None:
    shown = everything_in(template())
    plain = parse_config("")
    assert shown.gateway.tiers == plain.gateway.tiers
    assert shown.gateway.velocity == Velocity()
    assert (shown.gateway.timezone, shown.gateway.day_start_seconds) == ("UTC", 0)
    assert shown.gateway.downgrade_at_ratio == plain.gateway.downgrade_at_ratio
    assert shown.agents["researcher"].limits == RunLimits()
    assert plain.limits.items() <= shown.limits.items()
    assert set(shown.gateway.providers) - set(plain.gateway.providers) == {"house"}


def test_every_loop_rule_can_be_configured() -> None:
    assert set(LoopsSection.model_fields) == set(LoopRules.__dataclass_fields__)


def everything_in(text: str) -> Config:
    """The template with its commented lines in force."""
    commented = re.compile(r"^( *)# ?( *(?:- \{|[\"\w.*:/-]+:(?: |$)).*)$", re.MULTILINE)
    return parse_config(commented.sub(r"\1\2", text))
