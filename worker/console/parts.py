"""What pages are made of: cards, forms, bars."""

from collections.abc import Mapping

from gateway.policy.money import format_usd
from gateway.state.authority import BudgetState
from worker.console.markup import Html, Node, amount, join, tag
from worker.console.session import Visitor

Sections = dict[str, Html]


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


def field(name: str, label: str, *, style: str = "", required: bool = True, **more: str) -> Html:
    """An input that says what it is for. label: '' where `labelled` says it."""
    own = {"aria_label": label, "placeholder": label} if label else {}
    return tag(
        "input", name=name, class_=style or None, required=required, maxlength=2_000, autocomplete="off",
        **own, **more,
    )  # fmt: skip


def labelled(label: str, field: Html) -> Html:
    """An input under its label, in sight."""
    return tag("label", tag("span", label), field)


def card(title: str, *content: Node) -> Html:
    return tag("section", tag("h2", title), *content, class_="card")


def bar(state: BudgetState, *, named: bool = True) -> Html | None:
    """How much of a limit is used, what is held included; None without a limit. named: says of what."""
    if not state.limit_nano_usd:
        return None
    used = state.spent_nano_usd + state.held_nano_usd + state.in_doubt_nano_usd
    limit = state.limit_nano_usd + state.topped_nano_usd
    share = used / limit
    tone = "bad" if share >= 0.95 else "warn" if share >= 0.8 else None
    said = f"{state.scope} {state.period.value}: {format_usd(used)} of {format_usd(limit)}"
    shown = join(
        f"{state.scope} per {state.period.value}: ", amount(used), " of ", amount(limit), " used or held"
    )
    return tag(
        "div",
        tag("span", shown if named else f"{share:.0%}", class_="soft"),
        tag("progress", value=f"{min(share, 1):.4f}", max=1, class_=tone, aria_label=said),
    )


def waiting(causes: Mapping[str, str]) -> str:
    """What a run waits for; the cause is said once."""
    return "; ".join(what if what.startswith(cause) else f"{cause}: {what}" for cause, what in causes.items())


def status(status: str) -> Html:
    tones = {"starting": "soft", "running": "good", "completed": "good", "paused": "warn"}
    tone = tones.get(status, "bad")
    return tag("span", status, class_=tone)


def steering(visitor: Visitor, run: str, *, paused: bool) -> Html:
    return join(
        form(visitor, "resume", "Resume", run=run) if paused else form(visitor, "pause", "Pause", run=run),
        form(visitor, "top_up", "Top up", field("usd", "USD", style="money", inputmode="decimal"), run=run),
        form(visitor, "kill", "Kill", run=run, style="danger", ask=f"End the run {run}?"),
    )
