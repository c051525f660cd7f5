"""Virtual keys as documents for programs; what they may ask for, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.config import GatewayConfig
from gateway.errors import ConfigurationError
from gateway.policy.scopes import Period
from gateway.store import Store
from gateway.store.keys import Key
from gateway.tokens import TokenSecrets
from worker.config_errors import suggestion
from worker.desk.documents import at_text, usd_text
from worker.keys import budgets_of


async def key_documents(store: Store, secrets: TokenSecrets, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Everything but tokens, of which nobody keeps more than the prefix."""
    budgets = budgets_of([key.id for key in keys], await store.budgets.rules())
    now = datetime.now(UTC)
    return [_document(key, budgets[key.id], secrets, now) for key in keys]


def with_known_models(key: Key, gateway: GatewayConfig) -> Key:
    """Aliases resolved to what they stand for.

    Raises ConfigurationError for a tier or deployment that is none; it begins with `tier` or `model`.
    """
    tiers = [tier.name for tier in gateway.tiers]
    for name in key.tiers or ():
        if name not in tiers:
            raise ConfigurationError(f"tier {name}: there is no such tier{suggestion(name, tiers)}")
    models = tuple(gateway.aliases.get(name, name) for name in key.models or ())
    for name in models:
        if name not in gateway.deployments:
            near = suggestion(name, [*gateway.deployments])
            raise ConfigurationError(f"model {name}: there is no such deployment{near}")
    return replace(key, models=models or None)


def _document(
    key: Key, budgets: Mapping[Period, int], secrets: TokenSecrets, now: datetime
) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(now),
        "tokens": [
            {
                "prefix": token.prefix,
                "created_at": at_text(token.created_at),
                "ends_at": at_text(token.ends_at),
                "works": secrets.knows(token.secret_id) and (token.ends_at is None or token.ends_at > now),
            }
            for token in key.tokens
        ],
        **{name: getattr(key, name) or None for name in ("agent", "team", "user")},
        "tiers": key.tiers,
        "models": key.models,
        "rate_tier": key.rate_tier,
        "roles": key.roles,
        "tags": key.tags,
        "daily_usd": usd_text(budgets.get(Period.DAY)),
        "monthly_usd": usd_text(budgets.get(Period.MONTH)),
        "created_by": key.created_by,
        "created_at": at_text(key.created_at),
        "expires_at": at_text(key.expires_at),
        "last_used_at": at_text(key.last_used_at),
        "frozen_at": at_text(key.frozen_at),
        "frozen_by": key.frozen_by or None,
        "revoked_at": at_text(key.revoked_at),
        "revoked_by": key.revoked_by or None,
    }
