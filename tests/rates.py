"""Time for rates: it passes when a test says so."""

from typing import Any

from tests.budget_world import KEY


async def pass_time(redis: Any, milliseconds: int) -> None:
    """Make it as much later for every rate, as if nobody had asked meanwhile."""
    async for name in redis.scan_iter(KEY("rate:*")):
        times, ttl = await redis.lrange(name, 0, -1), await redis.pttl(name)
        await redis.delete(name)
        if ttl > milliseconds:
            await redis.rpush(name, *(int(each) - milliseconds for each in times))
            await redis.pexpire(name, ttl - milliseconds)
