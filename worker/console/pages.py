"""The pages as sections: name to markup, so that each can be sent again when it has changed."""

from collections.abc import Callable, Mapping

from gateway.policy.money import format_usd
from gateway.state.authority import BudgetState
from worker.console.figures import Figures
from worker.console.markup import Html, Node, join, moment, table, tag
from worker.console.overview import overview
from worker.console.parts import Sections, bar, card, form
from worker.console.session import Visitor

PAGES = {"": "Overview", "budgets": "Budgets", "alerts": "Alerts", "reports": "Reports"}


def sections(page: str, figures: Figures, visitor: Visitor) -> Sections:
    """What the page of this name shows. Raises KeyError."""
    made: Mapping[str, Callable[[], Sections]] = {
        "": lambda: overview(figures, visitor),
        "budgets": lambda: {"budgets": card("Budgets", _budgets(figures))},
        "alerts": lambda: {"alerts": card("Alerts", _alerts(figures, visitor))},
        "reports": lambda: {"reports": card("Reports", _reports(figures))},
    }
    return {"problems": _problems(figures), **made[page]()}


def document(
    title: str,
    body: Node,
    *,
    visitor: Visitor | None,
    page: str = "-",
    live: str = "",
    again: int | None = None,
) -> str:
    """A whole page around its sections. live: where its events come from. again: seconds until it is
    loaded again by itself."""
    links = (
        tag("a", name, href=f"/console/{at}".rstrip("/"), aria_current="page" if at == page else None)
        for at, name in PAGES.items()
    )
    out = (
        form(visitor, "logout", "Log out", path="/console/logout", in_background=False)
        if visitor and not visitor.is_developer
        else None
    )
    head = tag(
        "header",
        tag("strong", "curb"),
        tag("nav", *links, aria_label="Pages") if visitor else None,
        tag("span", visitor.name if visitor.may_act else f"{visitor.name}, may look only", class_="soft")
        if visitor
        else None,
        out,
    )
    return "<!doctype html>" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
            tag("meta", http_equiv="refresh", content=again) if again else None,
            tag("title", f"{title} - curb"),
            tag("link", rel="icon", href="data:,"),
            tag("link", rel="stylesheet", href="/console/console.css"),
            tag("script", src="/console/console.js", defer=True),
        ),
        tag(
            "body",
            tag("a", "To the content", href="#main", class_="skip"),
            head,
            tag("p", id="trouble", role="alert"),
            tag("main", body, id="main", tabindex="-1"),
            tag("footer", "Times are UTC.") if visitor else None,
            tag("div", id="said", role="status", aria_live="polite"),
            data_live=live or None,
        ),
        lang="en",
    )


def holders(made: Sections) -> Html:
    """The sections in elements of their names."""
    return join(*(tag("div", html, id=name) for name, html in made.items()))


def _problems(figures: Figures) -> Html:
    lines = (tag("p", each) for each in figures.problems)
    return tag("section", *lines, class_="card problem", role="alert") if figures.problems else Html()


def _budgets(figures: Figures) -> Html:
    def row(state: BudgetState) -> tuple[Node, ...]:
        limit = state.limit_nano_usd
        return (
            state.scope,
            state.period.value,
            "none" if limit is None else format_usd(limit),
            format_usd(state.spent_nano_usd),
            format_usd(state.held_nano_usd),
            format_usd(state.in_doubt_nano_usd),
            bar(state, named=False),
        )

    head = ("scope", "period", "limit", "spent", "held", "in doubt", "used")
    return table(head, [row(each) for each in figures.budgets[:300]], empty="There are no budgets.")


def _alerts(figures: Figures, visitor: Visitor) -> Html:
    rows = [
        (
            tag("span", each["severity"], class_="bad" if each["severity"] == "critical" else "warn"),
            join(tag("strong", each["title"]), tag("div", each["action"]) if each["action"] else None),
            each["scope"],
            moment(each["last_seen"]),
            each["acknowledged_by"]
            or form(visitor, "acknowledge", "Acknowledge", alert=each["id"])
            or "nobody yet",
        )
        for each in figures.alerts
    ]
    return table(("severity", "what", "scope", "last seen", "looked after by"), rows, empty="Nothing fires.")


def _reports(figures: Figures) -> Html:
    rows: list[tuple[Node, ...]] = [
        (
            tag("a", each.period, href=f"/console/reports/{each.kind}/{each.first_day}"),
            each.kind,
            "so far" if each.preliminary else "final",
            moment(each.made_at),
        )
        for each in figures.reports
    ]
    return table(("period", "kind", "state", "made"), rows, empty="No report was made yet.")
