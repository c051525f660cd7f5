"""Budgets as they stand, and the rules that they are made of, changed under optimistic locks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from gateway.limits import announce_limits
from gateway.policy.money import usd
from gateway.policy.scopes import Period, Scope
from gateway.state.authority import BudgetState
from gateway.store import Rule
from worker.api.access import Person, allowed
from worker.api.documents import Budget, BudgetRule, NewRule, RuleTerms
from worker.api.office import Office
from worker.api.problems import Wrong
from worker.desk.budgets import budget_document, current_budgets, rule_document

RuleName = Annotated[str, Path(max_length=200, description="The rule's name, for example agent:coder/day.")]
IfMatch = Annotated[
    str | None,
    Header(description="The version that is to be changed, as the ETag says it."),
]


def budgets(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["budgets"])
    viewer, admin = Depends(allowed(office, "viewer")), Depends(allowed(office, "admin"))

    @router.get("/api/v1/budgets", dependencies=[viewer])
    async def now(
        scope: Annotated[str, Query(max_length=200, description="Only scopes that begin so.")] = "",
        runs: Annotated[bool, Query(description="The runs' own budgets, too.")] = False,
    ) -> dict[str, list[Budget]]:
        """Limit, spent, held and left per scope, now."""
        found = [
            state
            for state in await current_budgets(office.store, office.authority)
            if state.scope.startswith(scope) and (runs or not state.scope.startswith("run:"))
        ]
        return {"budgets": [Budget.model_validate(budget_document(state)) for state in found]}

    @router.get("/api/v1/budget/rules", dependencies=[viewer])
    async def rules() -> dict[str, list[BudgetRule]]:
        """Every rule, by name."""
        states = await office.authority.budgets()
        return {"rules": [_document(rule, states) for rule in await office.store.budgets.rules()]}

    @router.post("/api/v1/budget/rules", status_code=201)
    async def create(asked: NewRule, response: Response, person: Annotated[Person, admin]) -> BudgetRule:
        """Make a rule; in force in all processes when this is answered. 409 where there is one already."""
        scope = asked.scope if asked.scope.endswith(":*") else str(_scope(asked.scope))
        name = asked.name or f"{scope}/{asked.period}"
        rule = await office.store.budgets.create_rule(_rule(name, scope, asked.period, asked), by=person.name)
        return await _in_force(office, rule, response, person, "budget_rule_create")

    @router.get("/api/v1/budget/rules/{name:path}", dependencies=[viewer])
    async def one(name: RuleName, response: Response) -> BudgetRule:
        """One rule; its ETag is what a change has to bring."""
        rule = await office.store.budgets.rule(name)
        response.headers["etag"] = _etag(rule)
        return _document(rule, await office.authority.budgets())

    @router.put("/api/v1/budget/rules/{name:path}")
    async def change(
        name: RuleName,
        asked: RuleTerms,
        response: Response,
        person: Annotated[Person, admin],
        if_match: IfMatch = None,
    ) -> BudgetRule:
        """Replace what a rule says; scope and period stay. Send its ETag as If-Match: 409 if it changed."""
        before = await office.store.budgets.rule(name)
        wanted = _rule(name, before.scope, before.period.value, asked, version=_version(if_match))
        rule = await office.store.budgets.change_rule(wanted, by=person.name)
        return await _in_force(office, rule, response, person, "budget_rule_change")

    @router.delete("/api/v1/budget/rules/{name:path}", status_code=204)
    async def delete(name: RuleName, person: Annotated[Person, admin], if_match: IfMatch = None) -> None:
        """Delete a rule. Send its ETag as If-Match: 409 when it has changed."""
        await office.store.budgets.rule(name)
        await office.store.budgets.remove_rule(name, _version(if_match), by=person.name)
        await announce_limits(office.store, office.authority)
        await office.store.events.audit(person.name, "budget_rule_delete", name)

    return router


async def _in_force(
    office: Office, rule: Rule, response: Response, person: Person, action: str
) -> BudgetRule:
    await announce_limits(office.store, office.authority)
    detail = {"scope": rule.scope, "period": rule.period.value, "limit_nano_usd": rule.limit_nano_usd}
    await office.store.events.audit(person.name, action, rule.name, detail)
    response.headers["etag"] = _etag(rule)
    return _document(rule, await office.authority.budgets())


def _scope(text: str) -> Scope:
    try:
        return Scope.parse(text)
    except ValueError as error:
        raise Wrong(str(error), "scope") from error


def _rule(name: str, scope: str, period: str, asked: RuleTerms, *, version: int = 0) -> Rule:
    return Rule(
        name=name,
        scope=scope,
        period=Period(period),
        limit_nano_usd=usd(asked.limit_usd),
        alert_threshold=asked.alert_threshold,
        auto_switch_enabled=asked.auto_switch_enabled,
        fallback_model=asked.fallback_model,
        version=version,
    )


def _etag(rule: Rule) -> str:
    return f'"{rule.version}"'


def _version(if_match: str | None) -> int:
    """Raises Wrong (428) without one."""
    if if_match is None:
        raise Wrong(
            "send the ETag of the rule that you have seen, so that nobody's change is lost",
            "If-Match",
            status=428,
            code="precondition_required",
        )
    digits = if_match.strip().removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Wrong('is an ETag as GET gives it, for example "12"', "If-Match")
    return int(digits)


def _document(rule: Rule, states: list[BudgetState]) -> BudgetRule:
    spent = [s for s in states if (s.scope, s.period) == (rule.scope, rule.period)]
    newest = max(spent, key=lambda state: state.ends_ms, default=None)
    is_pattern = rule.scope.endswith(":*")
    amount = None if is_pattern else newest.spent_nano_usd if newest is not None else 0
    return BudgetRule.model_validate(rule_document(rule, amount))
