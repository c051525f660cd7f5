"""HTML from values: whatever is no Html is escaped, so that a name can never be markup."""

from collections.abc import Sequence
from html import escape


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


def table(head: tuple[str, ...], rows: Sequence[Sequence[Node]], *, empty: str) -> Html:
    """A table whose cells know their column's name, for narrow screens; `empty` where there is no row."""
    if not rows:
        return tag("p", empty, class_="empty")
    body = (
        tag("tr", *(tag("td", cell, data_name=name) for name, cell in zip(head, row, strict=True)))
        for row in rows
    )
    heads = (tag("th", each, scope="col") for each in head)
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body))
