"""http_get against a real web server: the allow-list holds, also over redirects and names."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from activities.toolbox import Toolbox, ToolOutcome
from gateway.agents import Agent
from gateway.calls import ToolUse
from tests.integration.servers import free_port

SCRIPT = str(Path(__file__).parent / "servers" / "web_server.py")


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """`127.0.0.1:port` of a server whose redirect `out` leads to its other name, localhost."""
    port = free_port()
    process = subprocess.Popen([sys.executable, SCRIPT, str(port), f"http://localhost:{port}/page"])
    transport = httpx.HTTPTransport(retries=10)  # backs off by itself until the port is open
    with httpx.Client(transport=transport) as client:
        client.get(f"http://127.0.0.1:{port}/page")
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


async def _get(url: str, *allow: str) -> ToolOutcome:
    async with Toolbox() as box:
        return await box.execute(
            ToolUse(id="t", name="http_get", arguments=json.dumps({"url": url})),
            agent=Agent(name="a", tools=("http_get",), http_allow=allow),
            mode="live",
            idempotency_key="k",
        )


async def _refused(url: str, *allow: str) -> str:
    outcome = await _get(url, *allow)
    assert outcome.result.is_error, outcome.result.content
    return outcome.result.content


async def test_fetches_text(web: str) -> None:
    outcome = await _get(f"http://{web}/page?q=1", web)

    assert outcome.result.content == (
        f"HTTP 200, text/plain; charset=utf-8, {len(web) + 12} bytes\n\nhost={web} q=1 ü"
    )


async def test_the_server_is_asked_by_its_name(web: str) -> None:
    by_name = web.replace("127.0.0.1", "localhost")

    assert f"host={by_name} " in (await _get(f"http://{by_name}/page", by_name)).result.content


async def test_an_empty_list_allows_nothing(web: str) -> None:
    assert "not on the list" in await _refused(f"http://{web}/page")


async def test_a_prefix_allows_what_is_below(web: str) -> None:
    prefix = f"http://{web}/api/"

    assert not (await _get(f"http://{web}/api/page", prefix)).result.is_error
    assert "not on the list" in await _refused(f"http://{web}/private/page", prefix)
    assert "not on the list" in await _refused(f"http://{web}/api/to/above", prefix)


async def test_a_redirect_inside_of_the_list_is_followed(web: str) -> None:
    assert "q=moved" in (await _get(f"http://{web}/to/here", web)).result.content


async def test_a_redirect_out_of_the_list_is_not_followed(web: str) -> None:
    said = await _refused(f"http://{web}/to/out", web)

    assert said.startswith("http://localhost:")
    assert "not on the list" in said


async def test_redirects_are_bounded(web: str) -> None:
    assert "redirects more than 5 times" in await _refused(f"http://{web}/to/loop", web)


@pytest.mark.parametrize("name", ["127.1", "0x7f.1", "2130706433"])
async def test_a_name_that_leads_to_a_private_address_is_refused(web: str, name: str) -> None:
    """These spell 127.0.0.1 as the resolver reads names; the list names them, not the address."""
    host = web.replace("127.0.0.1", name)

    assert "private address" in await _refused(f"http://{host}/page", host)


async def test_too_much_is_refused(web: str) -> None:
    assert "larger than 1,000,000 bytes" in await _refused(f"http://{web}/big", web)


async def test_what_is_not_text_is_refused(web: str) -> None:
    assert "not text" in await _refused(f"http://{web}/picture", web)


async def test_an_error_answer_is_an_error_result(web: str) -> None:
    assert await _refused(f"http://{web}/missing", web) == "HTTP 404: no such thing"


async def test_nobody_listening_is_said() -> None:
    host = f"127.0.0.1:{free_port()}"

    assert "cannot be fetched" in await _refused(f"http://{host}/", host)


@pytest.mark.parametrize("url", ["not a url", "http://", "http://[", "javascript:alert(1)", "http://a:b:c/"])
async def test_what_is_no_url_is_said(url: str) -> None:
    await _refused(url, "example.org")


async def test_a_host_that_does_not_exist_is_said() -> None:
    assert "cannot be resolved" in await _refused("http://curb.invalid/", "curb.invalid")
