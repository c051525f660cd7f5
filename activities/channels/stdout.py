"""The worker's own log, as one structured line: there without any configuration."""

import structlog

from activities.channels.message import Message
from activities.channels.words import one_line, shortened, web_links

log = structlog.get_logger(__name__)

_TEXT = 2_000


class Log:
    """One line per message, as loud as its severity."""

    async def send(self, message: Message) -> None:
        """Deliver a message once."""
        told = {
            "critical": log.error,
            "warning": log.warning,
            "info": log.info,
        }[message.severity if message.kind != "resolved" else "info"]
        told(
            "alert" if message.kind != "report" else "report",
            kind=message.kind,
            severity=message.severity,
            title=one_line(message.title),
            text=shortened(one_line(message.text), _TEXT),
            key=one_line(message.key),
            fields={one_line(name): one_line(value) for name, value in message.fields},
            links=[url for _, url in web_links(message)],
        )
