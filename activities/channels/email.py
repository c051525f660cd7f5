"""E-mail, by SMTP.

| URL                   | way to the server                                                        |
|-----------------------|--------------------------------------------------------------------------|
| smtps://host[:465]    | TLS from the first byte                                                  |
| smtp://host[:587]     | STARTTLS, and nothing is sent without; on this machine, where offered    |
| smtp://host?tls=off   | in the clear                                                             |

User and password stand before the host (percent-encoded), `?from=curb@example.org` is the sender.
What the server refuses with 5xx is ChannelRefused, with 4xx ChannelUnavailable.
"""

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from activities.channels.email_message import composed
from activities.channels.message import ChannelRefused, ChannelUnavailable, Message
from activities.channels.pace import Pace
from activities.channels.post import redacted, secrets_in
from activities.channels.words import is_address, one_line, shortened

_SECONDS = 20.0
_GOODBYE_SECONDS = 2.0
_MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. tls: from the first byte, by STARTTLS, where it is offered, or never."""

    host: str
    port: int
    tls: Literal["always", "starttls", "offered", "off"]
    username: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""


def mail_server(url: str) -> MailServer:
    """Read an SMTP URL. Raises ValueError that says what is wrong, without the URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("must be smtp://user:password@host:port or smtps://...")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := sorted(set(options) - {"tls", "from"}):
        raise ValueError(f"there is no option {unknown[0]}; there are: tls, from")
    if options.get("tls", "off") != "off":
        raise ValueError("tls may only be off; use smtps:// for TLS from the first byte")
    sender = options.get("from", "")
    if sender and not is_address(sender):
        raise ValueError("from must be an address, for example curb@example.org")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("the port must be a number") from error
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not username.isascii() or not password.isascii():
        raise ValueError("user and password must be ASCII")
    return MailServer(
        parts.hostname,
        port or (465 if parts.scheme == "smtps" else 587),
        _way(parts.scheme, parts.hostname, off="tls" in options),
        username,
        password,
        sender or (username if is_address(username) else ""),
    )


class Email:
    """People with an address.

    tls: certificates to trust, by default the system's (SSL_CERT_FILE adds one's own).
    """

    def __init__(
        self,
        channel: str,
        server: MailServer,
        sender: str,
        recipients: Sequence[str],
        pace: Pace,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = _SECONDS,
    ) -> None:
        self._channel = channel
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)
        self._pace = pace
        self._tls = tls or ssl.create_default_context()
        self._timeout_seconds = timeout_seconds
        self._secrets = secrets_in(_forms_of_password(server))

    async def send(self, message: Message) -> None:
        """Hand a message in for all recipients.

        Where the server takes it for some and not for others, those have it, and this raises all the
        same: ChannelUnavailable if trying again may help, else ChannelRefused.
        """
        mail = composed(message, self._sender, self._recipients)
        await self._pace.turn(self._channel)
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await client.connect()
                refused, _ = await client.sendmail(self._sender, self._recipients, mail)
            await _say_goodbye(client)
        except TimeoutError as error:
            raise ChannelUnavailable(
                f"{self._channel}: {self._place} did not answer within {self._timeout_seconds:g} s"
            ) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._translated(error) from error
        finally:
            client.close()
        if refused:
            raise self._refused({who: (said.code, said.message) for who, said in refused.items()})

    @property
    def _place(self) -> str:
        return f"{self._server.host}:{self._server.port}"

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            use_tls=server.tls == "always",
            start_tls={"starttls": True, "offered": None}.get(server.tls, False),
            tls_context=self._tls,
            timeout=self._timeout_seconds,
            local_hostname=socket.gethostname() or "localhost",
        )

    def _translated(self, error: Exception) -> ChannelRefused | ChannelUnavailable:
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
            return self._refused({each.recipient: (each.code, each.message) for each in error.recipients})
        if isinstance(error, aiosmtplib.SMTPResponseException):
            told = f"{self._channel}: {self._place} answered {error.code}: {self._words(error.message)}"
            return ChannelRefused(told) if error.code >= 500 else ChannelUnavailable(told)
        told = f"{self._channel}: {self._place}: {self._words(str(error))}"
        # What the server cannot do (STARTTLS, AUTH) has no class of its own.
        if type(error) is aiosmtplib.SMTPException or isinstance(error, aiosmtplib.SMTPNotSupported):
            return ChannelRefused(f"{told} (smtps:// is TLS from the first byte, ?tls=off none at all)")
        return ChannelUnavailable(told)

    def _refused(self, answers: dict[str, tuple[int, str]]) -> ChannelRefused | ChannelUnavailable:
        said = "; ".join(
            f"{who}: {code} {self._words(text)}" for who, (code, text) in sorted(answers.items())
        )
        told = shortened(f"{self._channel}: {self._place} does not take mail for {said}", 2 * _MAX_WORDS)
        passing = any(code < 500 for code, _ in answers.values())
        return ChannelUnavailable(told) if passing else ChannelRefused(told)

    def _words(self, said: str) -> str:
        return shortened(redacted(one_line(said), self._secrets), _MAX_WORDS) or "no words"


def _forms_of_password(server: MailServer) -> tuple[str, ...]:
    """As it is, and as it goes over the wire."""
    plain = f"\0{server.username}\0{server.password}"
    coded = [base64.b64encode(each.encode()).decode() for each in (server.password, plain)]
    return (server.password, *coded) if server.password else ()


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """The message is handed in; how the server takes its leave changes nothing."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await client.quit()


def _way(scheme: str, host: str, *, off: bool) -> Literal["always", "starttls", "offered", "off"]:
    if scheme == "smtps":
        return "always"
    if off:
        return "off"
    return "offered" if _is_here(host) else "starttls"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
