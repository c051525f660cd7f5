"""What is asked for in the same moment goes to Redis together, and everybody has his own reply."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import exceptions
from redis.asyncio import ConnectionPool

from gateway.state.line import AT_ONCE, MOST, Line
from worker.stack import FREE_PORTS, Stack

MANY = 3 * AT_ONCE * MOST


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    line = _line(redis_url)
    yield line
    await line.close()


def _line(url: str, timeout_seconds: float = 5.0) -> Line:
    pool = ConnectionPool.from_url(url, decode_responses=True, socket_timeout=None, protocol=2)
    return Line(pool.make_connection, timeout_seconds)


async def test_everybody_has_the_reply_to_what_he_asked(line: Line) -> None:
    replies = await asyncio.gather(*(line.execute("ECHO", str(number)) for number in range(MANY)))

    assert replies == [str(number) for number in range(MANY)]


async def test_many_share_few_connections(line: Line) -> None:
    ids = await asyncio.gather(*(line.execute("CLIENT", "ID") for _ in range(MANY)))

    assert len(set(ids)) <= AT_ONCE


async def test_an_error_is_for_its_asker_alone(line: Line) -> None:
    wrong = asyncio.create_task(line.execute("EVALSHA", "0" * 40, "0"))
    right = asyncio.create_task(line.execute("ECHO", "right"))

    with pytest.raises(exceptions.NoScriptError):
        await wrong
    assert await right == "right"


async def test_who_goes_away_takes_nobody_along(line: Line) -> None:
    leaving = asyncio.create_task(line.execute("ECHO", "leaving"))
    staying = [asyncio.create_task(line.execute("ECHO", str(number))) for number in range(3)]
    await asyncio.sleep(0)
    leaving.cancel()

    assert await asyncio.gather(*staying) == ["0", "1", "2"]


async def test_connections_that_were_closed_are_all_replaced(line: Line, redis_url: str) -> None:
    ids = set(await asyncio.gather(*(line.execute("CLIENT", "ID") for _ in range(MANY))))
    other = _line(redis_url)
    await asyncio.gather(*(other.execute("CLIENT", "KILL", "ID", str(each)) for each in ids))
    await other.close()

    with pytest.raises(exceptions.ConnectionError):
        await line.execute("ECHO", "lost")

    assert await line.execute("ECHO", "found") == "found"


async def test_a_reply_that_came_too_late_is_nobodys(tmp_path: Path) -> None:
    async with Stack(tmp_path, servers=["valkey"], ports=FREE_PORTS) as stack:
        line = _line(stack.redis_url, timeout_seconds=2.0)
        assert await line.execute("ECHO", "before") == "before"
        stack.server("valkey").send(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await line.execute("ECHO", "late")
        stack.server("valkey").send(signal.SIGCONT)

        assert await line.execute("ECHO", "after") == "after"
        await line.close()
