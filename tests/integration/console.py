"""A browser without a script, for tests of the console."""

import asyncio
import re
from html import unescape

import httpx

from tests.integration.admin import Admin


async def logged_in(client: httpx.AsyncClient, admin: Admin, role: str) -> httpx.Response:
    return await client.post("/console/login", data={"key": admin.tokens[role]})


def csrf_in(page: str) -> str:
    """What the forms of a page bring back."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return unescape(found[1])


async def acted(client: httpx.AsyncClient, **asked: str) -> httpx.Response:
    csrf = csrf_in((await client.get("/console")).text)
    return await client.post(
        "/console/act", data={"csrf": csrf, **asked}, headers={"accept": "application/json"}
    )


async def until_in(client: httpx.AsyncClient, path: str, words: str) -> str:
    async with asyncio.timeout(60):
        while words not in (page := (await client.get(path)).text):
            await asyncio.sleep(0.1)
    return page
