"""Which models there are, under the names that clients use."""

from collections.abc import Iterator
from typing import Any

from gateway.config import FamilyName, GatewayConfig
from gateway.http.fields import BadRequest
from gateway.keys import Principal
from gateway.policy import routing

_SHOWN = 50
_EPOCH = "1970-01-01T00:00:00Z"  # what both families say where nobody knows since when a model is there


class Models:
    """The names of tiers, deployments, aliases, and models that one deployment alone has."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._tiers = tuple(tier.name for tier in config.tiers)
        self._bare = _bare_names(config)

    def resolve(self, asked: str, principal: Principal) -> str:
        """The tier or deployment that a client's model stands for.

        Raises BadRequest: 404 for a name that is none or stands for several, 403 for one outside of
        the key's scopes.
        """
        name = self._known(asked, principal)
        if not principal.may_ask_for(name):
            allowed = ", ".join(sorted({*(principal.tiers or ()), *(principal.models or ())}))
            raise BadRequest(f"this key may ask for {allowed} only", "model", status=403, code="out_of_scope")
        return name

    def _known(self, asked: str, principal: Principal) -> str:
        config = self._config
        name = routing.resolve(asked, config.tiers, config.deployments, config.aliases)
        if name in self._tiers or name in config.deployments:
            return name
        several = self._bare.get(asked, ())
        if len(several) == 1:
            return several[0]
        if several:
            raise _no_model(f"{asked} is to be had from several: ask for {' or '.join(several)}")
        known = [name for name, _ in self.names(principal)]
        more = f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise _no_model(f"there is no model {asked[:200]!r}; known are {', '.join(known[:_SHOWN])}{more}")

    def names(self, principal: Principal) -> Iterator[tuple[str, str]]:
        """What this key may ask for: each name, and whose model it is."""
        config = self._config
        owners = dict.fromkeys(self._tiers, "curb")
        owners |= {name: deployment.provider for name, deployment in config.deployments.items()}
        for name, owner in owners.items():
            if principal.may_ask_for(name):
                yield name, owner
        for alias, name in config.aliases.items():
            if alias not in owners and principal.may_ask_for(name):
                yield alias, owners.get(name, "curb")

    def listed(self, principal: Principal, family: FamilyName) -> dict[str, Any]:
        """GET /v1/models, as clients of this family read it."""
        models = [_described(name, owner, family) for name, owner in self.names(principal)]
        if family == "openai":
            return {"object": "list", "data": models}
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
        return {"data": models, "has_more": False, "first_id": None, "last_id": None, **ends}

    def described(self, asked: str, principal: Principal, family: FamilyName) -> dict[str, Any]:
        """GET /v1/models/NAME. Raises BadRequest as `resolve` does."""
        name = self.resolve(asked, principal)
        deployment = self._config.deployments.get(name)
        return _described(asked, deployment.provider if deployment else "curb", family)


def _described(name: str, owner: str, family: FamilyName) -> dict[str, Any]:
    if family == "openai":
        return {"id": name, "object": "model", "created": 0, "owned_by": owner}
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}


def _bare_names(config: GatewayConfig) -> dict[str, tuple[str, ...]]:
    """The deployments that each name of a provider's model stands for."""
    found: dict[str, dict[str, None]] = {}
    for name, deployment in config.deployments.items():
        for bare in (deployment.model, name.partition("/")[2]):
            found.setdefault(bare, {})[name] = None
    for alias, name in config.aliases.items():
        found.setdefault(alias.partition("/")[2], {})[name] = None
    return {bare: tuple(names) for bare, names in found.items() if bare}


def _no_model(message: str) -> BadRequest:
    return BadRequest(message, "model", status=404, code="model_not_found")
