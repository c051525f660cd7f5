"""What a channel is asked to say, and the face that every channel has.

CurbError
└── ChannelError
    ├── ChannelBusy         asks to be left alone for a while; carries how long
    ├── ChannelRefused      will never take this message: wrong address, wrong key, too large
    └── ChannelUnavailable  nobody answers, or not as they should: try again later
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from gateway.errors import CurbError

MessageKind = Literal["firing", "repeated", "escalated", "resolved", "report", "test"]


class ChannelError(CurbError):
    """A message was not delivered."""


class ChannelBusy(ChannelError):
    """The channel asks to be left alone for `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ChannelRefused(ChannelError):
    """The channel will never take this message; trying again does not help."""


class ChannelUnavailable(ChannelError):
    """Nobody answers, or not as they should; trying again may help."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file beside a message; channels that know no files leave it out."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell people, without any channel's markup.

    title: one line. text: a few plain sentences. fields: numbers by name, in the order to show.
    links: URLs by their words. html: a whole document, where there is one (reports). key: the same
    for all messages about one thing (an alert from its firing to its end), so that a channel can join
    or resolve them. number: which message of its kind and key this is; key, kind and number together
    are the same when a delivery is tried again, and only then. data: the same as JSON, for machines.
    """

    kind: MessageKind
    severity: Literal["info", "warning", "critical"]
    title: str
    text: str
    key: str
    at: datetime
    fields: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


class Channel(Protocol):
    """One way to tell people, configured and ready."""

    async def send(self, message: Message) -> None:
        """Deliver a message once. Raises ChannelBusy, ChannelRefused, ChannelUnavailable."""
        ...
