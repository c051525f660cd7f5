"""Slack, by an incoming webhook: a header, and beside a bar in the colour of the severity the rest.

Limits (docs.slack.dev): header 150 characters; text of a section 3,000; 10 fields of 2,000 per section;
50 blocks; one message per second with short bursts, else 429 and Retry-After. Characters are counted
here as after escaping and in UTF-16, whichever way Slack counts.

Links are words in the text, not buttons: a click on a button is sent to the app behind the webhook,
which nobody serves, and Slack shows a warning sign beside it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from activities.channels.message import Message
from activities.channels.post import Post
from activities.channels.words import clean, headline, one_line, shortened, utf16_units, web_links

Block = dict[str, Any]

_HEADER = 150
_TEXT = 3_000
_FIELD_NAME, _FIELD_VALUE = 150, 1_800
_FIELDS_PER_SECTION = 10
_FIELD_SECTIONS = 4
_URL = 2_000
_NOTIFICATION = 1_000
_SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_COLOURS = {"critical": "#d92d20", "warning": "#f79009", "info": "#2e90fa"}
_OVER_SIGN, _OVER_COLOUR = "✅", "#12b76a"
_REPORT_SIGN = "📊"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Slack:
    """A channel of a Slack workspace (or of what takes Slack's webhooks: Mattermost, Rocket.Chat)."""

    def __init__(self, post: Post, url: str) -> None:
        self._post = post
        self._url = url

    async def send(self, message: Message) -> None:
        """Deliver a message once. Raises ChannelBusy, ChannelRefused, ChannelUnavailable."""
        await self._post.json(self._url, slack_message(message))


def slack_message(message: Message) -> dict[str, Any]:
    """The body of the request. `text` is what notifications show."""
    title = f"{_sign(message)} {headline(message)}"
    return {
        "text": escaped(title, _NOTIFICATION),
        "blocks": [{"type": "header", "text": _plain(title, _HEADER)}],
        "attachments": [
            {"color": _colour(message), "fallback": escaped(title, _HEADER), "blocks": _blocks(message)}
        ],
    }


def escaped(text: str, limit: int) -> str:
    """The text as Slack wants it, at most `limit` characters of it."""
    return "".join(_ESCAPES.get(each, each) for each in shortened(text, limit, _cost))


def _blocks(message: Message) -> list[Block]:
    """What stands beside the bar."""
    blocks: list[Block] = []
    if text := clean(message.text).strip():
        blocks.append({"type": "section", "text": _plain(text, _TEXT)})
    shown = message.fields[: _FIELDS_PER_SECTION * _FIELD_SECTIONS]
    for start in range(0, len(shown), _FIELDS_PER_SECTION):
        some = shown[start : start + _FIELDS_PER_SECTION]
        blocks.append({"type": "section", "fields": [_field(name, value) for name, value in some]})
    if links := _links(message):
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": links}})
    footer = [{"type": "mrkdwn", "text": each} for each in _footer(message, len(shown))]
    return [*blocks, {"type": "context", "elements": footer}]


def _field(name: str, value: str) -> dict[str, Any]:
    label = escaped(one_line(name).replace("*", "∗") or "–", _FIELD_NAME)
    text = f"*{label}*\n{escaped(one_line(value) or '–', _FIELD_VALUE)}"
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _links(message: Message) -> str:
    """`<URL|words>` for each link, as many as fit."""
    made = [
        f"<{escaped(_in_link(url), _URL)}|{escaped(words.replace('|', '∣'), _HEADER)}>"
        for words, url in web_links(message)
        if sum(map(_cost, _in_link(url))) <= _URL
    ]
    return _joined(made, "  ·  ", _TEXT)


def _footer(message: Message, shown: int) -> Iterator[str]:
    at = message.at.astimezone(UTC)
    yield f"curb · {message.severity}"
    yield f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{at:%Y-%m-%d %H:%M:%S} UTC>"
    if left_out := len(message.fields) - shown:
        yield f"{left_out} more fields are left out"


def _joined(parts: Sequence[str], separator: str, limit: int) -> str:
    text = ""
    for part in parts:
        longer = f"{text}{separator}{part}" if text else part
        if sum(map(utf16_units, longer)) > limit:
            break
        text = longer
    return text


def _plain(text: str, limit: int) -> dict[str, Any]:
    """Text without any formatting: asterisks stay asterisks, and nobody is mentioned."""
    return {"type": "plain_text", "text": escaped(text, limit), "emoji": True}


def _in_link(url: str) -> str:
    return url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")


def _sign(message: Message) -> str:
    if message.kind == "report":
        return _REPORT_SIGN
    return _OVER_SIGN if message.kind == "resolved" else _SIGNS[message.severity]


def _colour(message: Message) -> str:
    return _OVER_COLOUR if message.kind == "resolved" else _COLOURS[message.severity]


def _cost(character: str) -> int:
    return len(_ESCAPES[character]) if character in _ESCAPES else utf16_units(character)
