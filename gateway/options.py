"""Options: the ways to make a call, each a deployment with its body, its price and its upper bound."""

from dataclasses import replace
from datetime import UTC, datetime

from gateway.attempt import Option
from gateway.bounds import InputBounds, encoded
from gateway.calls import Call, ModelRequest, Request, WireRequest
from gateway.config import Deployment, GatewayConfig, Provider
from gateway.policy import routing
from gateway.policy.pricing import Price, ceiling_price, upper_bound
from gateway.policy.refusals import Refusal, invalid
from gateway.prices import PriceBook
from gateway.providers.base import Families, Family
from gateway.providers.errors import ProviderError


class Options:
    """Prices deployments for requests. One per process: it learns how long prompts really are."""

    def __init__(self, config: GatewayConfig, prices: PriceBook, families: Families) -> None:
        self._config = config
        self._prices = prices
        self._families = families
        self._bounds = InputBounds()

    def option(self, call: Call, request: Request, tier: str, name: str) -> Option | Refusal:
        """Price one deployment for this request: its body, its bound, what it asks for."""
        deployment = self._config.deployments[name]
        provider = self._config.providers[deployment.provider]
        embeds = isinstance(request, WireRequest) and request.api == "embeddings"
        if embeds != (deployment.kind == "embedding"):
            return invalid(_wrong_kind(deployment))
        price = self._prices.for_deployment(deployment, datetime.now(UTC))
        if price is None:
            return invalid(
                f"{name}: no price is known for {deployment.provider}/{deployment.model}; add one under "
                "`prices` in curb.yaml, or a ceiling price for the deployment"
            )
        wanted = 0 if embeds else self._output_limit(request, tier, name)
        if wanted is None:
            return invalid("max_output_tokens is missing and neither the agent nor the tier gives a default")
        if wanted < (not embeds) or request.n < 1:
            return invalid("max_output_tokens and n must be 1 or more")
        limit = min(wanted, deployment.max_output_tokens)
        family = self._family(provider, request)
        try:
            body, size, as_it_is = encoded(request, family, deployment, limit)
        except (ValueError, ProviderError) as error:  # Unbounded, Untranslatable among them
            return invalid(str(error))
        if isinstance(request, ModelRequest):
            bound = self._bounds.bound(request, size, deployment, call.conversation_id)
        else:
            bound = size + deployment.overhead_tokens
        streamed = not as_it_is or not isinstance(request, WireRequest) or request.streamed
        asked = upper_bound(price, bound, limit, request.n)
        return Option(
            tier, deployment, provider, family, price, request, body, size, bound, limit, asked,
            as_it_is, streamed,
        )  # fmt: skip

    def _output_limit(self, request: Request, tier: str, name: str) -> int | None:
        """The most tokens to answer with: as asked, else what the tier gives who does not say."""
        if request.max_output_tokens is not None:
            return request.max_output_tokens
        known = {each.name: each for each in self._config.tiers}
        own = known.get(tier) or known.get(routing.tier_of(name, self._config.tiers))
        return None if own is None else own.max_output_tokens

    def _family(self, provider: Provider, request: Request) -> Family:
        """Who writes this request for this provider: in the client's own API, where that is spoken there."""
        if isinstance(request, WireRequest) and provider.speaks(request.family, request.api):
            return self._families(provider.family, request.api)
        return self._families(provider.family)

    def price(self, deployment: Deployment, at: datetime) -> Price | None:
        """What this deployment cost at a time."""
        return self._prices.for_deployment(deployment, at)

    def free(self, call: Call, request: Request, deployment: Deployment) -> Option:
        """A way to make this call that asks nobody for anything."""
        provider = self._config.providers[deployment.provider]
        free = replace(ceiling_price(provider.name, deployment.model, 1), id="cache")
        family = self._families(provider.family)
        limit = request.max_output_tokens or 0
        return Option(call.tier, deployment, provider, family, free, request, b"", 0, 0, limit, 0)

    def counted(self, option: Option, call: Call, prompt_tokens: int) -> None:
        """Learn from what a deployment counted for the prompt of this option."""
        if isinstance(option.request, ModelRequest):
            self._bounds.report(
                option.request, option.size, option.deployment, call.conversation_id, prompt_tokens
            )


def _wrong_kind(deployment: Deployment) -> str:
    if deployment.kind == "embedding":
        return f"{deployment.name} makes embeddings and no answers; ask for it at /v1/embeddings"
    return f"{deployment.name} makes no embeddings; ask for a deployment of `kind: embedding`"
