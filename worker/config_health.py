"""`provider_health:` in curb.yaml: how providers are looked at, and when one is switched off."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.config import GatewayConfig
from gateway.policy.health import HealthPlan, HealthRules, Kind
from gateway.policy.money import usd
from worker.config_errors import Problem, suggestion
from worker.config_schedules import ScheduleSection
from worker.config_values import Amount, LookBack, Name, Ratio, Seconds, Section


def _off(written: object) -> object:
    return "off" if written is False else written  # which is what YAML makes of it


Look = Annotated[Kind, BeforeValidator(_off)]


class HealthSection(Section):
    """Defaults are those of HealthPlan and HealthRules, where each is explained."""

    probe: Look = "models"
    providers: dict[Name, Look] = Field(default_factory=dict)
    deployments: tuple[str, ...] = ()
    every: Seconds = 30.0
    timeout: Seconds = 5.0
    tries: int = Field(default=3, ge=1, le=10)
    pause: Seconds = 5.0
    slow: Seconds = 3.0
    down_after: int = Field(default=1, ge=1, le=100)
    recover_after: int = Field(default=3, ge=1, le=100)
    error_ratio: Ratio = 0.5
    min_calls: int = Field(default=5, ge=1)
    window: LookBack = 120.0
    switch_off: bool = True
    switch_for: Seconds = 600.0
    call_tokens: int = Field(default=1, ge=1, le=1_000)
    call_budget: Amount = usd("0.10")


def health_plan(section: HealthSection, gateway: GatewayConfig) -> HealthPlan:
    """What the section comes to for these providers."""
    return HealthPlan(
        providers={name: section.providers.get(name, section.probe) for name in gateway.providers},
        deployments=section.deployments,
        rules=HealthRules(
            down_after=section.down_after,
            recover_after=section.recover_after,
            error_ratio=section.error_ratio,
            min_calls=section.min_calls,
            window_seconds=section.window,
            slow_ms=int(section.slow * 1000),
        ),
        slot_seconds=section.every,
        timeout_seconds=section.timeout,
        tries=section.tries,
        pause_seconds=section.pause,
        switch_off=section.switch_off,
        switch_seconds=section.switch_for,
        call_tokens=section.call_tokens,
        call_budget_nano_usd=section.call_budget,
    )


def health_checks(
    section: HealthSection, gateway: GatewayConfig, schedules: Mapping[str, ScheduleSection]
) -> Iterator[Problem]:
    """Names that lead nowhere, and looks that take longer than there is time."""
    planned = schedules.get("provider-health")
    if planned is not None and (planned.every is not None or planned.at is not None):
        message = "write `every` under provider_health instead: looks are counted by it too"
        yield Problem(("schedules", "provider-health"), message)
    for name in section.providers:
        if name not in gateway.providers:
            message = f"there is no provider {name}{suggestion(name, list(gateway.providers))}"
            yield Problem(("provider_health", "providers", name), message)
    for number, name in enumerate(section.deployments):
        if name not in gateway.deployments:
            message = f"there is no deployment {name}{suggestion(name, list(gateway.deployments))}"
            yield Problem(("provider_health", "deployments", number), message)
    longest = section.tries * section.timeout + (section.tries - 1) * section.pause
    if longest > section.every:
        message = (
            f"{section.tries} tries of {section.timeout:g} s with pauses of {section.pause:g} s take "
            f"{longest:g} s, and a look begins every {section.every:g} s; make timeout, tries or pause less"
        )
        yield Problem(("provider_health", "tries"), message)
    if section.switch_for < 2 * section.every:
        yield Problem(
            ("provider_health", "switch_for"),
            f"the switch would expire between two looks; write {2 * section.every:g}s or more",
        )
