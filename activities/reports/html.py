"""A report as HTML for mail clients and browsers: tables and inline styles, nothing from elsewhere.

Everything essential is text and table cells. Clients that drop SVG (Gmail) lose one picture, whose
numbers stand beside it, and no words, since the picture has none. Every text is escaped.
"""

from collections.abc import Sequence
from html import escape

from activities.reports.page import Bar, Cell, Column, Figure, Link, Month, Page, Section, Table, Tone

_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_INK, _GREY, _LINE, _TRACK, _BLUE, _RED = "#1b2430", "#5b6776", "#e3e8ee", "#e9edf2", "#2b5fb3", "#b3261e"
_TONES: dict[Tone, str] = {"": _INK, "good": "#17743a", "bad": _RED, "warn": "#a15c00", "muted": _GREY}
_BARS: dict[Tone, str] = {"": _BLUE, "good": _BLUE, "warn": "#d98a1f", "bad": "#c63a31", "muted": _BLUE}
_RULE = f"border-bottom:1px solid {_LINE}"
_CHART_PX, _BAR_PX = 96, 10
_WIDTH, _HEIGHT = 640.0, 130.0  # of the month's picture, in its own units
_STYLE = (
    "@media(max-width:560px){.minor{display:none!important}"
    ".stack{display:block!important;width:auto!important}.gap{display:block!important;height:8px!important}"
    ".pad{padding-left:14px!important;padding-right:14px!important}"
    "td,th{font-size:13px!important}.tiny{font-size:10px!important}}"
)
_FRAME = 'role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%"'


def html(page: Page, link: Link = lambda _: "") -> str:
    """A whole document."""
    rows = (
        _row(_head(page), "28px 32px 8px"),
        _row(_figures(page.figures), "12px 32px 4px"),
        _row(_paragraph(" ".join(page.summary)), "8px 32px 4px"),
        *(_row(_section(section, link), "18px 32px 4px") for section in page.sections),
        _row(_small(page.footnote), "22px 32px 28px"),
    )
    sheet = _frame(
        "".join(rows),
        f"max-width:720px;background:#ffffff;border:1px solid {_LINE};border-radius:8px;text-align:left",
    )
    desk = f'<tr><td align="center" style="padding:16px 8px">{sheet}</td></tr>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light"><meta name="supported-color-schemes" content="light">'
        f"<title>{escape(page.subject)}</title><style>{_STYLE}</style></head>"
        f'<body style="margin:0;padding:0;background:#f3f5f8;color:{_INK};{_FONT}">'
        f"{_frame(desk, 'background:#f3f5f8')}</body></html>\n"
    )


# -- the parts of a page, from top to bottom ---------------------------------------------------


def _head(page: Page) -> str:
    parts = [
        _div("Cost of AI agents", f"font-size:13px;color:{_GREY};letter-spacing:.04em"),
        f'<h1 style="margin:4px 0;font-size:24px;line-height:1.25;color:{_INK}">{escape(page.title)}</h1>',
        _div(page.subtitle, f"font-size:13px;color:{_GREY}"),
    ]
    if page.badge:
        badge = "display:inline-block;margin-top:10px;padding:3px 10px;border-radius:4px;font-size:13px"
        parts.append(_div(page.badge, f"{badge};background:#fdf1dc;color:#7a4700"))
    return "".join(parts)


def _figures(figures: Sequence[Figure]) -> str:
    gap = '<td class="gap" width="12" style="width:12px;font-size:1px;line-height:1px">&nbsp;</td>'
    return _frame(f"<tr>{gap.join(map(_figure, figures))}</tr>")


def _figure(figure: Figure) -> str:
    colour = _TONES[figure.tone] if figure.tone in ("warn", "bad") else _INK
    number = (
        f"font-size:26px;line-height:1.35;font-weight:600;font-variant-numeric:tabular-nums;color:{colour}"
    )
    parts = [_div(figure.label, f"font-size:13px;color:{_GREY}"), _div(figure.value, number)]
    if figure.bar is not None:
        parts.append(f'<div style="padding:2px 0 6px">{_bar(figure.bar, figure.tone)}</div>')
    parts.append(_div(figure.note, f"font-size:12px;line-height:1.4;color:{_GREY}"))
    box = f"padding:12px 14px;background:#f7f9fb;border:1px solid {_LINE};border-radius:6px"
    return f'<td class="stack" width="32%" valign="top" style="{box}">{"".join(parts)}</td>'


