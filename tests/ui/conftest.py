"""A real browser (apt's chromium, headless) before a real console; `make test-ui` runs these."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
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


def _is_wrong(said: ConsoleMessage) -> bool:
    return said.type == "error" and "503" not in said.text


@pytest.fixture
async def page(browser: Browser, admin: Admin) -> AsyncIterator[Page]:
    """An operator's page, logged in by the form; it fails on any error in the browser's log, but of answers
    that tests make up (503)."""
    errors: list[str] = []
    async with listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url:
        context = await browser.new_context(base_url=url)
        opened = await context.new_page()
        await opened.goto("/console")
        # The log-in is answered with 401, which browsers write down.
        opened.on("console", lambda said: errors.append(said.text) if _is_wrong(said) else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        await opened.get_by_label("A key with the role").fill(admin.tokens["operator"])
        await opened.keyboard.press("Enter")
        await opened.locator("body[data-connected=yes]").wait_for()
        yield opened
        await context.close()
    assert errors == []
