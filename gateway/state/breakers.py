"""Circuit breakers: telling them how attempts ended, and reading them."""

import json
from collections.abc import Sequence
from typing import Literal, cast

from gateway.config import GatewayConfig
from gateway.policy.breaker import BreakerState, Circuit, Outcome
from gateway.state.decisions import Decisions

BreakerChange = Literal["opened", "closed", "paused", ""]


class Breakers:
    """The part of the authority that deals with circuits. Admission itself looks at them."""

    def __init__(self, decisions: Decisions, config: GatewayConfig) -> None:
        self._connection = decisions.connection
        self._rules = config.breaker

    async def report_breaker(
        self, deployment: str, attempt_id: str, outcome: Outcome, *, why: str = "", pause_seconds: float = 0.0
    ) -> BreakerChange:
        """Tell what an attempt said of its deployment; what that changed.

        pause_seconds: how long the deployment asked to be left alone.
        """
        rules = self._rules
        ask = {
            "deployment": deployment,
            "attempt_id": attempt_id,
            "outcome": outcome,
            "why": why,
            "pause_ms": int(pause_seconds * 1000),
            "failures": rules.failures,
            "of": rules.of,
            "ratio_ppm": round(rules.ratio * 1_000_000),
            "remember_ms": int(rules.remember_seconds * 1000),
            "open_ms": int(rules.open_seconds * 1000),
            "longest_ms": int(rules.longest_seconds * 1000),
        }
        return cast(BreakerChange, await self._connection.run("report_breaker", json.dumps(ask)))

    async def breakers(self, deployments: Sequence[str]) -> list[BreakerState]:
        """The circuits of these deployments, all of one instant."""
        reply = await self._connection.run("read_breakers", json.dumps({"deployments": list(deployments)}))
        return [_state(name, reply[7 * n : 7 * n + 7]) for n, name in enumerate(deployments)]


def _state(deployment: str, part: list[str]) -> BreakerState:
    return BreakerState(
        deployment=deployment,
        circuit=cast(Circuit, part[0]),
        until_ms=int(part[1]),
        bad=int(part[2]),
        calls=int(part[3]),
        trips=int(part[4]),
        probing=part[5] == "1",
        why=part[6],
    )
