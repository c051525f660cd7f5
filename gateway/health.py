"""Watching providers: a look at each per slot, a judgement, and the switch that takes one out of routing.

A provider that is down is switched off under the name that anybody may use, `kill:provider:NAME`: the gateway
then leaves its deployments out and takes the tier's next; where none is left, runs wait. curb sets it only
where none is set, with an expiry as a safety net that is prolonged while the outage lasts, and lifts
only what it set itself.

A provider that is switched off is asked for its models, also where `call` is configured: admission refuses
everybody while a kill switch is set, and a way around it for one caller would be a hole (I1, I7).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from gateway.calls import Call, Caller, Completion, Message, ModelRequest, Text
from gateway.errors import StateUnavailable, StoreUnavailable
from gateway.gateway import Gateway
from gateway.policy.health import (
    MOST_DOUBLINGS,
    Calls,
    HealthPlan,
    Judgement,
    Kind,
    Probe,
    Standing,
    judge,
    needed,
)
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.providers.probes import Look, Prober
from gateway.store.health import Health, Probed, Target

PROBE_AGENT = "curb-probe"
OWN_VALUE = "auto:health:"
_AGAIN_EVERY_SECONDS = 300
_PROVIDERS_FAULT = frozenset(
    {
        ErrorKind.SERVER_ERROR,
        ErrorKind.OVERLOADED,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECT,
        ErrorKind.CUT_STREAM,
        ErrorKind.BAD_RESPONSE,
    }
)
_FAULTS = frozenset(kind.value for kind in _PROVIDERS_FAULT)
_ANSWERS = frozenset(kind.value for kind in ErrorKind) - _FAULTS


class Watch:
    """Looks at providers and judges them. Both may be done again for the same slot without harm."""

    def __init__(self, gateway: Gateway, plan: HealthPlan) -> None:
        self._gateway = gateway
        self._authority = gateway.authority
        self._store = gateway.store
        self._plan = plan
        self._prober = Prober()

    async def probe(self, slot: datetime) -> int:
        """Look at everything that was not looked at in this slot yet, all at once; how many could be.

        Raises StoreUnavailable; whatever a provider does is a result.
        """
        done = await self._store.health.probed(slot)
        off = await self._switched_off()
        wanted = {target: kind for target, kind in self._targets().items() if target not in done}
        looks = await asyncio.gather(*(self._probe(*item, slot, off) for item in wanted.items()))
        found = [each for each in looks if each is not None]
        await self._store.health.record(found)
        return len(found)

    async def judge(self, slot: datetime) -> list[Health]:
        """Judge everything by its last probes and calls, act on it, and keep what is held of it now.

        Raises StateUnavailable, StoreUnavailable; a judgement is kept after what follows from it is done.
        """
        plan, store = self._plan, self._store.health
        targets = {**dict.fromkeys(((name, "") for name in plan.providers), "off"), **self._targets()}
        known = {(each.provider, each.deployment): each for each in await store.latest()}
        most = needed(plan.rules, MOST_DOUBLINGS) + plan.rules.down_after
        probes = await store.recent(targets, up_to=slot, limit=most)
        calls = await store.outcomes(
            window_seconds=plan.rules.window_seconds, faults=_FAULTS, answers=_ANSWERS, besides=PROBE_AGENT
        )
        for target in targets:
            before = known.get(target)
            if before is not None and before.checked_at is not None and before.checked_at >= slot:
                continue
            was = before.standing if before is not None else Standing()
            seen = probes[target]
            judged = self._judged(target, seen, calls.get(target[0], Calls()), was, slot)
            if not target[1]:
                await self._act(target[0], judged, was, calls.get(target[0], Calls()), slot)
            latency = seen[0].latency_ms if seen else 0
            await store.hold(target, judged, slot=slot, latency_ms=latency)
        return await store.latest()

    def _targets(self) -> dict[Target, Kind]:
        """Everything that is looked at."""
        config = self._gateway.config
        wanted: dict[Target, Kind] = {
            (name, ""): kind
            for name, kind in self._plan.providers.items()
            if kind != "off" and name in config.providers
        }
        for name in self._plan.deployments:
            if name in config.deployments:
                wanted[config.deployments[name].provider, name] = "call"
        return wanted

    # Looking

    async def _switched_off(self) -> frozenset[str]:
        """Providers that nothing is bought from now; none that is known when Redis is silent."""
        names = {f"kill:provider:{provider}": provider for provider in self._plan.providers}
        try:
            found = await self._authority.read_switches(names)
        except StateUnavailable:
            return frozenset()
        return frozenset(names[name] for name in found)

    async def _probe(self, target: Target, kind: Kind, slot: datetime, off: frozenset[str]) -> Probed | None:
        """Look until it is good, a few times at most. None: nothing can be said."""
        first = ""
        look: Look | None = None
        for number in range(self._plan.tries):
            if number:
                await asyncio.sleep(self._plan.pause_seconds)
            look, kind = await self._look(target, kind, slot, number, off)
            if look is None:
                return None
            if look.blame != "provider":
                break
            first = first or look.error
        assert look is not None, "there is one try at least"
        error = look.error or (f"answered after another try: {first}" if first else "")
        probe = Probe(slot, look.ok, look.blame, look.latency_ms, error)
        return Probed(target[0], target[1], kind, probe)

    async def _look(
        self, target: Target, kind: Kind, slot: datetime, number: int, off: frozenset[str]
    ) -> tuple[Look | None, Kind]:
        provider, deployment = target
        if kind == "call" and provider not in off:
            name = deployment or self._first_deployment(provider)
            look = await self._call(name, f"probe:{name}:{slot:%Y%m%dT%H%M%S}:{number}") if name else None
            if look is not None:
                return look, "call"
        given = self._gateway.config.providers[provider]
        return await self._prober.models(given, self._plan.timeout_seconds), "models"

    def _first_deployment(self, provider: str) -> str:
        """The provider's deployment of the cheapest tier that has one, else any; '' when it has none."""
        config = self._gateway.config
        named = [name for tier in config.tiers for name in tier.deployments]
        all_of_it = (name for name in [*named, *config.deployments] if name in config.deployments)
        return next((name for name in all_of_it if config.deployments[name].provider == provider), "")

    async def _call(self, deployment: str, key: str) -> Look | None:
        """Buy a token. None: the gateway said no, which says nothing of the provider."""
        plan, clock = self._plan, asyncio.get_running_loop().time
        request = ModelRequest(
            messages=(Message(role="user", parts=(Text(text="ping"),)),), max_output_tokens=plan.call_tokens
        )
        call = Call(
            key=key,
            caller=Caller(agent=PROBE_AGENT),
            request=request,
            tier=deployment,
            agent_daily_budget_nano_usd=plan.call_budget_nano_usd,
            timeout_seconds=plan.timeout_seconds,
            total_timeout_seconds=plan.timeout_seconds + 1,
            max_attempts=1,
            downgrade=False,
        )
        started = clock()
        try:
            outcome = await self._gateway.complete(call)
        except ProviderError as error:  # what no retry mends is about the request
            return Look(error.summary, "us", round((clock() - started) * 1000))
        except (StateUnavailable, StoreUnavailable):
            return None
        return _look_of(outcome, round((clock() - started) * 1000))

    # Judging

    def _judged(
        self, target: Target, probes: Sequence[Probe], calls: Calls, was: Standing, slot: datetime
    ) -> Judgement:
        if not probes or probes[0].at != slot:  # not looked at: no key, or switched off in curb.yaml
            held = was if was.status == "unknown" else replace(was, status="unknown", since=slot)
            return Judgement(held, "not looked at")
        of_it = calls if not target[1] else Calls()
        return judge(probes, of_it, was, self._plan.rules, slot)

    async def _act(
        self, provider: str, judged: Judgement, was: Standing, calls: Calls, slot: datetime
    ) -> None:
        """Switch a provider off or on, and tell."""
        switched = await self._switch(provider, judged)
        scope, since = f"provider:{provider}", judged.standing.since if judged.status == "down" else was.since
        if judged.status == "down" and since is not None:
            seconds = int((slot - since).total_seconds())
            evidence = {
                "provider": provider,
                "reason": judged.reason,
                "calls": calls.calls,
                "errors": calls.errors,
                "down_seconds": seconds,
                "switch": switched,
            }
            # Told again now and then, so that it stays an alert that fires.
            key = f"provider_down:{provider}:{since:%Y%m%dT%H%M%S}:{seconds // _AGAIN_EVERY_SECONDS}"
            await self._store.events.alert("provider_down", scope, evidence, key=key)
        elif was.status == "down" and since is not None:
            seconds = int((slot - since).total_seconds())
            evidence = {"provider": provider, "down_seconds": seconds, "good_probes": judged.good}
            key = f"provider_down:{provider}:{since:%Y%m%dT%H%M%S}:over"
            await self._store.events.alert("provider_down", scope, evidence, key=key, state="resolved")

    async def _switch(self, provider: str, judged: Judgement) -> str:
        """Bring curb's own switch to what was judged; what the switch says then, '' when it is not set.

        Whatever anybody else set stays as it is.
        """
        name, plan = f"kill:provider:{provider}", self._plan
        current = (await self._authority.read_switches([name])).get(name, "")
        expires_ms = int(plan.switch_seconds * 1000)
        own = current.startswith(OWN_VALUE)
        if judged.status == "down" and plan.switch_off:
            if not current:
                value = f"{OWN_VALUE}down since {judged.standing.since:%Y-%m-%dT%H:%M:%SZ}"
                await self._authority.set_switch(name, value, expires_ms, only_if_unset=True)
            elif own:
                await self._authority.prolong_switch(name, current, expires_ms)
        elif own:
            await self._authority.clear_switch(name, expected=current)
        return (await self._authority.read_switches([name])).get(name, "")


def _look_of(outcome: Completion | Refusal, latency_ms: int) -> Look | None:
    if isinstance(outcome, Completion):
        return Look("", "", latency_ms)
    if outcome.kind is not RefusalKind.UNAVAILABLE or not outcome.attempts:
        return None
    # An attempt was made and failed. The refusal carries the provider's answer only as words.
    return Look(outcome.detail, "us" if " answered 429" in outcome.detail else "provider", latency_ms)
