"""An alert as HTML that mail programs show as meant: tables, styles beside what they style, no scripts,
no pictures, nothing fetched.
"""

from html import escape

from activities.channels.message import Message
from activities.channels.words import clean, headline, one_line, web_links

_COLOURS = {"critical": "#b42318", "warning": "#b54708", "info": "#175cd3"}
_OVER = "#067647"
_LABELS = {
    "firing": "{severity}",
    "repeated": "{severity} · still so",
    "escalated": "{severity} · escalated",
    "resolved": "Resolved",
    "report": "Report",
    "test": "Test · {severity}",
}
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_INK, _QUIET, _LINE = "#101828", "#667085", "#eaecf0"


def html_document(message: Message) -> str:
    """A whole document, about 600 pixels wide."""
    colour = _OVER if message.kind == "resolved" else _COLOURS[message.severity]
    body = (
        _label(message, colour),
        _title(message),
        _text(message),
        _fields(message),
        _links(message, colour),
    )
    return _PAGE.format(
        title=escape(headline(message)),
        preview=escape(" ".join(clean(message.text).split())[:140]),
        colour=colour,
        body="\n".join(part for part in body if part),
        footer=_footer(message),
        font=_FONT,
        line=_LINE,
    )


def _label(message: Message, colour: str) -> str:
    severity = message.severity.capitalize()
    words = _LABELS[message.kind].format(severity=severity)
    style = f"padding:24px 32px 0;{_FONT};font-size:13px;font-weight:600;color:{colour}"
    return f'<tr><td style="{style}">{escape(words)}</td></tr>'


def _title(message: Message) -> str:
    style = f"padding:4px 32px 0;{_FONT};font-size:20px;line-height:28px;font-weight:600;color:{_INK}"
    return f'<tr><td style="{style}">{escape(one_line(message.title) or "curb")}</td></tr>'


def _text(message: Message) -> str:
    text = clean(message.text).strip()
    style = f"padding:12px 32px 0;{_FONT};font-size:15px;line-height:22px;color:#344054"
    return f'<tr><td style="{style}">{escape(text).replace(chr(10), "<br>")}</td></tr>' if text else ""


def _fields(message: Message) -> str:
    if not message.fields:
        return ""
    rows = "\n".join(_row(name, value) for name, value in message.fields)
    table = f'<table role="presentation" width="100%" cellpadding="0" cellspacing="0">\n{rows}\n</table>'
    return f'<tr><td style="padding:20px 32px 0">{table}</td></tr>'


def _row(name: str, value: str) -> str:
    common = f"padding:9px 0;border-top:1px solid {_LINE};{_FONT};font-size:14px;line-height:20px"
    left = f"{common};vertical-align:top;color:{_QUIET};padding-right:16px;width:36%"
    right = f"{common};color:{_INK};font-weight:500;word-break:break-word"
    return (
        f'<tr><td style="{left}">{escape(one_line(name))}</td>'
        f'<td style="{right}">{escape(one_line(value))}</td></tr>'
    )


def _links(message: Message, colour: str) -> str:
    """The first link as a button, the others as links beside it."""
    links = web_links(message)
    if not links:
        return ""
    others = " &nbsp; ".join(_anchor(words, url, colour) for words, url in links[1:])
    cells = f'{_button(*links[0], colour)}\n<td style="padding:10px 0 10px 20px">{others}</td>'
    table = f'<table role="presentation" cellpadding="0" cellspacing="0"><tr>\n{cells}\n</tr></table>'
    return f'<tr><td style="padding:24px 32px 0">{table}</td></tr>'


def _button(words: str, url: str, colour: str) -> str:
    # The cell has the colour and the padding: Outlook gives a link neither.
    cell = f"background:{colour};border-radius:6px;padding:10px 18px"
    return f'<td bgcolor="{colour}" style="{cell}">{_anchor(words, url, "#ffffff")}</td>'


def _anchor(words: str, url: str, colour: str) -> str:
    style = f"{_FONT};font-size:14px;font-weight:600;text-decoration:none;color:{colour}"
    return f'<a href="{escape(url)}" style="{style}">{escape(words)}</a>'


def _footer(message: Message) -> str:
    at = f"{message.at:%Y-%m-%d %H:%M:%S %Z}".strip()
    style = f"padding:16px 32px;{_FONT};font-size:12px;line-height:18px;color:{_QUIET}"
    return f'<tr><td style="{style}">curb · {escape(at)}<br>{escape(one_line(message.key))}</td></tr>'


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{title}</title>
</head>
<body style="margin:0;padding:0;background:#f2f4f7">
<div style="display:none;max-height:0;overflow:hidden">{preview}</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f2f4f7">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="600" cellpadding="0" cellspacing="0" style="width:100%;max-width:600px;\
background:#ffffff;border:1px solid {line};border-top:4px solid {colour};border-radius:0 0 8px 8px">
{body}
<tr><td style="padding:24px 32px 0">\
<div style="border-top:1px solid {line};font-size:0;line-height:0">&nbsp;</div></td></tr>
{footer}
</table>
</td></tr>
</table>
</body>
</html>
"""
