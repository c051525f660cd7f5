"""ntfy: a notification on a phone, on ntfy.sh or a server of one's own, published as JSON.

Limits (docs.ntfy.sh): a message of 4,096 bytes (longer ones become attachments, where the server has
any), a document of 16 kB, three actions, topics of at most 64 letters, digits, `_` and `-`.
"""

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from activities.channels.message import Message
from activities.channels.post import Post
from activities.channels.words import (
    clean,
    field_lines,
    headline,
    shortened,
    utf8_bytes,
    web_links,
)

_TITLE = 250
_MESSAGE = 4_000
_ACTIONS = 3
_LABEL = 100
_URL = 2_000
_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
_PRIORITIES = {"critical": 5, "warning": 4, "info": 3}
_QUIET = 2  # no sound: good news and reports can wait until somebody looks
_TAGS = {"critical": "rotating_light", "warning": "warning", "info": "information_source"}
_KIND_TAGS = {"resolved": "white_check_mark", "report": "bar_chart", "test": "test_tube"}


class Ntfy:
    """A topic of an ntfy server. url: the topic's, as in a browser. token: '' where anybody may publish."""

    def __init__(self, post: Post, url: str, token: str = "") -> None:
        self._post = post
        self._server, self._topic = topic_of(url)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def send(self, message: Message) -> None:
        """Deliver a message once. Raises ChannelBusy, ChannelRefused, ChannelUnavailable."""
        await self._post.json(self._server, ntfy_message(self._topic, message), self._headers)


def topic_of(url: str) -> tuple[str, str]:
    """The server's URL and the topic. Raises ValueError that says what is wrong, without the URL."""
    parts = urlsplit(url)
    folder, _, topic = parts.path.rstrip("/").rpartition("/")
    if not _TOPIC.fullmatch(topic):
        raise ValueError(
            "must end in a topic of letters, digits, _ and -, for example https://ntfy.sh/my-topic"
        )
    return urlunsplit((parts.scheme, parts.netloc, f"{folder}/", "", "")), topic


def ntfy_message(topic: str, message: Message) -> dict[str, Any]:
    """The body of the request."""
    parts = (clean(message.text).strip(), "\n".join(field_lines(message)))
    text = "\n\n".join(part for part in parts if part)
    links = [(words, url) for words, url in web_links(message) if len(url.encode()) <= _URL]
    document: dict[str, Any] = {
        "topic": topic,
        "title": shortened(headline(message), _TITLE),
        "message": shortened(text or headline(message), _MESSAGE, utf8_bytes),
        "priority": _QUIET if message.kind in ("resolved", "report") else _PRIORITIES[message.severity],
        "tags": [_KIND_TAGS.get(message.kind) or _TAGS[message.severity]],
    }
    if links:
        document["click"] = links[0][1]
        document["actions"] = [
            {"action": "view", "label": shortened(words, _LABEL), "url": url}
            for words, url in links[:_ACTIONS]
        ]
    return document
