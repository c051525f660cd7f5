"""The pages as sections: name to markup, so that each can be sent again when it has changed."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from gateway.policy.money import format_usd
from gateway.policy.scopes import Period
from gateway.state.authority import BudgetState
from gateway.store.figures import UsageSum
from worker.client import Progress
from worker.console.figures import Figures
from worker.console.markup import Html, Node, join, table, tag
from worker.console.session import Visitor
from worker.desk.documents import at_text

PAGES = {"": "Overview", "budgets": "Budgets", "alerts": "Alerts", "reports": "Reports"}
Sections = dict[str, Html]


def sections(page: str, figures: Figures, visitor: Visitor) -> Sections:
    """What the page of this name shows. Raises KeyError."""
    made: Mapping[str, Callable[[], Sections]] = {
        "": lambda: _overview(figures, visitor),
        "budgets": lambda: {"budgets": _card("Budgets", _budgets(figures))},
        "alerts": lambda: {"alerts": _card("Alerts", _alerts(figures, visitor))},
        "reports": lambda: {"reports": _card("Reports", _reports(figures))},
    }
    return {"problems": _problems(figures), **made[page]()}


def run_sections(run: Mapping[str, Any], visitor: Visitor) -> Sections:
    """A run's own page. run: as of worker.desk.runs.run_document."""
    return {"head": _run_head(run, visitor), "asked": _asked(run, visitor), "steps": _steps(run)}


def document(title: str, body: Node, *, visitor: Visitor | None, page: str = "-", live: str = "") -> str:
    """A whole page around its sections. live: where its events come from."""
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
        tag("span", visitor.name, class_="soft") if visitor else None,
        out,
    )
    return "<!doctype html>" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
            tag("title", f"{title} - curb"),
            tag("link", rel="icon", href="data:,"),
            tag("link", rel="stylesheet", href="/console/console.css"),
            tag("script", src="/console/console.js", defer=True),
        ),
        tag(
            "body",
            tag("a", "To the content", href="#main", class_="skip"),
            head,
            tag("main", body, id="main"),
            tag("div", id="said", role="status", aria_live="polite"),
            data_live=live or None,
        ),
        lang="en",
    )


def holders(made: Sections) -> Html:
    """The sections in elements of their names."""
    return join(*(tag("div", html, id=name) for name, html in made.items()))


def form(
    visitor: Visitor | None,
    action: str,
    label: str,
    *fields: Node,
    path: str = "/console/act",
    ask: str = "",
    style: str = "",
    in_background: bool = True,
    **hidden: str,
) -> Html | None:
    """A button with what goes along; None for who may not act. ask: a question before it is done."""
    if visitor is None or (not visitor.may_act and action != "logout"):
        return None
    values = {"csrf": visitor.csrf, "action": action, **hidden}
    known = "-".join((action, *hidden.values()))
    return tag(
        "form",
        *(tag("input", type="hidden", name=name, value=value) for name, value in values.items()),
        *fields,
        tag(
            "button",
            label,
            id=f"do-{known}",
            class_=style or None,
            aria_label=f"{label} {' '.join(hidden.values())}",
        ),
        method="post",
        action=path,
        data_act=in_background,
        data_ask=ask or None,
    )


def _field(name: str, label: str, *, style: str = "", required: bool = True, **more: str) -> Html:
    return tag(
        "input", name=name, aria_label=label, placeholder=label, class_=style or None, required=required,
        maxlength=2_000, autocomplete="off", **more,
    )  # fmt: skip


def _card(title: str, *content: Node) -> Html:
    return tag("section", tag("h2", title), *content, class_="card")


def _problems(figures: Figures) -> Html:
    lines = (tag("p", each) for each in figures.problems)
    return tag("section", *lines, class_="card problem", role="alert") if figures.problems else Html()


# -- overview ------------------------------------------------------------------------------------


def _overview(figures: Figures, visitor: Visitor) -> Sections:
    spent = tag(
        "div",
        _card("Agents by cost today", _by_cost(figures.agents)),
        _card("Models by cost today", _by_cost(figures.models)),
        class_="two",
    )
    return {
        "now": _now(figures),
        "switches": _card("Switches", _switches(figures, visitor), _new_switch(visitor)),
        "runs": _card("Runs", _runs(figures, visitor)),
        "spent": spent,
        "health": _card("Providers", _health(figures)),
    }


