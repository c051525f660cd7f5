"""`python -m bench similar`: finding the most similar of a partition's vectors, in three ways.

pgvector, one by one, as the cache does; pgvector by an HNSW index over all partitions; and fetching the
partition's vectors as bytes to compare them in Python. 50 partitions of 1,000 vectors, 256 numbers each.
"""

import math
import random
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence

from bench.report import Figure, percentile
from bench.world import world
from gateway.store.database import Database

_PARTITIONS, _EACH, _DIMENSIONS, _LOOKS = 50, 1_000, 256, 200
_MAKE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TABLE similar_bench (id int PRIMARY KEY, partition int, vector vector(256), bytes bytea)",
)
_INDEXES = (
    "CREATE INDEX ON similar_bench (partition)",
    "CREATE INDEX similar_hnsw ON similar_bench USING hnsw (vector vector_cosine_ops)",
    "ANALYZE similar_bench",
)
_ONE_BY_ONE = """SELECT id FROM (SELECT id, vector <=> %(vector)s::vector AS d FROM similar_bench
WHERE partition = %(partition)s OFFSET 0) AS v ORDER BY d LIMIT 1"""
_BY_INDEX = """SELECT id FROM (SELECT id, partition FROM similar_bench ORDER BY vector <=> %(vector)s::vector
LIMIT 40) AS v WHERE partition = %(partition)s LIMIT 1"""
_FETCH = "SELECT id, bytes FROM similar_bench WHERE partition = %(partition)s"

Look = Callable[[int, Sequence[float]], Awaitable[int | None]]


async def measure(quick: bool) -> Sequence[Figure]:
    """Milliseconds of a look, and how many looks of an index found what is nearest."""
    chance, looks = random.Random(7), _LOOKS // (5 if quick else 1)
    async with world() as here:
        database = await Database.open(here.stack.database_url)
        try:
            await _fill(database, chance)
            asked = [(chance.randrange(_PARTITIONS), _unit(chance)) for _ in range(looks)]
            exact, exact_ms = await _time(asked, lambda p, v: _ask(database, _ONE_BY_ONE, p, v))
            near, near_ms = await _time(asked, lambda p, v: _ask(database, _BY_INDEX, p, v))
            own, own_ms = await _time(asked, lambda p, v: _in_python(database, p, v))
        finally:
            await database.close()
    assert exact == own
    hits = sum(a == b for a, b in zip(exact, near, strict=True))
    return [
        Figure("vectors in a partition", _EACH),
        Figure("pgvector, one by one, p50", percentile(exact_ms, 50), "ms"),
        Figure("pgvector, one by one, p99", percentile(exact_ms, 99), "ms"),
        Figure("pgvector by an HNSW index, p50", percentile(near_ms, 50), "ms"),
        Figure("of these, found the partition's nearest", 100 * hits / looks, "%"),
        Figure("fetched and compared in Python, p50", percentile(own_ms, 50), "ms"),
        Figure("Python over pgvector", percentile(own_ms, 50) / percentile(exact_ms, 50), "x"),
    ]


async def _fill(database: Database, chance: random.Random) -> None:
    for statement in _MAKE:
        await database.select(statement, {})
    for partition in range(_PARTITIONS):
        vectors = [_unit(chance) for _ in range(_EACH)]
        await database.select(
            "INSERT INTO similar_bench SELECT * FROM unnest(%(ids)s::int[], %(partitions)s::int[],"
            " %(vectors)s::vector[], %(bytes)s::bytea[])",
            {
                "ids": [partition * _EACH + n for n in range(_EACH)],
                "partitions": [partition] * _EACH,
                "vectors": [_written(vector) for vector in vectors],
                "bytes": [array("f", vector).tobytes() for vector in vectors],
            },
        )
    for statement in _INDEXES:
        await database.select(statement, {})


async def _time(
    asked: Sequence[tuple[int, Sequence[float]]], look: Look
) -> tuple[list[int | None], list[float]]:
    found, took = [], []
    for partition, vector in asked:
        started = time.perf_counter()
        found.append(await look(partition, vector))
        took.append((time.perf_counter() - started) * 1_000)
    return found, took


async def _ask(database: Database, sql: str, partition: int, vector: Sequence[float]) -> int | None:
    rows = await database.select(sql, {"partition": partition, "vector": _written(vector)})
    return int(rows[0]["id"]) if rows else None


async def _in_python(database: Database, partition: int, vector: Sequence[float]) -> int | None:
    rows = await database.select(_FETCH, {"partition": partition})

    def likeness(stored: bytes) -> float:
        return sum(a * b for a, b in zip(array("f", stored), vector, strict=True))

    return int(max(rows, key=lambda row: likeness(row["bytes"]))["id"])


def _unit(chance: random.Random) -> list[float]:
    numbers = [chance.gauss(0, 1) for _ in range(_DIMENSIONS)]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _written(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{number:.6f}" for number in vector) + "]"
