"""What channels make of a message: within every service's limits, whatever characters it holds."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from activities.channels import Attachment, Message
from activities.channels.email_html import html_document
from activities.channels.email_message import composed
from activities.channels.ntfy import ntfy_message, topic_of
from activities.channels.opsgenie import opsgenie_alert
from activities.channels.pagerduty import pagerduty_event
from activities.channels.post import encoded, redacted, secrets_in, spoken
from activities.channels.slack import slack_message
from activities.channels.stdout import Log
from activities.channels.webhook import webhook_document
from activities.channels.words import (
    delivery_id,
    headline,
    joining_key,
    one_line,
    plain_text,
    shortened,
    utf8_bytes,
    utf16_units,
    web_links,
)
from tests.channel_messages import FIRING, message

_ANY = st.text(st.characters(exclude_categories=()), max_size=60)
_AWKWARD = st.sampled_from(
    [
        "&<>" * 900,
        "😀" * 3_000,
        "<!channel> <@U1>",
        "a\r\nBcc: x@example.org",
        "\ud83d half",
        "x" * 9_000,
        " \t\n",
    ]
)
_TEXT = _ANY | _AWKWARD | st.builds(str.__add__, _AWKWARD, _ANY)
_URLS = _TEXT | st.builds("https://example.org/{}".format, _TEXT)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(["firing", "repeated", "escalated", "resolved", "report", "test"]),
    severity=st.sampled_from(["info", "warning", "critical"]),
    title=_TEXT,
    text=_TEXT,
    key=_TEXT,
    at=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    fields=st.lists(st.tuples(_TEXT, _TEXT), max_size=60).map(tuple),
    links=st.lists(st.tuples(_TEXT, _URLS), max_size=6).map(tuple),
    data=st.dictionaries(_TEXT, _TEXT, max_size=3),
    number=st.integers(0, 5),
)


def units(text: str) -> int:
    """Its length as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2


def texts(blocks: Any) -> Iterator[dict[str, Any]]:
    """Every text object in blocks."""
    for each in blocks.values() if isinstance(blocks, dict) else blocks:
        if isinstance(each, dict | list):
            yield from texts(each)
    if isinstance(blocks, dict) and blocks.get("type") in ("mrkdwn", "plain_text"):
        yield blocks


@given(MESSAGES)
def test_any_message_is_within_the_limits_of_slack(given: Message) -> None:
    document = json.loads(encoded(slack_message(given)))
    [attachment] = document["attachments"]
    blocks = [*document["blocks"], *attachment["blocks"]]
    assert len(blocks) <= 50
    assert 1 <= units(document["blocks"][0]["text"]["text"]) <= 150
    for block in blocks:
        assert 1 <= len(block.get("fields", "x")) <= 10
        assert 1 <= len(block.get("elements", "x")) <= 10
        assert all(units(each["text"]) <= 2_000 for each in block.get("fields", ()))
    assert all(1 <= units(each["text"]) <= 3_000 for each in texts(blocks))


@given(MESSAGES)
def test_nothing_in_a_message_is_markup_of_slack(given: Message) -> None:
    document = slack_message(given)
    for each in (*texts(document["blocks"]), *texts(document["attachments"])):
        ours = re.sub(r"<(?:https?://[^<>|]*|!date\^\d+\^[^<>|]*)\|[^<>|]*>", "", each["text"])
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", ours), each
    assert not re.search(r"[<>]", document["text"])


@given(MESSAGES)
def test_any_message_is_within_the_limits_of_ntfy(given: Message) -> None:
    document = ntfy_message("topic", given)
    body = encoded(document)
    assert len(body) <= 16_384
    assert 1 <= len(document["message"].encode()) <= 4_096
    assert len(document["title"]) <= 250
    assert "\n" not in document["title"]
    assert 1 <= document["priority"] <= 5
    assert 0 < len(document.get("actions", "x")) <= 3
    assert all(each["label"] and each["url"].startswith("http") for each in document.get("actions", ()))


@given(MESSAGES.filter(lambda given: given.kind != "report"))
def test_any_message_is_within_the_limits_of_pagerduty(given: Message) -> None:
    event = json.loads(encoded(pagerduty_event("k" * 32, given)))
    assert 1 <= len(event["dedup_key"]) <= 255
    assert len(encoded(event)) <= 512_000
    if event["event_action"] == "trigger":
        assert 1 <= len(event["payload"]["summary"]) <= 1_024
        assert event["payload"]["source"]


