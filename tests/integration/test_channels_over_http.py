"""Slack, ntfy, PagerDuty and webhooks against real HTTP servers: what arrives, and what becomes of errors."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.channels import (
    Attachment,
    Channel,
    ChannelBusy,
    ChannelRefused,
    ChannelUnavailable,
)
from activities.channels.message import ChannelError
from activities.channels.ntfy import Ntfy
from activities.channels.opsgenie import OpsGenie
from activities.channels.pace import Pace
from activities.channels.pagerduty import PagerDuty
from activities.channels.post import Post, http_client
from activities.channels.slack import Slack
from activities.channels.webhook import Webhook
from tests.channel_messages import FIRING, message
from tests.integration.receivers import Answer, Received, Receiver, receiver

_DOCUMENT = Path(__file__).parents[2] / "docs/channels.md"
_HOOK = "/services/T0001/B0002/hunter2hunter2"
_SECRET = "hunter2-shared-secret"
_KEY = "hunter2hunter2hunter2hunter2hunt"
_TOKEN = "tk_hunter2hunter2hunter2"


@pytest.fixture
async def service() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


def post(client: httpx.AsyncClient, *secrets: str, patience: float = 15.0, timeout: float = 10.0) -> Post:
    pace = Pace(0.0, patience_seconds=patience)
    return Post("ops", client, pace, secrets=secrets, timeout_seconds=timeout)


def slack(client: httpx.AsyncClient, service: Receiver, **limits: float) -> Slack:
    url = service.url + _HOOK
    return Slack(post(client, url, **limits), url)


async def told(channel: Channel) -> ChannelError:
    """The error of a delivery that fails."""
    with pytest.raises(ChannelError) as caught:
        await channel.send(FIRING)
    return caught.value


async def test_slack_gets_a_header_a_coloured_bar_and_everything_escaped(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    await slack(client, service).send(FIRING)
    [request] = service.requests
    assert (request.method, request.path) == ("POST", _HOOK)
    assert request.headers["content-type"] == "application/json"
    assert request.json["text"] == "🔴 research-bot spends $16.20 in 5 minutes"
    assert request.json["blocks"][0]["type"] == "header"
    [attachment] = request.json["attachments"]
    assert attachment["color"] == "#d92d20"
    text, fields, links, footer = attachment["blocks"]
    assert text["text"]["text"] == FIRING.text
    assert fields["fields"][2]["text"] == "*Run*\na&lt;b&gt; &amp; c*d*"
    run = "https://ui.example.org/namespaces/default/workflows/r1?a=1&amp;b=2"
    assert links["text"]["text"] == f"<{run}|Open the run>  ·  <https://example.org/runbook|Runbook>"
    assert footer["type"] == "context"


async def test_slack_shows_that_it_is_over(client: httpx.AsyncClient, service: Receiver) -> None:
    await slack(client, service).send(message(kind="resolved"))
    [request] = service.requests
    assert request.json["text"].startswith("✅ Resolved: ")
    assert request.json["attachments"][0]["color"] == "#12b76a"


async def test_slack_that_is_busy_says_for_how_long_and_takes_the_message_afterwards(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    service.says(Answer(429, '{"ok":false,"error":"rate_limited"}', {"Retry-After": "1"}))
    channel = slack(client, service)
    busy = await told(channel)
    assert isinstance(busy, ChannelBusy)
    assert busy.retry_after_seconds == 1.0
    assert str(busy) == "ops: answered 429: rate_limited"
    await channel.send(FIRING)
    assert len(service.requests) == 2


async def test_a_busy_channel_is_left_alone_until_it_is_time(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    service.says(Answer(429, "", {"Retry-After": "600"}))
    channel = slack(client, service)
    await told(channel)
    again = await told(channel)
    assert isinstance(again, ChannelBusy)
    assert 590 < again.retry_after_seconds <= 600
    assert len(service.requests) == 1


async def test_busy_without_saying_for_how_long_is_half_a_minute(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    service.says(Answer(429, ""))
    busy = await told(slack(client, service))
    assert isinstance(busy, ChannelBusy)
    assert busy.retry_after_seconds == 30.0


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(400, "invalid_payload"), ChannelRefused, "ops: answered 400: invalid_payload"),
        (Answer(403, "action_prohibited"), ChannelRefused, "ops: answered 403: action_prohibited"),
        (Answer(404, "no_service"), ChannelRefused, "ops: answered 404: no_service"),
        (Answer(410, "channel_is_archived"), ChannelRefused, "ops: answered 410: channel_is_archived"),
        (Answer(500, "rollup_error"), ChannelUnavailable, "ops: answered 500: rollup_error"),
        (Answer(502, "<html>Bad gateway</html>"), ChannelUnavailable, "ops: answered 502: a page, not words"),
        (Answer(408, ""), ChannelUnavailable, "ops: answered 408"),
        (Answer(503, "", {"Retry-After": "7"}), ChannelBusy, "ops: answered 503"),
    ],
)
async def test_an_error_answer_keeps_the_words_of_the_service(
    client: httpx.AsyncClient, service: Receiver, answer: Answer, kind: type[ChannelError], words: str
) -> None:
    service.says(answer)
    error = await told(slack(client, service))
    assert (type(error), str(error)) == (kind, words)


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient, service: Receiver) -> None:
    service.says(Answer(302, "", {"Location": service.url + "/elsewhere"}))
    error = await told(slack(client, service))
    assert isinstance(error, ChannelRefused)
    assert "redirects are not followed" in str(error)
    assert len(service.requests) == 1


async def test_a_server_that_hangs_is_given_up(client: httpx.AsyncClient, service: Receiver) -> None:
    service.says(Answer(instead="hang"))
    error = await told(slack(client, service, timeout=0.2))
    assert isinstance(error, ChannelUnavailable)
    assert str(error) == "ops: no answer within 0.2 s"


async def test_a_yes_is_a_yes_however_long_the_rest_of_it_takes(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    service.says(Answer(200, instead="stall"))
    await slack(client, service, timeout=5.0).send(FIRING)
    service.says(Answer(404, instead="stall"))
    assert isinstance(await told(slack(client, service, timeout=0.2)), ChannelUnavailable)


async def test_a_server_that_breaks_off_may_be_tried_again(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    service.says(Answer(instead="close"))
    channel = slack(client, service)
    assert isinstance(await told(channel), ChannelUnavailable)
    await channel.send(FIRING)
    assert len(service.requests) == 2


async def test_nobody_there_may_be_tried_again(client: httpx.AsyncClient) -> None:
    url = f"http://127.0.0.1:1{_HOOK}"
    error = await told(Slack(post(client, url), url))
    assert isinstance(error, ChannelUnavailable)
    assert "hunter2" not in str(error)


async def test_no_secret_shows_in_an_error_even_when_the_service_repeats_it(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    url = f"{service.url}{_HOOK}?api%5Fkey=hunter2%2Fquery"
    echoes = [
        f"no hook at {url}",
        f"cannot POST {_HOOK}?api%5Fkey=hunter2%2Fquery",
        json.dumps(
            {"message": "invalid", "errors": ["hunter2hunter2 is no hook", "hunter2/query is no key"]}
        ),
    ]
    for echo in echoes:
        service.says(Answer(404, echo))
        error = await told(Slack(post(client, url), url))
        assert "***" in str(error)
        assert "hunter2" not in str(error)


async def test_a_long_answer_is_cut(client: httpx.AsyncClient, service: Receiver) -> None:
    service.says(Answer(400, "no " * 100_000))
    assert len(str(await told(slack(client, service)))) < 400


async def test_ntfy_gets_the_topic_with_a_priority_and_actions(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    await Ntfy(post(client), f"{service.url}/push/curb", _TOKEN).send(FIRING)
    [request] = service.requests
    assert (request.method, request.path) == ("POST", "/push/")
    assert request.headers["authorization"] == f"Bearer {_TOKEN}"
    assert request.json == {
        "topic": "curb",
        "title": "research-bot spends $16.20 in 5 minutes",
        "message": f"{FIRING.text}\n\nAgent: research-bot\nLimit: $15.00\nRun: a<b> & c*d*",
        "priority": 5,
        "tags": ["rotating_light"],
        "click": FIRING.links[0][1],
        "actions": [{"action": "view", "label": words, "url": url} for words, url in FIRING.links],
    }


async def test_ntfy_makes_no_noise_for_good_news(client: httpx.AsyncClient, service: Receiver) -> None:
    channel = Ntfy(post(client), f"{service.url}/curb")
    for kind in ("resolved", "report", "firing"):
        await channel.send(message(kind=kind, severity="warning", links=()))
    assert [each.json["priority"] for each in service.requests] == [2, 2, 4]
    assert [each.json["tags"] for each in service.requests] == [
        ["white_check_mark"],
        ["bar_chart"],
        ["warning"],
    ]
    assert "authorization" not in service.requests[0].headers
    assert "actions" not in service.requests[0].json


async def test_ntfy_is_quoted_when_it_forbids(client: httpx.AsyncClient, service: Receiver) -> None:
    service.says(Answer(403, '{"code":40301,"http":403,"error":"forbidden","link":"https://ntfy.sh/docs"}'))
    error = await told(Ntfy(post(client, _TOKEN), f"{service.url}/curb", _TOKEN))
    assert (type(error), str(error)) == (ChannelRefused, "ops: answered 403: forbidden")


def pagerduty(client: httpx.AsyncClient, service: Receiver) -> PagerDuty:
    return PagerDuty(post(client, _KEY), _KEY, f"{service.url}/v2/enqueue")


async def test_pagerduty_opens_one_incident_and_closes_it(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    channel = pagerduty(client, service)
    for kind in ("firing", "repeated", "escalated", "resolved"):
        service.says(Answer(202, '{"status":"success"}'))
        await channel.send(message(kind=kind))
    events = [request.json for request in service.requests]
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "trigger", "resolve"]
    assert {event["dedup_key"] for event in events} == {"alert:0042"}
    assert {event["routing_key"] for event in events} == {_KEY}
    assert service.requests[0].path == "/v2/enqueue"
    assert events[3] == {"routing_key": _KEY, "event_action": "resolve", "dedup_key": "alert:0042"}


async def test_pagerduty_gets_the_details_under_their_names(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    await pagerduty(client, service).send(FIRING)
    event = service.requests[0].json
    assert event["payload"] == {
        "summary": FIRING.title,
        "source": "agent:research-bot",
        "severity": "critical",
        "timestamp": "2026-10-14T14:22:10.000+00:00",
        "class": "velocity_critical",
        "custom_details": {
            "text": FIRING.text,
            "Agent": "research-bot",
            "Limit": "$15.00",
            "Run": "a<b> & c*d*",
            "data": dict(FIRING.data),
        },
    }
    assert event["links"] == [{"href": url, "text": words} for words, url in FIRING.links]


async def test_pagerduty_is_quoted_when_it_refuses_an_event(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    answer = {
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"],
    }
    service.says(Answer(400, json.dumps(answer)))
    error = await told(pagerduty(client, service))
    assert isinstance(error, ChannelRefused)
    assert "Event object is invalid; Length of 'routing_key' is incorrect" in str(error)


async def test_pagerduty_takes_no_reports(client: httpx.AsyncClient, service: Receiver) -> None:
    with pytest.raises(ChannelRefused, match="takes no reports"):
        await pagerduty(client, service).send(message(kind="report"))
    assert service.requests == []


def opsgenie(client: httpx.AsyncClient, service: Receiver) -> OpsGenie:
    return OpsGenie(post(client, _KEY), _KEY, f"{service.url}/jsm/")


async def test_opsgenie_opens_one_alert_and_closes_it_by_its_alias(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    channel = opsgenie(client, service)
    for kind in ("firing", "escalated", "resolved"):
        service.says(Answer(202, '{"result":"Request will be processed"}'))
        await channel.send(message(kind=kind))
    first, again, closed = service.requests
    assert {each.headers["authorization"] for each in service.requests} == {f"GenieKey {_KEY}"}
    assert (first.path, again.path) == ("/jsm/v2/alerts", "/jsm/v2/alerts")
    assert first.json["alias"] == again.json["alias"] == "alert:0042"
    assert closed.path == "/jsm/v2/alerts/alert%3A0042/close?identifierType=alias"
    assert closed.json == {"source": "curb", "note": f"Resolved: {FIRING.title}"}


async def test_opsgenie_gets_a_priority_and_the_details(client: httpx.AsyncClient, service: Receiver) -> None:
    await opsgenie(client, service).send(FIRING)
    assert service.requests[0].json == {
        "message": FIRING.title,
        "alias": "alert:0042",
        "description": f"{FIRING.text}\n\nOpen the run: {FIRING.links[0][1]}\nRunbook: {FIRING.links[1][1]}",
        "priority": "P1",
        "details": dict(FIRING.fields),
        "tags": ["curb", "critical", "velocity_critical"],
        "source": "curb",
        "entity": "agent:research-bot",
    }
    service.says(Answer(422, '{"message":"not processable","errors":{"message":"too long"},"took":0.1}'))
    error = await told(opsgenie(client, service))
    assert (type(error), str(error)) == (ChannelRefused, "ops: answered 422: not processable; too long")
    with pytest.raises(ChannelRefused, match="takes no reports"):
        await opsgenie(client, service).send(message(kind="report"))


def is_from_curb(request: Received, secret: str = _SECRET, body: bytes = b"") -> bool:
    """What docs/channels.md tells receivers to do."""
    [code] = re.findall(r"```python\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    written: dict[str, Any] = {}
    exec(code, written)
    headers = {name.title(): value for name, value in request.headers.items()}
    answer: bool = written["is_from_curb"](secret, headers, body or request.body)
    return answer


async def test_a_webhook_can_be_verified_by_its_receiver(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    await Webhook(post(client, _SECRET), f"{service.url}/hook?to=ops", _SECRET).send(message(title="größer"))
    [request] = service.requests
    assert request.path == "/hook?to=ops"
    assert is_from_curb(request)
    assert not is_from_curb(request, body=request.body + b" ")
    assert not is_from_curb(request, secret="another")


async def test_a_webhook_has_the_whole_message_for_machines(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    attached = message(attachments=(Attachment("costs.csv", "text/csv", b"a,b"),), html="<html></html>")
    await Webhook(post(client), f"{service.url}/hook").send(attached)
    [request] = service.requests
    assert "x-curb-signature" not in request.headers
    assert request.json == {
        "version": 1,
        "kind": "firing",
        "status": "firing",
        "severity": "critical",
        "title": FIRING.title,
        "text": FIRING.text,
        "key": "alert:0042",
        "number": 0,
        "at": "2026-10-14T14:22:10+00:00",
        "fields": [{"name": name, "value": value} for name, value in FIRING.fields],
        "links": [{"text": words, "url": url} for words, url in FIRING.links],
        "data": dict(FIRING.data),
    }


async def test_a_webhook_names_a_delivery_the_same_when_it_is_tried_again(
    client: httpx.AsyncClient, service: Receiver
) -> None:
    channel = Webhook(post(client), service.url)
    service.says(Answer(500))
    await told(channel)
    await channel.send(FIRING)
    for changed in ({"number": 1}, {"kind": "repeated"}, {"key": "alert:0043"}):
        await channel.send(message(**changed))
    names = [request.headers["x-curb-delivery"] for request in service.requests]
    assert names[0] == names[1]
    assert len(set(names)) == 4
