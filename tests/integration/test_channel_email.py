"""E-mail through a real SMTP server: TLS, login, what arrives, and what becomes of refusals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.channels import Attachment, ChannelRefused, ChannelUnavailable
from activities.channels.email import Email, MailServer, mail_server
from activities.channels.message import ChannelError
from activities.channels.pace import Pace
from tests.channel_messages import FIRING, message
from tests.integration import mail
from tests.integration.mail import PASSWORD, USER, certificate_for, trusting

_LOGIN = f"{USER}:{PASSWORD}@"
_TO = ("ops@example.org", "cfo@example.org")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_for("127.0.0.1", tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def server() -> AsyncIterator[mail.MailServer]:
    """Without TLS or login, as on the machine itself."""
    async with mail.mail_server() as made:
        yield made


def channel(url: str, certificate: Path | None = None, *, timeout: float = 10.0) -> Email:
    tls = trusting(certificate) if certificate else None
    server = mail_server(url)
    return Email("finance", server, "curb@example.org", _TO, Pace(0.0), tls=tls, timeout_seconds=timeout)


async def told(channel: Email) -> ChannelError:
    """The error of a delivery that fails."""
    with pytest.raises(ChannelError) as caught:
        await channel.send(FIRING)
    return caught.value


async def test_an_alert_arrives_as_text_and_as_html(server: mail.MailServer) -> None:
    await channel(server.url()).send(FIRING)
    [taken] = server.taken
    assert (taken.sender, taken.recipients) == ("curb@example.org", _TO)
    assert taken.mail["Subject"] == "[critical] research-bot spends $16.20 in 5 minutes"
    plain, html = taken.mail.iter_parts()
    assert "Limit: $15.00" in plain.get_content()
    assert "a&lt;b&gt; &amp; c*d*" in html.get_content()


async def test_a_report_arrives_with_its_files(server: mail.MailServer) -> None:
    files = (Attachment("costs.csv", "text/csv", "Ärger,1\n".encode() * 5_000),)
    report = message(kind="report", html="<!DOCTYPE html><p>.\n..</p>", attachments=files)
    await channel(server.url()).send(report)
    [attached] = server.taken[0].mail.iter_attachments()
    assert attached.get_payload(decode=True) == files[0].content
    page = server.taken[0].mail.get_body(("html",))
    assert page is not None
    assert page.get_content().split() == report.html.split()


async def test_a_delivery_that_is_tried_again_is_recognised_by_its_id(server: mail.MailServer) -> None:
    server.refusals[""] = "451 try again"
    ops = channel(server.url())
    assert isinstance(await told(ops), ChannelUnavailable)
    server.refusals.clear()
    await ops.send(FIRING)
    await ops.send(FIRING)
    await ops.send(message(kind="resolved"))
    ids = [taken.mail["Message-ID"] for taken in server.taken]
    assert ids[0] == ids[1] != ids[2]
    assert server.taken[2].mail["In-Reply-To"] == server.taken[0].mail["References"]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_the_way_is_encrypted_before_anybody_logs_in(certificate: Path, scheme: str) -> None:
    async with mail.mail_server(certificate, from_the_first_byte=scheme == "smtps", login=True) as server:
        await channel(server.url(scheme, _LOGIN), certificate).send(FIRING)
    [taken] = server.taken
    assert (taken.encrypted, taken.user) == (True, USER)


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate: Path) -> None:
    async with mail.mail_server(certificate, login=True) as server:
        error = await told(channel(server.url(login=_LOGIN)))
    assert isinstance(error, ChannelUnavailable)
    assert "certificate" in str(error)
    assert server.taken == []


async def test_without_starttls_nothing_is_sent_where_it_is_wanted(server: mail.MailServer) -> None:
    elsewhere = MailServer("127.0.0.1", server.port, "starttls", USER, PASSWORD)
    ops = Email("finance", elsewhere, "curb@example.org", _TO, Pace(0.0))
    error = await told(ops)
    assert isinstance(error, ChannelRefused)
    assert "STARTTLS extension not supported" in str(error)
    assert "?tls=off" in str(error)


async def test_a_wrong_password_is_refused_and_not_shown(certificate: Path) -> None:
    async with mail.mail_server(certificate, login=True) as server:
        error = await told(channel(server.url(login=f"{USER}:hunter2-wrong@"), certificate))
    assert isinstance(error, ChannelRefused)
    assert "535" in str(error)
    assert "hunter2" not in f"{error} {error.__cause__}"


async def test_a_server_that_knows_no_login_is_told_apart(server: mail.MailServer) -> None:
    error = await told(channel(server.url(login=_LOGIN)))
    assert isinstance(error, ChannelRefused)
    assert "AUTH extension is not supported" in str(error)


@pytest.mark.parametrize(
    ("refusals", "kind", "words"),
    [
        ({"": "554 spam"}, ChannelRefused, "answered 554: spam"),
        ({"": "452 mailbox full"}, ChannelUnavailable, "answered 452: mailbox full"),
        (
            dict.fromkeys(_TO, "550 nobody"),
            ChannelRefused,
            "cfo@example.org: 550 nobody; ops@example.org: 550",
        ),
        (dict.fromkeys(_TO, "450 greylisted"), ChannelUnavailable, "ops@example.org: 450 greylisted"),
        ({_TO[1]: "550 nobody"}, ChannelRefused, "does not take mail for cfo@example.org: 550 nobody"),
    ],
)
async def test_a_refusal_is_for_ever_or_for_now_as_the_server_says(
    server: mail.MailServer, refusals: dict[str, str], kind: type[ChannelError], words: str
) -> None:
    server.refusals.update(refusals)
    error = await told(channel(server.url()))
    assert type(error) is kind
    assert str(error).startswith(f"finance: 127.0.0.1:{server.port} ")
    assert words in str(error)


async def test_who_is_not_refused_has_the_message_all_the_same(server: mail.MailServer) -> None:
    server.refusals[_TO[1]] = "550 nobody"
    await told(channel(server.url()))
    assert [taken.recipients for taken in server.taken] == [(_TO[0],)]


async def test_a_server_that_hangs_is_given_up() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await told(channel(f"smtp://127.0.0.1:{port}", timeout=0.2))
        ended.set()
    assert isinstance(error, ChannelUnavailable)
    assert "did not answer within 0.2 s" in str(error)


async def test_a_server_that_breaks_off_may_be_tried_again() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert isinstance(await told(channel(f"smtp://127.0.0.1:{port}")), ChannelUnavailable)
    assert isinstance(await told(channel(f"smtp://127.0.0.1:{port}")), ChannelUnavailable)
