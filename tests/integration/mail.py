"""A real SMTP server on loopback that keeps what it takes, with STARTTLS, TLS and login as asked."""

import asyncio
import datetime
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "curb", "hunter2-mail"


@dataclass(frozen=True, slots=True)
class Taken:
    """One message. encrypted: it came through TLS. user: who had logged in, '' nobody."""

    sender: str
    recipients: tuple[str, ...]
    mail: EmailMessage
    encrypted: bool
    user: str


@dataclass
class MailServer:
    """refusals: what to answer to a recipient, or (under '') to a message, instead of 250."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    def url(self, scheme: str = "smtp", login: str = "", options: str = "") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}{options}"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if refusal := self.refusals.get(""):
            return refusal
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        encrypted = server.transport is not None and server.transport.get_extra_info("sslcontext") is not None
        user = bytes(getattr(session.auth_data, "login", b"")).decode()
        self.taken.append(Taken(str(envelope.mail_from), tuple(envelope.rcpt_tos), mail, encrypted, user))
        return "250 OK"


@asynccontextmanager
async def mail_server(
    certificate: Path | None = None, *, from_the_first_byte: bool = False, login: bool = False
) -> AsyncIterator[MailServer]:
    """Serve while the block runs. certificate: of `certificate_for`; with it STARTTLS is offered."""
    made = MailServer()
    tls = server_context(certificate) if certificate else None

    def protocol() -> SMTP:
        with warnings.catch_warnings():  # it does not know that its transport is encrypted already
            warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS", UserWarning)
            return SMTP(
                made,
                hostname="mail.example.org",
                tls_context=None if from_the_first_byte else tls,
                authenticator=_authenticated if login else None,
                auth_required=login,
                auth_require_tls=not from_the_first_byte,
                loop=asyncio.get_running_loop(),
            )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if from_the_first_byte else None)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client that trusts this certificate and no other."""
    return ssl.create_default_context(cafile=str(certificate))


def certificate_for(address: str, directory: Path) -> Path:
    """A certificate with its key, for one IP address, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{address}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


def _authenticated(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=right, auth_data=data, handled=False)
