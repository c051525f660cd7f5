"""Clients of one budget in a process of their own, for test_authority_concurrency.

python -m tests.integration.budget_clients URL PROCESS_ID CLIENTS CALLS MODE

Each client makes CALLS calls of 10 nano-dollars against the agent-day of `shared`, all starting
when the key `go` appears. MODE hold: never ends them; settle: ends each at its full amount.
Prints one JSON object: how many times each answer was given.
"""

import asyncio
import json
import sys
from collections import Counter

from redis.asyncio import Redis

from gateway.policy.refusals import Refusal
from gateway.state.authority import Authority
from tests.budget_world import ask, line, settings, settled

ASKED = 10


async def main(url: str, process_id: str, clients: int, calls: int, mode: str) -> Counter[str]:
    authority = await Authority.connect(url, process_id=process_id, config=settings(lease_seconds=60.0))
    answers: Counter[str] = Counter()

    async def client(number: int) -> None:
        for call in range(calls):
            what = ask(f"{process_id}:{number}:{call}", ASKED, line("agent:shared", None), agent="shared")
            answer = await authority.admit(what)
            if isinstance(answer, Refusal):
                answers[answer.kind.value] += 1
                continue
            answers["admitted"] += 1
            if mode == "settle":
                await authority.close_attempt(settled(answer, ASKED))

    await wait_for_go(url)
    await asyncio.gather(*map(client, range(clients)))
    await authority.close()
    return answers


async def wait_for_go(url: str) -> None:
    """Tell that this process is ready, and wait for the word."""
    async with Redis.from_url(url) as redis:
        await redis.incr("curb:lead:ready")
        await redis.expire("curb:lead:ready", 60)
        for _ in range(1000):
            if await redis.exists("curb:lead:go"):
                return
            await asyncio.sleep(0.01)
    raise SystemExit("nobody said go")


if __name__ == "__main__":
    counted = asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
    sys.stdout.write(json.dumps(counted))
