"""Clients of one rate in a process of their own, for test_rate_limit_concurrency.

python -m tests.integration.rate_clients URL PROCESS_ID CLIENTS CALLS LIMIT

Each client makes CALLS calls, all starting when the key `go` appears; a call that is admitted is
given back and asked for once more. Prints one JSON object: how many times each answer was given.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import replace

from gateway.policy.rate_limits import HOUR_MS, InFlightLine, Rate, RateLine
from gateway.policy.refusals import Refusal
from gateway.state.authority import Ask, Authority
from tests.budget_world import ask, released, settings
from tests.integration.budget_clients import wait_for_go

IN_FLIGHT = 7


async def main(url: str, process_id: str, clients: int, calls: int, limit: int) -> Counter[str]:
    authority = await Authority.connect(url, process_id=process_id, config=settings(lease_seconds=60.0))
    rates = (RateLine("tier", "key:shared", Rate(limit, HOUR_MS), "pro"),)
    lanes = (InFlightLine("key:shared", IN_FLIGHT),)
    answers: Counter[str] = Counter()

    async def client(number: int) -> None:
        for call in range(calls):
            what = replace(ask(f"{process_id}:{number}:{call}", 1), rates=rates, in_flight=lanes)
            for turn in ("admitted", "again"):
                passed = await passes(what)
                answers[turn] += passed

    async def passes(what: Ask) -> bool:
        """Whether it is admitted, once there is room in flight."""
        while True:
            answer = await authority.admit(what)
            if not isinstance(answer, Refusal):
                await authority.close_attempt(released(answer))
                return True
            answers[answer.rate_rule or answer.kind.value] += 1
            if answer.rate_rule != "in_flight":
                return False

    await wait_for_go(url)
    await asyncio.gather(*map(client, range(clients)))
    await authority.close()
    return answers


if __name__ == "__main__":
    counted = asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
    sys.stdout.write(json.dumps(counted))
