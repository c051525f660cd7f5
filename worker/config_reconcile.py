"""`reconcile:` in curb.yaml: how patient the comparison with the providers' usage is.

Whose usage is read is said per provider: `usage_key_env`, `exclusive_key` and their like.
"""

from collections.abc import Iterator

from gateway.config import GatewayConfig
from gateway.policy.sums import SumRules
from worker.config_errors import Problem
from worker.config_values import Seconds, Section


class ReconcileSection(Section):
    """complete_after: how old a stretch of time is before a provider has counted all of it."""

    complete_after: Seconds = 7_200.0


def sum_rules(section: ReconcileSection) -> SumRules:
    return SumRules(complete_after_seconds=section.complete_after)


def usage_checks(gateway: GatewayConfig) -> Iterator[Problem]:
    """Usage that is asked for and cannot be read."""
    for name, provider in gateway.providers.items():
        asked = provider.usage_key_env or provider.usage_key_file or provider.exclusive_key
        if asked and not provider.usage_api:
            message = "is missing; write openai or anthropic: nobody else's usage can be read"
            yield Problem(("providers", name, "usage_api"), message)
        if provider.usage_api and not provider.usage_url:
            yield Problem(("providers", name, "usage_url"), "is missing; add it, for example https://host/v1")
