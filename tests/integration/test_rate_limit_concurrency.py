"""Many processes against one rate: exactly so many pass, whoever asks first."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from gateway.state.authority import Authority
from tests.budget_world import DATABASE, KEY
from tests.integration.waiting import until

LIMIT = 123


async def test_fifty_clients_in_five_processes_get_exactly_what_the_rate_allows(
    authority: Authority, raw: Any, redis_url: str
) -> None:
    """500 calls against 123 an hour, seven at once: 123 pass, and their second try is free."""
    url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    processes = [await _clients(url, f"p{n}") for n in range(5)]

    async def all_ready() -> bool:
        return bool(await raw.get("curb:lead:ready") == "5")

    await until(all_ready, seconds=60)
    await raw.set("curb:lead:go", "1", ex=60)
    answers: Counter[str] = Counter()
    for process in processes:
        output, _ = await process.communicate()
        answers.update(json.loads(output))

    assert answers["admitted"] == answers["again"] == LIMIT
    assert answers["tier"] == 2 * (500 - LIMIT)
    assert await raw.llen(KEY("rate:tier:3600000:key:shared")) == LIMIT
    assert await raw.exists(KEY("busy:shared")) == 0


async def _clients(url: str, process_id: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.rate_clients", url, process_id, "10", "10", str(LIMIT)),
        stdout=asyncio.subprocess.PIPE,
    )
