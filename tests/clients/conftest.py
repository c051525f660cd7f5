"""One front door for all clients: models of both families that use a tool, talk, or talk slowly."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.clients.programs import ALIASES, CLAUDE, CLAUDE_SLOW, GPT, GPT_SLOW
from tests.integration.databases import migrated_database
from tests.integration.front import Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatedProvider]:
    """A simulated provider of this module, with an invoice of its own."""
    provider = SimulatedProvider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
async def front(
    redis_url: str, database_url: str, simulator: SimulatedProvider, request: pytest.FixtureRequest
) -> AsyncIterator[Front]:
    name = request.module.__name__.rpartition(".")[2]
    tiers = [("balanced", [GPT, GPT_SLOW]), ("frontier", [CLAUDE, CLAUDE_SLOW])]
    with migrated_database(database_url, name) as url:
        given = replace(config(simulator.url, *tiers), aliases=ALIASES)
        async with open_front(given, Servers(redis_url, url), simulator) as opened:
            yield opened