def _section(section: Section, link: Link) -> str:
    title = f"margin:0 0 6px;font-size:17px;line-height:1.3;color:{_INK}"
    parts = [f'<h2 style="{title}">{escape(section.title)}</h2>']
    if section.note:
        parts.append(_small(section.note))
    if section.chart:
        parts.append(_chart(section.chart))
    if section.month is not None:
        parts.append(_picture(section.month))
    if section.table is not None:
        parts.append(_table(section.table, link))
    if section.after:
        parts.append(_small(section.after))
    return "".join(parts)


# -- tables ------------------------------------------------------------------------------------


def _table(table: Table, link: Link) -> str:
    head = ""
    if any(column.title for column in table.columns):
        head = f"<tr>{''.join(_heading(*each) for each in enumerate(table.columns))}</tr>"
    rows = "".join(_cells(row, table.columns, link) for row in table.rows)
    total = "" if table.total is None else _cells(table.total, table.columns, link, is_total=True)
    # What cells inherit stands here: Gmail cuts mails that are longer than 102 kB.
    style = (
        "border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;"
        f"overflow-wrap:anywhere;color:{_INK}"
    )
    return (
        '<table cellpadding="0" cellspacing="0" border="0" width="100%" '
        f'style="{style}">{head}{rows}{total}</table>'
    )


def _heading(number: int, column: Column) -> str:
    style = f"padding:4px 0 4px {_indent(number)};font-size:12px;font-weight:500;color:{_GREY}"
    width = f' width="{column.width}%"' if column.width else ""
    attributes = f'{_class(column)}{width} align="{_side(column)}" nowrap style="{style};{_RULE}"'
    return f"<th{attributes}>{escape(column.title)}</th>"


def _cells(cells: Sequence[Cell], columns: Sequence[Column], link: Link, *, is_total: bool = False) -> str:
    line = f"border-top:2px solid {_LINE};font-weight:600" if is_total else _RULE
    made = (
        _cell(number, cell, column, line, link)
        for number, (cell, column) in enumerate(zip(cells, columns, strict=True))
    )
    return f"<tr>{''.join(made)}</tr>"


def _cell(number: int, cell: Cell, column: Column, line: str, link: Link) -> str:
    unbroken = " nowrap" if column.right or column.brief else ""
    side = ' align="right"' if column.right else ""
    colour = f";color:{_TONES[cell.tone]}" if cell.tone else ""
    content = _bar(cell.bar, cell.tone) if cell.bar is not None else _linked(cell, link)
    style = f"padding:6px 0 6px {_indent(number)};{line}{colour}"
    return f'<td{_class(column)}{side}{unbroken} style="{style}">{content}</td>'


def _linked(cell: Cell, link: Link) -> str:
    address = link(cell.workflow_id) if cell.workflow_id else ""
    if not address.startswith(("https://", "http://")):
        return escape(cell.text)
    style = f"color:{_BLUE};text-decoration:underline"
    return f'<a href="{escape(address)}" style="{style}">{escape(cell.text)}</a>'


def _indent(number: int) -> str:
    return "10px" if number else "0"


def _side(column: Column) -> str:
    return "right" if column.right else "left"


def _class(column: Column) -> str:
    return ' class="minor"' if column.minor else ""


# -- bars and the picture ----------------------------------------------------------------------


def _bar(share: float, tone: Tone) -> str:
    """A bar of two table cells: what every mail client can draw."""
    filled = round(100 * min(max(share, 0.0), 1.0))
    filled = max(filled, 1) if share > 0 else filled
    parts = [(filled, _BARS[tone]), (100 - filled, _TRACK)]
    cells = (f'<td width="{width}%" bgcolor="{colour}">&nbsp;</td>' for width, colour in parts if width)
    attributes = f'cellpadding="0" cellspacing="0" width="100%" style="font-size:1px;line-height:{_BAR_PX}px"'
    return f"<table {attributes}><tr>{''.join(cells)}</tr></table>"


def _chart(bars: Sequence[Bar]) -> str:
    every = all(bar.label for bar in bars)
    columns = "".join(_column(bar, 100 / len(bars), valued=every) for bar in bars)
    rows = f"<tr>{columns}</tr><tr>{_labels(bars)}</tr>"
    return _frame(rows, "table-layout:fixed;margin:4px 0 8px")


