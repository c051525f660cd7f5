"""OpsGenie, and Jira Service Management in its place, by their Alert API: one alert per alias.

Limits (docs.opsgenie.com): message 130 characters, alias 512, description 15,000, details 8,000 in all.
Answers 202 to what it will look at, 422 to what it cannot.
"""

from typing import Any
from urllib.parse import quote

from activities.channels.message import ChannelRefused, Message
from activities.channels.post import Post
from activities.channels.words import clean, headline, joining_key, one_line, shortened, web_links

_MESSAGE = 130
_ALIAS = 512
_DESCRIPTION = 15_000
_TEXT = 10_000
_FIELDS, _FIELD = 20, 150
_TAG = 50
_PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}


class OpsGenie:
    """A team's integration. key: of an API integration. url: the region's, or that of Jira."""

    def __init__(self, post: Post, key: str, url: str) -> None:
        self._post = post
        self._alerts = f"{url.rstrip('/')}/v2/alerts"
        self._headers = {"authorization": f"GenieKey {key}"}

    async def send(self, message: Message) -> None:
        """Open, count up or close the alert of a message's key.

        Raises ChannelRefused for a report, which is nobody's alert; ChannelBusy, ChannelUnavailable.
        """
        if message.kind == "report":
            raise ChannelRefused(f"{self._post.channel}: OpsGenie takes no reports; route them elsewhere")
        if message.kind == "resolved":
            alias = quote(joining_key(message.key, _ALIAS), safe="")
            document = {"source": "curb", "note": shortened(headline(message), _DESCRIPTION)}
            await self._post.json(
                f"{self._alerts}/{alias}/close?identifierType=alias", document, self._headers
            )
        else:
            await self._post.json(self._alerts, opsgenie_alert(message), self._headers)


def opsgenie_alert(message: Message) -> dict[str, Any]:
    """The body of the request that opens an alert, or counts it up."""
    links = "\n".join(f"{words}: {url}" for words, url in web_links(message))
    description = "\n\n".join(filter(None, (shortened(clean(message.text).strip(), _TEXT), links)))
    fields = {
        shortened(one_line(name), _FIELD): shortened(one_line(value), _FIELD)
        for name, value in message.fields[:_FIELDS]
    }
    rule = one_line(str(message.data.get("rule") or ""))
    return {
        "message": shortened(headline(message), _MESSAGE),
        "alias": joining_key(message.key, _ALIAS),
        "description": shortened(description, _DESCRIPTION),
        "priority": _PRIORITIES[message.severity],
        "details": fields,
        "tags": [shortened(each, _TAG) for each in ("curb", message.severity, rule) if each],
        "source": "curb",
        "entity": shortened(one_line(str(message.data.get("scope") or "")), _ALIAS),
    }