def _now(figures: Figures) -> Html:
    day, velocity = figures.today, format_usd(figures.velocity_nano_usd)
    shown = {
        "today": format_usd(day.cost_nano_usd),
        "this month": format_usd(figures.month.cost_nano_usd),
        f"in the last {figures.velocity_seconds} s": velocity,
        "active runs": str(figures.live_runs),
        "errors today": _share(day.errors, day.attempts),
        "from the cache": _share(day.cached, day.attempts + day.cached),
        "p95": "-" if figures.p95_ms is None else f"{figures.p95_ms / 1000:.2f} s",
    }
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in shown.items())
    whole = [b for b in figures.budgets if b.scope == "global" and b.period is not Period.RUN]
    return tag(
        "section", tag("dl", *pairs, class_="figures"), *map(_bar, whole), class_="card", aria_label="Now"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _bar(state: BudgetState) -> Html | None:
    if not state.limit_nano_usd:
        return None
    used = state.spent_nano_usd + state.held_nano_usd + state.in_doubt_nano_usd
    limit = state.limit_nano_usd + state.topped_nano_usd
    share = used / limit
    tone = "bad" if share >= 0.95 else "warn" if share >= 0.8 else None
    said = f"{state.scope} {state.period.value}: {format_usd(used)} of {format_usd(limit)}"
    return tag(
        "div",
        tag("span", said, class_="soft"),
        tag("progress", value=f"{min(share, 1):.4f}", max=1, class_=tone, aria_label=said),
    )


def _by_cost(rows: Any) -> Html:
    def row(each: UsageSum) -> tuple[Node, ...]:
        return each.name or "(none)", format_usd(each.cost_nano_usd), each.attempts, each.errors

    return table(
        ("name", "cost", "calls", "errors"), [row(each) for each in rows], empty="Nothing was bought yet."
    )


def _health(figures: Figures) -> Html:
    tones = {"up": "good", "degraded": "warn", "down": "bad"}
    rows = [
        (
            each.deployment or each.provider,
            tag("span", each.status, class_=tones.get(each.status, "soft")),
            each.reason,
            f"{each.latency_ms} ms",
            at_text(each.checked_at) or "never",
        )
        for each in sorted(figures.health, key=lambda h: (h.provider, h.deployment))
    ]
    return table(("provider", "status", "why", "latency", "looked at"), rows, empty="Nobody was probed yet.")


def _switches(figures: Figures, visitor: Visitor) -> Html:
    rows = [
        (
            tag("strong", each.name, class_="bad"),
            each.value,
            at_text(each.since) or "",
            at_text(each.expires_at) or "never",
            form(visitor, "clear", "Clear", name=each.name),
        )
        for each in figures.switches
    ]
    return table(("switch", "value", "since", "expires", ""), rows, empty="None is set.")


def _new_switch(visitor: Visitor) -> Html | None:
    return form(
        visitor,
        "set",
        "Set switch",
        _field("name", "kill:agent:NAME", style="wide"),
        _field("reason", "reason", required=False),
        _field("minutes", "minutes", style="money", required=False, inputmode="numeric"),
        style="danger",
    )


def _runs(figures: Figures, visitor: Visitor) -> Html:
    rows = [_run_row(each, visitor) for each in figures.runs]
    head = ("run", "agent", "status", "step", "spent", "waits for", "")
    return table(head, rows, empty="No agent has run yet.")


def _run_row(run: Progress, visitor: Visitor) -> tuple[Node, ...]:
    budget = "" if run.budget_nano_usd is None else f" of {format_usd(run.budget_nano_usd)}"
    steps = f"{run.steps} of {run.max_steps}" if run.max_steps else str(run.steps)
    is_asked = {"approval", "question"} & set(run.waiting_for)
    href = f"/console/runs/{quote(run.run_id, safe='')}"
    return (
        tag("a", run.run_id, href=href),
        run.agent,
        _status(run.status),
        steps,
        format_usd(run.cost_nano_usd) + budget,
        "; ".join(f"{cause}: {what}" for cause, what in run.waiting_for.items()),
        None
        if run.ended
        else join(
            tag("a", "Decide", href=f"{href}#asked") if is_asked and visitor.may_act else None,
            _steering(visitor, run.run_id, paused="hand" in run.waiting_for),
        ),
    )


def _status(status: str) -> Html:
    tone = {"running": "good", "completed": "good", "paused": "warn"}.get(status, "bad")
    return tag("span", status, class_=tone)


def _steering(visitor: Visitor, run: str, *, paused: bool) -> Html:
    return join(
        form(visitor, "resume", "Resume", run=run) if paused else form(visitor, "pause", "Pause", run=run),
        form(visitor, "top_up", "Top up", _field("usd", "USD", style="money", inputmode="decimal"), run=run),
        form(visitor, "kill", "Kill", run=run, style="danger", ask=f"End the run {run}?"),
    )


# -- a run ---------------------------------------------------------------------------------------


def _run_head(run: Mapping[str, Any], visitor: Visitor) -> Html:
    waits = "; ".join(f"{each['cause']}: {each['detail']}" for each in run["waiting_for"])
    shown = {
        "agent": run["agent"],
        "status": run["status"],
        "step": f"{run['steps']} of {run['max_steps']}" if run["max_steps"] else run["steps"],
        "cost": f"{run['cost_usd']} USD",
        "budget": f"{run['budget_usd']} USD" if run["budget_usd"] else "-",
        "mode": run["mode"],
    }
    pairs = (tag("div", tag("dt", name), tag("dd", str(value))) for name, value in shown.items())
    paused = any(each["cause"] == "hand" for each in run["waiting_for"])
    ended = run["ended_at"] is not None
    link = run["temporal_ui"]
    return _card(
        f"Run {run['id']}",
        tag("dl", *pairs, class_="figures"),
        tag("p", run["reason"], class_="soft") if run["reason"] else None,
        tag("p", f"Waits for {waits}", class_="warn") if waits else None,
        None if ended else _steering(visitor, run["id"], paused=paused),
        tag("a", "In the Temporal UI", href=link, rel="noopener noreferrer") if link else None,
        tag("h2", "Task"),
        tag("pre", run["task"]),
        join(tag("h2", "Answer"), tag("pre", run["answer"])) if run["answer"] else None,
    )


def _asked(run: Mapping[str, Any], visitor: Visitor) -> Html:
    """What people are asked, with the arguments that they decide upon."""
    return join(*(_one_asked(run["id"], each, visitor) for each in run["escalations"] if each["open"]))


def _one_asked(run: str, asked: Mapping[str, Any], visitor: Visitor) -> Html:
    call = asked["call"]
    if asked["kind"] == "question":
        ways = form(visitor, "answer", "Answer", _field("text", "answer", style="wide"), run=run, call=call)
    else:
        ways = join(
            form(visitor, "approve", "Approve", run=run, call=call, style="primary"),
            form(visitor, "deny", "Deny", _field("reason", "reason", required=False), run=run, call=call),
        )
    return _card(
        f"{asked['kind']}: {asked['tool']}", tag("p", asked["detail"]), tag("pre", asked["arguments"]), ways
    )


def _steps(run: Mapping[str, Any]) -> Html:
    shadow = [(each["call"], tag("pre", str(each))) for each in run["shadow_actions"]]
    return join(
        *(_step(each) for each in run["calls"]),
        _card("Shadow actions", table(("call", "what would have been done"), shadow, empty=""))
        if shadow
        else None,
    )


def _step(step: Mapping[str, Any]) -> Html:
    attempts = [
        (
            each["deployment"], each["state"], each["error"] or each["finish_reason"] or "",
            f"{each['input_tokens']} in, {each['output_tokens']} out", f"{each['cost_usd'] or '0'} USD",
        )
        for each in step["attempts"]
    ]  # fmt: skip
    tools = (
        tag(
            "div",
            tag("strong", each["tool"]),
            tag("pre", each["arguments"]),
            tag("pre", each["result"] or ""),
        )
        for each in step["tools"]
    )
    return _card(
        f"Step {step['step']}",
        table(("deployment", "state", "ended", "tokens", "cost"), attempts, empty=""),
        tag("pre", step["text"]) if step["text"] else None,
        *tools,
    )


# -- the other pages -----------------------------------------------------------------------------


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
            _bar(state) or "",
        )

    head = ("scope", "period", "limit", "spent", "held", "in doubt", "used")
    return table(head, [row(each) for each in figures.budgets[:300]], empty="There are no budgets.")


def _alerts(figures: Figures, visitor: Visitor) -> Html:
    rows = [
        (
            tag("span", each["severity"], class_="bad" if each["severity"] == "critical" else "warn"),
            join(tag("strong", each["title"]), tag("br"), each["action"]),
            each["scope"],
            each["last_seen"],
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
            at_text(each.made_at) or "",
        )
        for each in figures.reports
    ]
    return table(("period", "kind", "state", "made"), rows, empty="No report was made yet.")