def _column(bar: Bar, width: float, *, valued: bool) -> str:
    """A bar that stands; where there is room, with its value above."""
    colour = _BLUE if bar.share > 0 else _TRACK
    value = f"font-size:12px;color:{_INK};padding-bottom:3px"
    above = f'<div class="tiny" style="{value}">{escape(bar.value)}</div>' if valued else ""
    height = max(1, round(_CHART_PX * bar.share))
    style = f"height:{height}px;line-height:1px;font-size:1px"
    standing = _frame(f'<tr><td height="{height}" bgcolor="{colour}" style="{style}">&nbsp;</td></tr>')
    return (
        f'<td valign="bottom" align="center" width="{width:.2f}%" height="{_CHART_PX + 20}" '
        f'title="{escape(bar.value)}" style="padding:0 1px;vertical-align:bottom">{above}{standing}</td>'
    )


def _labels(bars: Sequence[Bar]) -> str:
    """A label spans the bars up to the next one."""
    starts = [number for number, bar in enumerate(bars) if bar.label]
    side = "center" if len(starts) == len(bars) else "left"
    return "".join(
        _label(bars[start].label, end - start, side)
        for start, end in zip(starts, [*starts[1:], len(bars)], strict=True)
    )


def _label(text: str, span: int, side: str) -> str:
    style = f"padding-top:4px;font-size:12px;color:{_GREY};border-top:1px solid {_LINE};white-space:nowrap"
    return f'<td class="tiny" colspan="{span}" align="{side}" style="{style}">{escape(text)}</td>'


def _picture(month: Month) -> str:
    """The month as it grew and where it may go: shapes only, so that nothing is left where SVG is dropped."""
    style = f"padding-top:4px;font-size:12px;color:{_GREY}"
    sides = (("left", month.first), ("center", month.caption), ("right", month.last))
    ends = "".join(f'<td align="{side}" style="{style}">{escape(text)}</td>' for side, text in sides)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" width="100%" '
        f'height="{_HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true" '
        f'style="display:block;border-bottom:1px solid {_LINE}">{"".join(_shapes(month))}</svg>'
        f"{_frame(f'<tr>{ends}</tr>', 'margin:0 0 8px')}"
    )


def _shapes(month: Month) -> list[str]:
    def place(day: float, value: float) -> str:
        return f"{_WIDTH * day / month.days:.1f},{_HEIGHT - (_HEIGHT - 4) * value:.1f}"

    today = len(month.grown)
    line = " ".join(place(day, value) for day, value in enumerate((0.0, *month.grown)))
    now = place(today, month.grown[-1])
    low, expected, high = (place(month.days, end) for end in month.ends)
    shapes = [_area(f"{line} {place(today, 0)}", ".12"), _curve(line, _BLUE, 'stroke-width="2.5"')]
    if today < month.days:
        shapes += [
            _area(f"{now} {high} {low}", ".18"),
            _curve(f"{now} {expected}", _BLUE, 'stroke-width="2" stroke-dasharray="5 5"'),
        ]
    if month.limit is not None:
        ends = f"{place(0, month.limit)} {place(month.days, month.limit)}"
        shapes.append(_curve(ends, _RED, 'stroke-width="1.5" stroke-dasharray="2 4"'))
    return shapes


def _area(points: str, opacity: str) -> str:
    return f'<polygon points="{points}" fill="{_BLUE}" fill-opacity="{opacity}"/>'


def _curve(points: str, colour: str, more: str) -> str:
    return f'<polyline points="{points}" fill="none" stroke="{colour}" {more}/>'


# -- markup ------------------------------------------------------------------------------------


def _row(content: str, padding: str) -> str:
    return f'<tr><td class="pad" style="padding:{padding};{_FONT}">{content}</td></tr>'


def _frame(rows: str, style: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    return f"<table {_FRAME}{styled}>{rows}</table>"


def _div(text: str, style: str) -> str:
    return f'<div style="{style}">{escape(text)}</div>'


def _paragraph(text: str) -> str:
    return f'<p style="margin:6px 0;font-size:15px;line-height:1.5">{escape(text)}</p>'


def _small(text: str) -> str:
    return f'<p style="margin:2px 0 8px;font-size:13px;line-height:1.45;color:{_GREY}">{escape(text)}</p>'
