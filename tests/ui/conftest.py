"""A real browser (apt's chromium, headless) before a real console; `make test-ui` runs these."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, StorageState, async_playwright
from temporalio.client import Client

from tests.integration.admin import Admin, asking, open_house
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider
from worker.console.app import build_console
from worker.listening import listening
from worker.wiring import Servers


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatedProvider]:
    """A simulated provider for all of these."""
    provider = SimulatedProvider()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
async def admin(
    temporal: Client,
    redis_url: str,
    database_url: str,
    simulator: SimulatedProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Admin]:
    """A worker and what a console works with."""
    people = asking(tmp_path_factory.mktemp("root"))
    with migrated_database(database_url, "test_ui") as url:
        async with open_house(temporal, Servers(redis_url, url), simulator, people) as opened:
            yield opened


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    found = shutil.which("chromium")
    assert found is not None, "chromium is missing; `make test-ui` installs it"
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        await opened.close()


@pytest.fixture(scope="session")
async def door(admin: Admin) -> AsyncIterator[str]:
    """Where the console is."""
    async with listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url:
        yield url


@pytest.fixture(scope="session")
async def session(browser: Browser, door: str, admin: Admin) -> StorageState:
    """The cookies of an operator who has logged in by the form."""
    context = await browser.new_context(base_url=door)
    opened = await context.new_page()
    await opened.goto("/console")
    await opened.get_by_label("A key with the role").fill(admin.tokens["operator"])
    await opened.keyboard.press("Enter")
    await opened.locator("body[data-connected=yes]").wait_for()
    state = await context.storage_state()
    await context.close()
    return state


@pytest.fixture
async def page(browser: Browser, door: str, session: StorageState) -> AsyncIterator[Page]:
    """An operator's page; it fails on any error in the browser's log but answers that a test asked for."""
    errors: list[str] = []
    context = await browser.new_context(base_url=door, storage_state=session)
    opened = await context.new_page()
    opened.on("console", lambda said: errors.append(said.text) if _is_wrong(said) else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    await opened.goto("/console")
    await opened.locator("body[data-connected=yes]").wait_for()
    yield opened
    await context.close()
    assert errors == []


def _is_wrong(said: ConsoleMessage) -> bool:
    """Browsers write down refusals, too: without a session (401), or made up (503)."""
    return said.type == "error" and not any(status in said.text for status in ("401", "503"))
