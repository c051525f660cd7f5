"""Checks of curb.yaml that look at more than one field: names that must lead somewhere."""

import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.config import GatewayConfig
from gateway.errors import ConfigurationError
from gateway.overlay import Overlay
from worker.config_alerts import alert_checks
from worker.config_anomalies import anomaly_checks
from worker.config_cache import cache_checks
from worker.config_errors import Path, Problem, suggestion
from worker.config_health import health_checks
from worker.config_rate_limits import rate_limit_checks
from worker.config_reconcile import usage_checks
from worker.config_reports import report_checks
from worker.config_retention import retention_checks
from worker.config_schedules import schedule_checks
from worker.config_schema import File
from worker.config_teams import team_checks


def cross_checks(file: File, gateway: GatewayConfig) -> Iterator[Problem]:
    """Everything wrong with a file whose fields are right each by itself."""
    yield from _zone(file)
    yield from _prices(file)
    yield from _providers(file, gateway)
    yield from _tiers(gateway)
    yield from _names(file, gateway)
    yield from _mcp(file)
    wishes = [name for name, agent in file.agents.items() if agent.cache == "semantic"]
    yield from cache_checks(file.cache, gateway, wishes)
    yield from rate_limit_checks(file.rate_limits, gateway)
    yield from alert_checks(file.alerts, file.alert_rules)
    yield from team_checks(file.teams, file.alerts.channels)
    yield from health_checks(file.provider_health, gateway, file.schedules)
    yield from usage_checks(gateway)
    yield from anomaly_checks(file.anomalies, file.alert_rules)
    yield from schedule_checks(file.schedules)
    yield from retention_checks(file.retention)
    yield from report_checks(file.reports, file.alerts.channels)


def _zone(file: File) -> Iterator[Problem]:
    try:
        ZoneInfo(file.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield Problem(("timezone",), f"{file.timezone} is no time zone; write one like Europe/Berlin or UTC")


def _prices(file: File) -> Iterator[Problem]:
    try:
        Overlay(file.prices)
    except ConfigurationError as error:
        place, _, message = str(error).partition(" ")
        yield Problem(_path(place), message)


def _path(dotted: str) -> Path:
    """`prices[0].above[1].input` as steps."""
    return tuple(int(step) if step.isdigit() else step for step in re.findall(r"\w+", dotted))


def _providers(file: File, gateway: GatewayConfig) -> Iterator[Problem]:
    for name, provider in gateway.providers.items():
        if not provider.base_url:
            yield Problem(("providers", name), "base_url is missing; add it, for example https://host/v1")
    for name, deployment in gateway.deployments.items():
        if deployment.provider not in gateway.providers:
            hint = suggestion(deployment.provider, list(gateway.providers))
            field = ("provider",) if file.deployments[name].provider else ()
            message = f"there is no provider {deployment.provider or 'named here'}{hint}"
            yield Problem(("deployments", name, *field), message)


def _tiers(gateway: GatewayConfig) -> Iterator[Problem]:
    for tier in gateway.tiers:
        if not tier.deployments:
            yield Problem(("tiers", tier.name), "deployments is missing; list at least one")
        for name in tier.weights:
            if name not in tier.deployments:
                message = f"the tier has no deployment {name}{suggestion(name, tier.deployments)}"
                yield Problem(("tiers", tier.name, "weights", name), message)
        if tier.weights and tier.prefer == "cheapest":
            yield Problem(
                ("tiers", tier.name, "prefer"), "cheapest leaves nothing to weights; remove one of them"
            )
        for field, names in (("deployments", tier.deployments), ("larger", tier.larger)):
            for number, name in enumerate(names):
                if name not in gateway.deployments:
                    message = f"there is no deployment {name}{suggestion(name, list(gateway.deployments))}"
                    yield Problem(("tiers", tier.name, field, number), message)


def _names(file: File, gateway: GatewayConfig) -> Iterator[Problem]:
    """What aliases and agents call tiers and deployments."""
    known = [*(tier.name for tier in gateway.tiers), *gateway.deployments]
    asked: list[tuple[Path, str]] = [(("aliases", name), target) for name, target in file.aliases.items()]
    for path, name in asked:
        if name not in known:
            yield Problem(path, f"there is no tier or deployment {name}{suggestion(name, known)}")
    known += gateway.aliases
    for agent, section in file.agents.items():
        if section.tier not in known:
            message = f"there is no tier or deployment {section.tier}{suggestion(section.tier, known)}"
            yield Problem(("agents", agent, "tier"), message)


def _mcp(file: File) -> Iterator[Problem]:
    for agent, section in file.agents.items():
        for name, server in section.mcp.items():
            if bool(server.command) == bool(server.url):
                path = ("agents", agent, "mcp", name)
                yield Problem(path, "write `command` (a program) or `url` (a server), one of them")
