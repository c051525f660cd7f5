"""Counting tokens without buying any: a question to the provider that costs nothing and holds nothing.

Switches stop it as they stop calls: while one is set, nothing is asked of that provider.
"""

from gateway.calls import Caller, WireRequest
from gateway.config import Deployment, GatewayConfig
from gateway.events import Opened
from gateway.policy import routing
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.anthropic import count_tokens
from gateway.providers.errors import ProviderError
from gateway.providers.http import Http
from gateway.state.authority import Authority
from gateway.state.wire import kill_switches

_TIMEOUT_SECONDS = 30.0


class TokenCounter:
    """Asks the providers of the request's own family. One per process."""

    def __init__(self, config: GatewayConfig, authority: Authority, http: Http) -> None:
        self._config = config
        self._authority = authority
        self._http = http

    async def count(self, caller: Caller, request: WireRequest, name: str) -> bytes | Refusal:
        """The provider's own answer for the first deployment of `name` that can give one.

        A Refusal says why there is none. Raises ProviderError where the last provider asked failed,
        and StateUnavailable.
        """
        failed: ProviderError | None = None
        refusal: Refusal | None = None
        for deployment in self._deployments(request, name):
            refusal = await self._switched(caller, deployment)
            if refusal is not None:
                continue
            provider = self._config.providers[deployment.provider]
            try:
                return await count_tokens(
                    self._http, provider, deployment, request, timeout_seconds=_TIMEOUT_SECONDS
                )
            except ProviderError as error:
                if not error.fallback:
                    raise
                failed = error
        if failed is not None:
            raise failed
        what = f"{name}: only Anthropic's deployments count tokens, and it has none"
        return refusal or Refusal(RefusalKind.INVALID, detail=what)

    def _deployments(self, request: WireRequest, name: str) -> list[Deployment]:
        config = self._config
        names = routing.candidates(name, config.tiers, config.deployments, config.aliases)
        found = [config.deployments[each] for each in names]
        return [each for each in found if config.providers[each.provider].family == request.family]

    async def _switched(self, caller: Caller, deployment: Deployment) -> Refusal | None:
        scopes = dict(kill_switches(_as_opened(caller, deployment)))
        set_now = await self._authority.read_switches(tuple(scopes))
        for switch, scope in scopes.items():
            if value := set_now.get(switch):
                return Refusal(RefusalKind.SWITCHED, scope=scope, detail=f"{switch} is set: {value}")
        return None


def _as_opened(caller: Caller, deployment: Deployment) -> Opened:
    """What a call would be stopped by; none is opened."""
    return Opened(
        attempt_id="",
        call_key="",
        number=0,
        process_id="",
        agent=caller.agent,
        tier="",
        deployment=deployment.name,
        provider=deployment.provider,
        model=deployment.model,
        asked_nano_usd=0,
        key_id=caller.key_id,
    )
