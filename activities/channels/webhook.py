"""A webhook: the message as JSON, signed, to any address. OpsGenie, Teams and the like read it too.

Headers: X-Curb-Delivery is the same when a delivery is tried again, and only then. X-Curb-Timestamp is
the second of sending, X-Curb-Signature the hexadecimal HMAC-SHA256 of `{timestamp}.{body}` under the
shared secret (left out where there is none).
"""

import hashlib
import hmac
import time
from datetime import UTC
from typing import Any

from activities.channels.message import Message
from activities.channels.post import Post, encoded
from activities.channels.words import clean, delivery_id, one_line, web_links

_STATUSES = {"resolved": "resolved", "report": "report", "test": "test"}


class Webhook:
    """An address that takes POST. secret: '' sends without a signature."""

    def __init__(self, post: Post, url: str, secret: str = "") -> None:
        self._post = post
        self._url = url
        self._secret = secret

    async def send(self, message: Message) -> None:
        """Deliver a message once. Raises ChannelBusy, ChannelRefused, ChannelUnavailable."""
        body = encoded(webhook_document(message))
        timestamp = str(int(time.time()))
        headers = {"x-curb-delivery": delivery_id(message), "x-curb-timestamp": timestamp}
        if self._secret:
            headers["x-curb-signature"] = signature(self._secret, timestamp, body)
        await self._post.body(self._url, body, headers)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Hexadecimal HMAC-SHA256 of `{timestamp}.{body}`."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def webhook_document(message: Message) -> dict[str, Any]:
    """The body of the request. status: firing (also when told again or escalated), resolved, report, test."""
    return {
        "version": 1,
        "kind": message.kind,
        "status": _STATUSES.get(message.kind, "firing"),
        "severity": message.severity,
        "title": one_line(message.title),
        "text": clean(message.text).strip(),
        "key": clean(message.key),
        "number": message.number,
        "at": message.at.astimezone(UTC).isoformat(),
        "fields": [{"name": one_line(name), "value": one_line(value)} for name, value in message.fields],
        "links": [{"text": words, "url": url} for words, url in web_links(message)],
        "data": dict(message.data),
    }
