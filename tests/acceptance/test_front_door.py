"""The front door as a user has it: open beside `curb dev`, and for keys only as `curb gateway`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.command import Curb, Gateway

ASKED = {"model": "balanced", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 30}


@pytest.fixture(scope="module")
def gateway(curb: Curb) -> Iterator[str]:
    """The URL of a `curb gateway`."""
    process = Gateway(curb)
    yield process.url
    process.close()
    process.ended()


def test_curb_dev_answers_clients_without_a_key(curb: Curb) -> None:
    url = curb.json("dev")["front_door"]

    answer = httpx.post(f"{url}/v1/chat/completions", json=ASKED, headers={"authorization": "Bearer any"})

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    spent_on(curb, "endpoint", "/v1/chat/completions")


def test_curb_dev_lets_its_developer_launch_and_follow_a_run(curb: Curb) -> None:
    url, asked = curb.json("dev")["front_door"], {"agent": "worker", "task": "Do it.", "id": "by-http"}

    made = httpx.post(f"{url}/v1/runs", json=asked)
    assert made.status_code == 201, made.text
    with httpx.stream("GET", f"{url}/v1/runs/by-http/events", timeout=60) as answer:
        said = [line for line in answer.iter_lines() if line.startswith("event:")]

    assert said[-1] == "event: end"
    assert made.json()["temporal_ui"].endswith("/workflows/by-http")
    assert curb.json("show", "by-http")["status"] == "completed"


def test_curb_dev_shows_its_developer_the_console_and_no_other_site(curb: Curb) -> None:
    place = curb.json("dev")["console"]

    page = httpx.get(place, follow_redirects=True)
    foreign = httpx.get(place, headers={"host": "rebound.example"}, follow_redirects=True)

    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/console/" in page.text
    assert foreign.status_code in (401, 403)


def test_metrics_are_told_at_the_front_door(curb: Curb) -> None:
    told = httpx.get(f"{curb.json('dev')['front_door']}/metrics").text

    assert "llm_budget_remaining_dollars{" in told
    assert "llm_cost_dollars_total{" in told


def test_a_gateway_serves_the_admin_api_by_roles(curb: Curb, gateway: str) -> None:
    token = curb.json("keys", "create", "api-viewer", "--role", "viewer")["token"]
    key = {"authorization": f"Bearer {token}"}

    assert httpx.get(f"{gateway}/api/v1/costs/summary").status_code == 401
    assert httpx.get(f"{gateway}/api/v1/costs/summary", headers=key).status_code == 200
    assert httpx.get(f"{gateway}/v1/runs", headers=key).status_code == 200
    refused = httpx.put(f"{gateway}/api/v1/switches/kill:global", headers=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_a_gateway_takes_keys_only(curb: Curb, gateway: str) -> None:
    token = curb.json("keys", "create", "front-door-test", "--agent", "visitor")["token"]

    without = httpx.post(f"{gateway}/v1/messages", json=ASKED)
    answer = httpx.post(f"{gateway}/v1/messages", json=ASKED, headers={"x-api-key": token})

    assert without.status_code == 401
    assert without.json()["type"] == "error"
    assert answer.status_code == 200
    assert answer.json()["content"]
    spent_on(curb, "agent", "visitor")


def test_a_gateway_that_closes_tells_who_still_listens_and_books_what_was_bought(curb: Curb) -> None:
    token = curb.json("keys", "create", "closing-test", "--agent", "listener")["token"]
    closing = Gateway(curb, CURB_SHUTDOWN_SECONDS="1")
    model = "openai/gpt-5-mini@say-400+slow-stream-150"
    heard = ""

    body = {**ASKED, "model": model, "stream": True, "max_tokens": 900}
    for piece in pieces(closing.url, token, body):
        if not heard:
            closing.close()
        heard += piece
    said = closing.ended()

    assert "this server is closing" in heard
    assert "Traceback" not in said
    resolved(curb)


def test_a_gateway_that_is_killed_leaves_nothing_unbooked(curb: Curb) -> None:
    token = curb.json("keys", "create", "killed-test", "--agent", "victim")["token"]
    killed = Gateway(curb)
    body = {**ASKED, "model": "openai/gpt-5-mini@say-400+slow-stream-150", "stream": True, "max_tokens": 900}

    with contextlib.suppress(httpx.RemoteProtocolError):
        for _ in pieces(killed.url, token, body):
            killed.kill()

    # Its lease lapses, then its money is in doubt, and the provider's invoice says what it was.
    resolved(curb)
    spent_on(curb, "agent", "victim")


def test_a_port_that_is_taken_is_said(curb: Curb, gateway: str) -> None:
    port = gateway.rpartition(":")[2]

    done = curb("gateway", "--port", port, CURB_METRICS_PORT="0")

    assert done.status == 2
    assert f"port {port} of 127.0.0.1" in done.err


def pieces(url: str, token: str, body: dict[str, Any]) -> Iterator[str]:
    """A stream as it comes."""
    headers = {"x-api-key": token}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
        yield from answer.iter_text()


def resolved(curb: Curb) -> None:
    """Wait until everything is booked as the provider bills it."""
    curb.until(lambda: curb("ledger", "resolve", "--min-age", "0s"), lambda done: done.status == 0)


def spent_on(curb: Curb, dimension: str, name: str) -> None:
    """Wait until `curb costs` shows it."""
    curb.until(lambda: str(curb.json("costs", "--by", dimension)), lambda shown: name in shown)
