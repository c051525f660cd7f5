"""A message as an e-mail: plain text, the same as HTML, and attachments.

A delivery that is tried again has the same Message-ID. All messages about one thing refer to one
root that was never sent, by which mail programs put them into one thread.
"""

from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from activities.channels.email_html import html_document
from activities.channels.message import Attachment, Message
from activities.channels.words import (
    clean,
    delivery_id,
    headline,
    one_line,
    plain_text,
    shortened,
    thread_id,
)

_SUBJECT = 200
_FILE_NAME = 100
_THREADS = frozenset({"firing", "repeated", "escalated", "resolved"})
_LATER = _THREADS - {"firing"}


def composed(message: Message, sender: str, recipients: Sequence[str]) -> bytes:
    """The whole e-mail, ready for SMTP: ASCII lines that end in CRLF."""
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    _address(mail, message, sender, recipients)
    mail.set_content(_text(message), cte="quoted-printable")
    html = clean(message.html) if message.html else html_document(message)
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    for attachment in message.attachments:
        _attach(mail, attachment)
    return mail.as_bytes()


def _address(mail: EmailMessage, message: Message, sender: str, recipients: Sequence[str]) -> None:
    domain = sender.rpartition("@")[2]
    mail["From"] = Address("curb", addr_spec=sender)
    mail["To"] = [Address(addr_spec=each) for each in recipients]
    mail["Subject"] = _subject(message)
    mail["Date"] = message.at
    mail["Message-ID"] = f"<{delivery_id(message)}@{domain}>"
    if message.kind in _THREADS:
        root = f"<{thread_id(message)}.thread@{domain}>"
        mail["References"] = root
        if message.kind in _LATER:
            mail["In-Reply-To"] = root
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    if message.severity == "critical" and message.kind not in ("resolved", "report"):
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"


def _subject(message: Message) -> str:
    mark = "" if message.kind in ("report", "resolved") else f"[{message.severity}] "
    return shortened(mark + headline(message), _SUBJECT)


def _text(message: Message) -> str:
    ended = f"{message.at:%Y-%m-%d %H:%M:%S %Z}".strip()
    return f"{headline(message)}\n\n{plain_text(message)}\n\n-- \ncurb, {ended}, {one_line(message.key)}\n"


def _attach(mail: EmailMessage, attachment: Attachment) -> None:
    main, _, sub = attachment.content_type.partition("/")
    name = shortened(one_line(attachment.name).replace("/", "_"), _FILE_NAME) or "attachment"
    mail.add_attachment(attachment.content, maintype=main, subtype=sub or "octet-stream", filename=name)
