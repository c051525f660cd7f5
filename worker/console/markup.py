"""HTML from values: whatever is no Html is escaped, so that a name can never be markup."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape

from gateway.policy.money import format_usd


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Node = str | int | None
_VOID = frozenset({"input", "meta", "link", "br"})


def tag(name: str, /, *children: Node, **attributes: str | int | bool | None) -> Html:
    """An element. Attributes: `_` is written `-`, one at the end is dropped; None and False leave it out."""
    opened = "".join(
        f" {key.removesuffix('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{opened}>" if name in _VOID else f"<{name}{opened}>{join(*children)}</{name}>")


def join(*children: Node) -> Html:
    """Children one after the other; None is nothing."""
    return Html("".join(c if isinstance(c, Html) else escape(str(c)) for c in children if c is not None))


_UNBROKEN = frozenset(
    {"cost", "spent", "limit", "held", "in doubt", "calls", "errors", "step", "period", "status", "state",
     "requests done", "latency", "severity", "tokens"}
)  # fmt: skip


def table(head: tuple[str, ...], rows: Sequence[Sequence[Node]], *, empty: str) -> Html:
    """A table whose cells know their column's name, for narrow screens; `empty` where there is no row."""
    if not rows:
        return tag("p", empty, class_="empty")
    body = (tag("tr", *(_cell(name, cell) for name, cell in zip(head, row, strict=True))) for row in rows)
    heads = (tag("th", each, scope="col") if each else tag("td") for each in head)
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body))


def _cell(name: str, cell: Node) -> Html:
    """Columns without a name hold what can be done."""
    if not name:
        return tag("td", cell, class_="do")
    shown = None if cell is None or cell == "" else tag("div", cell)
    return tag("td", shown, data_name=name, class_="unbroken" if name in _UNBROKEN else None)


def moment(at: datetime | str | None) -> Html | None:
    """When: to the second, in UTC; None for never. at: ISO 8601 where it is text."""
    if not at:
        return None
    given = datetime.fromisoformat(at) if isinstance(at, str) else at
    utc = given.astimezone(UTC)
    shown = f"{utc:%Y-%m-%d %H:%M:%S}"
    return tag("time", shown, datetime=utc.isoformat(timespec="milliseconds"), title=f"{shown} UTC")


def amount(nano_usd: int) -> Html:
    """Dollars for a glance, the exact amount behind it."""
    exact = format_usd(nano_usd)
    if 0 < nano_usd < 100_000:
        return tag("span", "<$0.0001", title=exact)
    places = 2 if nano_usd >= 1_000_000_000 or nano_usd % 10_000_000 == 0 else 4
    return tag("span", f"${Decimal(nano_usd) / 1_000_000_000:,.{places}f}", title=exact)
