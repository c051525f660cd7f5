"""A run's own page."""

from collections.abc import Mapping
from typing import Any

from worker.console.markup import Html, join, table, tag
from worker.console.parts import Sections, card, field, form, steering, waiting
from worker.console.session import Visitor


def run_sections(run: Mapping[str, Any], visitor: Visitor) -> Sections:
    """A run's own page. run: as of worker.desk.runs.run_document."""
    return {"head": _run_head(run, visitor), "asked": _asked(run, visitor), "steps": _steps(run)}


def _run_head(run: Mapping[str, Any], visitor: Visitor) -> Html:
    waits = waiting({each["cause"]: each["detail"] for each in run["waiting_for"]})
    shown = {
        "agent": run["agent"],
        "status": run["status"],
        "step": f"{run['steps']} of {run['max_steps']}" if run["max_steps"] else run["steps"],
        "cost": f"${run['cost_usd']}",
        "budget": f"${run['budget_usd']}" if run["budget_usd"] else "-",
        "mode": run["mode"],
    }
    pairs = (tag("div", tag("dt", name), tag("dd", str(value))) for name, value in shown.items())
    paused = any(each["cause"] == "hand" for each in run["waiting_for"])
    ended = run["ended_at"] is not None
    link = run["temporal_ui"]
    return card(
        f"Run {run['id']}",
        tag("dl", *pairs, class_="figures"),
        tag("p", run["reason"], class_="soft") if run["reason"] else None,
        tag("p", f"Waits: {waits}", class_="warn") if waits else None,
        None if ended else steering(visitor, run["id"], paused=paused),
        tag("p", tag("a", "In the Temporal UI", href=link, rel="noopener noreferrer")) if link else None,
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
        ways = form(visitor, "answer", "Answer", field("text", "answer", style="wide"), run=run, call=call)
    else:
        ways = join(
            form(visitor, "approve", "Approve", run=run, call=call, style="primary"),
            form(visitor, "deny", "Deny", field("reason", "reason", required=False), run=run, call=call),
        )
    return card(
        f"{asked['kind']}: {asked['tool']}", tag("p", asked["detail"]), tag("pre", asked["arguments"]), ways
    )


def _steps(run: Mapping[str, Any]) -> Html:
    shadow = [(each["tool"], each["would"]) for each in run["shadow_actions"]]
    return join(
        *(_step(each) for each in run["calls"]),
        card("Shadow actions", table(("tool", "what would have been done"), shadow, empty=""))
        if shadow
        else None,
    )


def _step(step: Mapping[str, Any]) -> Html:
    attempts = [
        (
            each["deployment"], each["state"], each["error"] or each["finish_reason"] or "",
            f"{each['input_tokens']} in, {each['output_tokens']} out", f"${each['cost_usd'] or '0'}",
        )
        for each in step["attempts"]
    ]  # fmt: skip
    tools = (
        tag(
            "div",
            tag("strong", each["tool"]),
            tag("pre", each["arguments"]),
            tag("p", "has no result yet", class_="soft")
            if each["result"] is None
            else tag("pre", each["result"]),
        )
        for each in step["tools"]
    )
    return card(
        f"Step {step['step']}",
        table(("deployment", "state", "ended", "tokens", "cost"), attempts, empty=""),
        tag("pre", step["text"]) if step["text"] else None,
        *tools,
    )
