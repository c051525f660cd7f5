"""Many clients over few connections: each has its turn."""

import asyncio
from collections import Counter

from gateway.state.connection import MAX_CONNECTIONS, Connection

ROUNDS = 50


async def test_whoever_waits_for_a_connection_is_served_before_those_who_had_one(redis_url: str) -> None:
    connection = Connection(redis_url, "turns:")
    served: Counter[int] = Counter()
    furthest_when_first_served = []

    async def client(number: int) -> None:
        for _ in range(ROUNDS):
            await connection.call(connection.redis.ping)
            if not served[number]:
                furthest_when_first_served.append(max(served.values(), default=0))
            served[number] += 1

    try:
        await asyncio.gather(*map(client, range(2 * MAX_CONNECTIONS)))
    finally:
        await connection.close()

    assert max(furthest_when_first_served) < ROUNDS // 5
