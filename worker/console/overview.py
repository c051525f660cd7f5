"""The first page: what costs what now, and what stops it."""

from typing import Any
from urllib.parse import quote

from gateway.policy.money import usd
from gateway.policy.scopes import Period
from gateway.store.figures import UsageSum
from worker.client import Progress
from worker.console.figures import Figures
from worker.console.markup import Html, Node, amount, join, moment, table, tag
from worker.console.parts import Sections, bar, card, field, form, labelled, status, steering, waiting
from worker.console.session import Visitor


def overview(figures: Figures, visitor: Visitor) -> Sections:
    spent = tag(
        "div",
        card("Agents by cost today", _by_cost(figures.agents)),
        card("Models by cost today", _by_cost(figures.models)),
        class_="two",
    )
    return {
        "now": _now(figures),
        "switches": card("Switches", _switches(figures, visitor), _new_switch(figures, visitor)),
        "runs": card("Runs", _runs(figures, visitor)),
        "batches": card("Batches under way", _batches(figures, visitor)) if figures.batches else Html(),
        "spent": spent,
        "health": card("Providers", _health(figures)),
    }


def _now(figures: Figures) -> Html:
    day = figures.today
    shown: dict[str, Node] = {
        "today": amount(day.cost_nano_usd),
        "this month": amount(figures.month.cost_nano_usd),
        f"in the last {figures.velocity_seconds} s": amount(figures.velocity_nano_usd),
        "active runs": figures.live_runs,
        "open alerts": tag("a", len(figures.alerts), href="/console/alerts"),
        "errors today": _share(day.errors, day.attempts),
        "from the cache": _share(day.cached, day.attempts + day.cached),
        "p95": "-" if figures.p95_ms is None else f"{figures.p95_ms / 1000:.2f} s",
    }
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in shown.items())
    whole = [b for b in figures.budgets if b.scope == "global" and b.period is not Period.RUN]
    return tag(
        "section", tag("dl", *pairs, class_="figures"), *map(bar, whole), class_="card", aria_label="Now"
    )


def _by_cost(rows: Any) -> Html:
    def row(each: UsageSum) -> tuple[Node, ...]:
        return each.name or "(none)", amount(each.cost_nano_usd), each.attempts, each.errors

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
            moment(each.checked_at) or "never",
        )
        for each in sorted(figures.health, key=lambda h: (h.provider, h.deployment))
    ]
    return table(("provider", "status", "why", "latency", "looked at"), rows, empty="Nobody was probed yet.")


def _switches(figures: Figures, visitor: Visitor) -> Html:
    rows = [
        (
            tag("strong", each.name, class_="bad"),
            each.value,
            moment(each.since) or "just now",
            moment(each.expires_at) or "never",
            form(visitor, "clear", "Clear", name=each.name),
        )
        for each in figures.switches
    ]
    return table(("switch", "value", "since", "expires", ""), rows, empty="None is set.")


def _new_switch(figures: Figures, visitor: Visitor) -> Html | None:
    names = tag("datalist", *(tag("option", value=name) for name in figures.names), id="switch-names")
    return form(
        visitor,
        "set",
        "Set switch",
        labelled(
            "Switch", field("name", "", style="wide", list="switch-names", placeholder="kill:agent:NAME")
        ),
        names,
        labelled("Reason", field("reason", "", required=False)),
        labelled(
            "Minutes", field("minutes", "", required=False, inputmode="numeric", placeholder="until cleared")
        ),
        style="danger",
    )


def _runs(figures: Figures, visitor: Visitor) -> Html:
    rows = [_run_row(each, visitor) for each in figures.runs]
    head = ("run", "agent", "status", "step", "spent", "waits for", "")
    return table(head, rows, empty="No agent has run yet.")


def _run_row(run: Progress, visitor: Visitor) -> tuple[Node, ...]:
    budget = None if run.budget_nano_usd is None else join(" of ", amount(run.budget_nano_usd))
    steps = f"{run.steps} of {run.max_steps}" if run.max_steps else str(run.steps)
    is_asked = {"approval", "question"} & set(run.waiting_for)
    href = f"/console/runs/{quote(run.run_id, safe='')}"
    return (
        tag("a", run.run_id, href=href),
        run.agent,
        status(run.status),
        steps,
        join(amount(run.cost_nano_usd), budget),
        waiting(run.waiting_for),
        None
        if run.ended
        else join(
            tag("a", "Decide", href=f"{href}#asked", class_="button primary")
            if is_asked and visitor.may_act
            else None,
            steering(visitor, run.run_id, paused="hand" in run.waiting_for),
        ),
    )


def _batches(figures: Figures, visitor: Visitor) -> Html:
    rows = [
        (
            each["id"],
            each["agent"],
            each["deployment"],
            f"{each['done']} of {each['requests']}",
            amount(usd(each["held_usd"])),
            "cancelling" if each["cancel_asked"] else each["state"],
            None
            if each["cancel_asked"]
            else form(
                visitor, "cancel_batch", "Cancel", batch=each["id"], style="danger",
                ask=f"Cancel the batch {each['id']}? What was answered by then is paid for.",
            ),
        )
        for each in figures.batches
    ]  # fmt: skip
    return table(("batch", "agent", "deployment", "requests done", "held", "state", ""), rows, empty="")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
