"""Whatever the way of buying: the ledger is the provider's invoice, and all counters have moved alike."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.conformance.house import House, names, open_house
from tests.conformance.surfaces import SURFACES, Surface
from tests.simulated import SimulatedProvider
from worker.wiring import Servers


@pytest.fixture(scope="module")
async def house(
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    root = tmp_path_factory.mktemp("root")
    (root / "notes.txt").write_text("Every way keeps the same books.\n")
    async with open_house(temporal, Servers(redis_url, database), simulator, root) as opened:
        yield opened


@pytest.mark.parametrize("surface", SURFACES, ids=names(SURFACES))
async def test_ledger_invoice_and_counters_are_equal(house: House, surface: Surface) -> None:
    await surface.buy(house, surface.name)

    books = await house.books(surface.name)
    assert books.ledger == books.invoice
    assert books.counters == dict.fromkeys(("agent", "team", "user"), books.ledger)
    assert (books.ledger > 0) == surface.pays
    assert len(books.attempts) == surface.attempts
