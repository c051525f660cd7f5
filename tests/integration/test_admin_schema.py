"""The admin API is what its OpenAPI document says, whatever is sent to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from temporalio.client import Client

from tests.integration.admin import Admin, open_house
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

EXAMPLES = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
async def admin(
    temporal: Client, redis_url: str, database_url: str, simulator: SimulatedProvider
) -> AsyncIterator[Admin]:
    with migrated_database(database_url, "test_admin_schema") as url:
        async with open_house(temporal, Servers(redis_url, url), simulator) as opened:
            yield opened


# Hypothesis looks whether a strategy used the global generator; the server's threads here may at that moment.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_whatever_is_sent_the_answer_is_as_documented(admin: Admin, mode: GenerationMode) -> None:
    """Well-formed requests, and broken ones, to each operation: never a 500, always a documented answer."""
    assert await asyncio.to_thread(_try_all, admin, mode) > 30


def _try_all(admin: Admin, mode: GenerationMode) -> int:
    """How many operations were tried."""
    schema = schemathesis.openapi.from_url(f"{admin.url}/api/v1/openapi.json")
    key = {"authorization": f"Bearer {admin.tokens['admin']}"}
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @seed(7)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: "schemathesis.Case[Any]") -> None:
            case.call_and_validate(headers=key, checks=CHECKS)

        # Of what takes nothing, nothing broken can be made.
        with contextlib.suppress(Unsatisfiable):
            holds()
        tried += 1
    return tried


async def test_the_document_is_open_to_whoever_asks_and_names_every_error(admin: Admin) -> None:
    async with httpx.AsyncClient(base_url=admin.url) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], f"{method} {path} says nothing"
            assert {"401", "403", "422", "503"} <= set(operation["responses"]), path