@given(MESSAGES)
def test_any_message_is_within_the_limits_of_opsgenie(given: Message) -> None:
    alert = json.loads(encoded(opsgenie_alert(given)))
    assert 1 <= len(alert["message"]) <= 130
    assert 1 <= len(alert["alias"]) <= 512
    assert len(alert["description"]) <= 15_000
    assert sum(len(name) + len(value) for name, value in alert["details"].items()) <= 8_000
    assert all(1 <= len(tag) <= 50 for tag in alert["tags"])


@given(MESSAGES)
def test_any_message_is_json_for_a_webhook(given: Message) -> None:
    assert json.loads(encoded(webhook_document(given)))["status"] in ("firing", "resolved", "report", "test")


@given(MESSAGES)
def test_any_message_is_an_e_mail_whose_headers_are_ours_alone(given: Message) -> None:
    raw = composed(given, "curb@example.org", ["ops@example.org", "cfo@example.org"])
    raw.decode("ascii")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["To"] == "ops@example.org, cfo@example.org"
    assert mail["Bcc"] is None
    assert mail.get_all("Subject") == [mail["Subject"]]
    plain, html = mail.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert headline(given).split()[0] in plain.get_content()
    assert html.get_content().startswith("<!DOCTYPE html>")


class Tags(HTMLParser):
    """The tags of a document, and what stands between them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(MESSAGES)
def test_nothing_in_a_message_is_markup_of_html(given: Message) -> None:
    seen = Tags(html_document(given))
    ours = {"html", "head", "meta", "title", "body", "div", "table", "tr", "td", "a", "br"}
    assert seen.tags <= ours
    assert seen.open == []
    assert all(link.startswith(("http://", "https://")) for link in seen.links)


@given(_TEXT, st.integers(3, 200))
def test_a_shortened_text_is_never_over_its_limit(text: str, limit: int) -> None:
    text = one_line(text)
    for cost, size in ((utf8_bytes, lambda s: len(s.encode())), (utf16_units, units)):
        short = shortened(text, limit, cost)
        assert size(short) <= limit
        assert short == text if size(text) <= limit else short.endswith("…")


def test_a_script_in_a_title_is_text() -> None:
    shown = html_document(message(title='<script>alert("x")</script>', fields=(("<b>", "'\">"),)))
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in shown


def test_only_web_addresses_become_links() -> None:
    given = message(links=(("a", "javascript:alert(1)"), ("b", "file:///etc"), ("", " https://x.org/a b ")))
    assert web_links(given) == [("Open", "https://x.org/ab")]


def test_a_message_says_what_kind_it_is_before_its_title() -> None:
    kinds = ("firing", "repeated", "escalated", "resolved", "test")
    titles = [headline(message(kind=kind, title="too dear")) for kind in kinds]
    assert titles == [
        "too dear",
        "Still: too dear",
        "Escalated: too dear",
        "Resolved: too dear",
        "Test: too dear",
    ]


def test_as_plain_text_a_message_has_everything() -> None:
    assert plain_text(FIRING).split("\n\n") == [
        FIRING.text,
        "Agent: research-bot\nLimit: $15.00\nRun: a<b> & c*d*",
        f"Open the run: {FIRING.links[0][1]}\nRunbook: {FIRING.links[1][1]}",
    ]


def test_slack_says_how_many_fields_did_not_fit() -> None:
    [attachment] = slack_message(message(fields=(("a", "b"),) * 45))["attachments"]
    assert attachment["blocks"][-1]["elements"][-1]["text"] == "5 more fields are left out"


def test_a_key_that_a_service_would_not_take_stays_one_key() -> None:
    keys = ["k" * 300, "k" * 301, "two words", "two\nwords", "k" * 255, "curb-alert-0042"]
    made = [joining_key(key, 255) for key in keys]
    assert made[4:] == keys[4:]
    assert len(set(made)) == len(keys)
    assert max(map(len, made)) == 255
    assert made == [joining_key(key, 255) for key in keys]


@pytest.mark.parametrize(
    ("url", "server", "topic"),
    [
        ("https://ntfy.sh/curb-alerts_1", "https://ntfy.sh/", "curb-alerts_1"),
        ("https://example.org/push/curb/", "https://example.org/push/", "curb"),
        ("http://user:pass@127.0.0.1:8080/t", "http://user:pass@127.0.0.1:8080/", "t"),
    ],
)
def test_a_topic_is_the_end_of_its_url(url: str, server: str, topic: str) -> None:
    assert topic_of(url) == (server, topic)


@pytest.mark.parametrize(
    "url", ["https://example.org", "https://example.org/a b", f"https://example.org/{'x' * 65}"]
)
def test_a_url_without_a_topic_is_not_shown_in_the_error(url: str) -> None:
    with pytest.raises(ValueError, match="must end in a topic") as caught:
        topic_of(url)
    assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no_service", "no_service"),
        (b'{"error": {"message": "bad key"}}', "bad key"),
        (b'{"code": 1}', '{"code": 1}'),
        (b'["x"]', '["x"]'),
        (b"<!DOCTYPE html>...", "a page, not words"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_an_error_answer_is_read_for_its_words(body: bytes, words: str) -> None:
    assert spoken(body) == words


def test_a_delivery_has_a_name_that_changes_with_key_kind_and_number_alone() -> None:
    name = delivery_id(FIRING)
    assert delivery_id(message(title="other", at=datetime(2030, 1, 1, tzinfo=UTC))) == name
    assert len({name, *(delivery_id(message(**each)) for each in ({"key": "k"}, {"number": 1}))}) == 3


def parts_of(given: Message) -> Any:
    return message_from_bytes(composed(given, "curb@example.org", ["ops@example.org"]), policy=policy.default)


def test_e_mails_about_one_thing_form_a_thread() -> None:
    first, later = parts_of(FIRING), parts_of(message(kind="resolved"))
    assert later["In-Reply-To"] == later["References"] == first["References"]
    assert first["In-Reply-To"] is None
    assert first["Message-ID"] != later["Message-ID"]
    assert parts_of(message(key="alert:0043"))["References"] != first["References"]


def test_an_e_mail_that_is_tried_again_is_the_same_to_the_byte_but_for_its_boundary() -> None:
    first, again = parts_of(FIRING), parts_of(FIRING)
    assert first["Message-ID"] == again["Message-ID"]
    assert first["Date"] == again["Date"] == "Wed, 14 Oct 2026 14:22:10 +0000"


def test_a_report_is_mailed_as_the_page_it_is_with_its_files() -> None:
    page = "<!DOCTYPE html><p>grün</p>"
    files = (
        Attachment("costs.csv", "text/csv", b"a,b\n1,2\n"),
        Attachment("r.json", "application/json", b"{}"),
    )
    mail = parts_of(message(kind="report", title="Costs of Tuesday", html=page, attachments=files))
    assert mail["Subject"] == "Costs of Tuesday"
    assert mail["References"] is None
    assert mail["Importance"] is None
    assert mail.get_body(("html",)).get_content().strip() == page
    assert mail.get_body(("plain",)).get_content().startswith("Costs of Tuesday\r\n")
    attached = [
        (each.get_filename(), each.get_content_type(), each.get_payload(decode=True))
        for each in mail.iter_attachments()
    ]
    assert attached == [(each.name, each.content_type, each.content) for each in files]


def test_an_urgent_e_mail_says_so() -> None:
    mail = parts_of(FIRING)
    assert mail["Subject"] == "[critical] research-bot spends $16.20 in 5 minutes"
    assert mail["From"] == "curb <curb@example.org>"
    assert (mail["Importance"], mail["Auto-Submitted"]) == ("high", "auto-generated")


@pytest.mark.parametrize("secret", ["secret//[b", "https://[half", "smtp://u:p@h", "p\u00e4ss//w"])
def test_any_text_can_be_a_secret(secret: str) -> None:
    assert secret not in redacted(f"is {secret} right?", secrets_in([secret]))


@pytest.mark.parametrize(
    ("kind", "severity", "level"),
    [("firing", "critical", "error"), ("repeated", "warning", "warning"), ("resolved", "critical", "info")],
)
async def test_the_log_gets_one_line_as_loud_as_the_severity(kind: str, severity: str, level: str) -> None:
    with capture_logs() as lines:
        await Log().send(message(kind=kind, severity=severity))
    assert lines == [
        {
            "event": "alert",
            "log_level": level,
            "kind": kind,
            "severity": severity,
            "title": FIRING.title,
            "text": "The agent is paused for 10 minutes. Nothing of its work is lost.",
            "key": "alert:0042",
            "fields": dict(FIRING.fields),
            "links": [url for _, url in FIRING.links],
        }
    ]
