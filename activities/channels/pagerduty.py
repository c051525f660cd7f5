"""PagerDuty, by its Events API v2: one incident per key, opened by a trigger and closed by a resolve.

Limits (developer.pagerduty.com): summary 1,024 characters, dedup_key 255, an event of 512 kB. Answers
202; 400 for an event that it will never take; 429 and 5xx are to be tried again.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from activities.channels.message import ChannelRefused, Message
from activities.channels.post import Post, encoded
from activities.channels.words import clean, headline, joining_key, one_line, shortened, web_links

_SUMMARY = 1_024
_DEDUP_KEY = 255
_SOURCE = 255
_TEXT = 5_000
_FIELDS, _FIELD = 50, 1_000
_LINKS, _URL = 20, 2_000
_DATA_BYTES = 100_000


class PagerDuty:
    """A service of PagerDuty.

    key: the routing (integration) key of its Events API v2 integration. url: where events go, the
    region's.
    """

    def __init__(self, post: Post, key: str, url: str) -> None:
        self._post = post
        self._key = key
        self._url = url

    async def send(self, message: Message) -> None:
        """Open, update or close the incident of a message's key.

        Raises ChannelRefused for a report, which is nobody's incident; ChannelBusy,
        ChannelUnavailable.
        """
        if message.kind == "report":
            raise ChannelRefused(f"{self._post.channel}: PagerDuty takes no reports; route them elsewhere")
        await self._post.json(self._url, pagerduty_event(self._key, message))


def pagerduty_event(key: str, message: Message) -> dict[str, Any]:
    """The body of the request. Telling again and escalating trigger the same incident."""
    event: dict[str, Any] = {
        "routing_key": key,
        "event_action": "resolve" if message.kind == "resolved" else "trigger",
        "dedup_key": joining_key(message.key, _DEDUP_KEY),
    }
    if message.kind == "resolved":
        return event
    links = [
        {"href": url, "text": shortened(words, _SUMMARY)}
        for words, url in web_links(message)
        if len(url) <= _URL
    ]
    return event | {"payload": _payload(message), "links": links[:_LINKS], "client": "curb"}


def _payload(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "summary": shortened(headline(message), _SUMMARY),
        "source": shortened(one_line(str(message.data.get("scope") or "")), _SOURCE) or "curb",
        "severity": message.severity,
        "timestamp": message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "custom_details": _details(message),
    }
    if rule := message.data.get("rule"):
        payload["class"] = shortened(one_line(str(rule)), _SOURCE)
    return payload


def _details(message: Message) -> dict[str, Any]:
    """What people read on the incident, and the machine's form of it for event rules."""
    details: dict[str, Any] = {"text": shortened(clean(message.text).strip(), _TEXT)}
    for name, value in message.fields[:_FIELDS]:
        details[shortened(one_line(name), _FIELD)] = shortened(one_line(value), _FIELD)
    if _fits(message.data):
        details["data"] = dict(message.data)
    return details


def _fits(data: Mapping[str, Any]) -> bool:
    return bool(data) and len(encoded(data)) <= _DATA_BYTES
