"""curb alerts test: a real message through one channel, from this process."""

import asyncio
import secrets
import socket
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.errors import Misused
from worker.cli.output import Json

if TYPE_CHECKING:
    from activities.channels import Message
    from worker.cli.servers import House

Severity = Literal["info", "warning", "critical"]


def try_channel(
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="Its name in curb.yaml; or log, slack, email.")
    ],
    severity: Annotated[Severity, typer.Option(help="How urgent the message is to look.")] = "info",
    json: Json = False,
) -> None:
    """Send a test message through a channel.

    Exit status 1 with the channel's own words if it does not take it.
    """
    asyncio.run(_try(channel, severity, as_json=json))


async def _try(name: str, severity: Severity, *, as_json: bool) -> None:
    from activities.channels.post import http_client
    from worker.channels import one_channel
    from worker.cli import logs, output
    from worker.cli.servers import house
    from worker.config_channels import channel_type

    known = house()
    logs.configure(known.settings)
    _must_exist(name, known)
    message, kind = _message(name, severity, known), channel_type(name, known.config.channels)
    async with http_client() as client:
        channel = one_channel(name, known.config.channels, known.settings, client)
        await channel.send(message)
    if as_json:
        output.print_json(
            {
                "channel": name,
                "type": kind,
                "delivered": True,
                "severity": severity,
                "title": message.title,
                "key": message.key,
            }
        )
        return
    output.say(f"{name} ({kind}): took the message “{message.title}”")
    if kind in ("pagerduty", "opsgenie"):
        output.say(f"it is open there now ({message.key}): close it by hand")


def _must_exist(name: str, known: "House") -> None:
    from worker.config_channels import channel_names
    from worker.config_errors import suggestion

    names = channel_names(known.config.channels)
    if name not in names:
        near = suggestion(name, names)
        there_are = "" if "there are" in near else f" There are: {', '.join(names)}"
        raise Misused(f"there is no channel {name}{near}{there_are}")


def _message(name: str, severity: Severity, known: "House") -> "Message":
    from datetime import UTC, datetime

    from activities.channels import Message
    from worker.cli.servers import who

    ui = known.places.temporal_ui
    return Message(
        kind="test",
        severity=severity,
        title=f"curb reaches {name}",
        text=f"{who()} sent this with `curb alerts test {name}`. Nothing has happened.",
        key=f"curb-test:{name}:{secrets.token_hex(4)}",
        at=datetime.now(UTC),
        fields=(("Channel", name), ("Severity", severity), ("Sent from", socket.gethostname())),
        links=(("Temporal", ui),) if ui else (),
    )
