"""`curb alerts test` as a person uses it: what arrives, what fails, and what is said of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.command import Curb, Done
from tests.integration.receivers import Answer, Receiver, receiver

_HOOK = "/services/hunter2hunter2"


@dataclass
class Desk:
    """Commands in a directory of their own, and the service that channels lead to."""

    curb: Curb
    service: Receiver

    async def test(self, *arguments: str, **settings: str) -> Done:
        url = {"OPS_SLACK_WEBHOOK": self.service.url + _HOOK}
        return await asyncio.to_thread(self.curb, "alerts", "test", *arguments, **(url | settings))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiver() as service:
        ops = "{type: slack, url_env: OPS_SLACK_WEBHOOK}"
        pager = f"{{type: pagerduty, key_env: PAGER_KEY, url: '{service.url}/v2/enqueue'}}"
        channels = f"alerts:\n  channels:\n    ops: {ops}\n    pager: {pager}\n"
        (tmp_path / "curb.yaml").write_text(channels)
        yield Desk(Curb(tmp_path), service)


async def test_a_message_arrives_and_is_said_to_have(desk: Desk) -> None:
    done = await desk.test("ops", "--severity", "critical")
    assert (done.status, done.out) == (0, "")
    assert "ops (slack): took the message “curb reaches ops”" in done.err
    [request] = desk.service.requests
    assert request.path == _HOOK
    assert request.json["text"] == "🔴 Test: curb reaches ops"


async def test_for_machines_there_is_one_document(desk: Desk) -> None:
    done = await desk.test("ops", "--json")
    assert done.json | {"key": ""} == {
        "channel": "ops",
        "type": "slack",
        "delivered": True,
        "severity": "info",
        "title": "curb reaches ops",
        "key": "",
    }


async def test_a_channel_that_refuses_is_quoted_without_its_secret(desk: Desk) -> None:
    desk.service.says(Answer(404, f"no_service at {_HOOK}"), Answer(404, "no_service"))
    done = await desk.test("ops")
    assert done.status == 1
    assert done.err == "curb: ops: answered 404: no_service at ***\n"
    done = await desk.test("ops", "--json")
    assert done.status == 1
    assert json.loads(done.out)["error"] == {
        "type": "ChannelRefused",
        "message": "ops: answered 404: no_service",
    }


async def test_an_unknown_channel_is_answered_with_those_there_are(desk: Desk) -> None:
    done = await desk.test("opps")
    assert done.status == 2
    assert "there is no channel opps; did you mean ops? There are: ops, pager, log, slack, email" in done.err


async def test_what_a_channel_lacks_is_said(desk: Desk) -> None:
    done = await desk.test("pager")
    assert done.status == 2
    assert "the environment variable PAGER_KEY is not set; set it to the integration key" in done.err
    done = await desk.test("slack")
    assert done.status == 2
    assert "set CURB_SLACK_WEBHOOK_URL" in done.err
    done = await desk.test("slack", SLACK_WEBHOOK_URL=desk.service.url)
    assert done.status == 0


async def test_an_incident_that_a_test_opened_is_pointed_out(desk: Desk) -> None:
    done = await desk.test("pager", PAGER_KEY="k" * 32)
    assert done.status == 0
    assert "close it by hand" in done.err
    assert desk.service.requests[0].json["event_action"] == "trigger"


async def test_the_log_is_always_there(desk: Desk) -> None:
    done = await desk.test("log")
    assert done.status == 0
    assert "curb reaches log" in done.err
