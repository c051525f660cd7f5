"""curb switch, budgets, costs, ledger, policy."""

from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.command import Curb


def test_a_switch_can_be_set_listed_and_lifted(curb: Curb) -> None:
    name = "kill:model:openai/none"
    done = curb.json("switch", "set", "model", "openai/none", "--reason", "slow", "--expires", "10m")
    by_hand = curb.json("switch", "list")["switches"]
    lifted = curb.json("switch", "clear", "model", "openai/none")
    again = curb("switch", "clear", "model", "openai/none")

    assert done["name"] == name
    assert done["value"].startswith("manual:")
    assert done["value"].endswith(":slow")
    assert done["expires_at"] is not None
    assert [each["value"] for each in by_hand if each["name"] == name] == [done["value"]]
    assert lifted == {"name": name, "lifted": True}
    assert (again.status, again.err) == (1, f"{name} was not set\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "agent"], "agent needs a name"),
        (["set", "global", "x"], "global takes no name"),
        (["set", "planet", "x"], "planet"),
        (["set", "agent", "x", "--expires", "soon"], "--expires 'soon': write a duration"),
    ],
)
def test_a_switch_that_cannot_be_is_refused(curb: Curb, arguments: list[str], said: str) -> None:
    done = curb("switch", *arguments)

    assert done.status == 2
    assert said in done.err


def test_batches_are_listed_and_none_is_under_way(curb: Curb) -> None:
    said = curb("batches")

    assert curb.json("batches", "--ended", "--limit", "5") == {"batches": []}
    assert (said.status, said.out) == (
        0,
        "no batch is under way (`curb batches --ended` shows those that are over)\n",
    )


def test_killing_an_agent_sets_its_switch_and_ends_its_runs(curb: Curb) -> None:
    curb.json("run", "chatter", "Talk.", "--id", "chat", "--no-wait")
    curb.until_run("chat", lambda run: run["held_usd"] != "0")

    done = curb.json("kill", "--agent", "chatter", "--reason", "noise")

    assert done["runs"] == ["chat"]
    assert done["switch"] == "kill:agent:chatter"
    assert curb.until_run("chat", lambda run: run["ended_at"])["status"] == "killed"
    assert curb.json("switch", "clear", "agent", "chatter")["lifted"] is True


def _scope(budgets: Any, scope: str, period: str) -> Any:
    return next(each for each in budgets if (each["scope"], each["period"]) == (scope, period))


def test_budgets_add_up_and_costs_are_the_same_money_by_another_cut(curb: Curb) -> None:
    curb("run", "worker", "Look.")
    budgets = curb.until(
        lambda: curb.json("budgets")["budgets"],
        lambda found: _scope(found, "global", "day")["held_usd"] == "0",
    )
    day = _scope(budgets, "global", "day")
    used = sum(Decimal(day[name]) for name in ("spent_usd", "held_usd", "in_doubt_usd", "left_usd"))

    assert used == Decimal(day["limit_usd"]) == 200
    assert day["resets_at"] is not None
    by_agent = curb.until(
        lambda: curb.json("costs", "--by", "agent", "--since", "1h"),
        lambda costs: costs["total_usd"] == day["spent_usd"],
    )
    assert sum(Decimal(row["cost_usd"]) for row in by_agent["costs"]) == Decimal(by_agent["total_usd"])
    assert "global" in curb("budgets").out
    assert "worker" in curb("costs").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["costs", "--by", "weather"], "--by weather: take one of agent"),
        (["costs", "--since", "long ago"], "--since 'long ago': write a duration"),
    ],
)
def test_costs_that_cannot_be_asked_for_are_refused(curb: Curb, arguments: list[str], said: str) -> None:
    done = curb(*arguments)

    assert done.status == 2
    assert said in done.err


def test_a_call_cut_in_flight_is_in_doubt_until_the_invoice_resolves_it(curb: Curb) -> None:
    curb.json("run", "talker", "Talk.", "--id", "doubted", "--no-wait")
    curb.until_run("doubted", lambda run: run["held_usd"] != "0")
    curb("kill", "doubted")
    curb.until_run("doubted", lambda run: run["ended_at"] and run["in_doubt_usd"] != "0")

    before = curb("ledger", "verify", "--json")
    resolved = curb("ledger", "resolve", "--min-age", "0", "--json")
    after = curb("ledger", "verify", "--json")

    assert before.status == 1
    assert "in_doubt" in {each["what"] for each in before.json["differences"]}
    assert (resolved.status, resolved.json["resolved"]["settled"] > 0) == (0, True)
    assert (after.status, after.json["ok"]) == (0, True)
    assert after.json["ledger_usd"] == after.json["invoice_usd"]
    assert (after.json["in_doubt_usd"], after.json["overspend_usd"]) == ("0", "0")
    assert "counters = ledger = invoice" in curb("ledger", "verify").out


def test_a_policy_is_checked_applied_and_in_force_at_once(curb: Curb) -> None:
    file = curb.directory / "stricter.yaml"
    file.write_text((curb.directory / "curb.yaml").read_text() + '\nbudgets: {"agent:worker": 7.5}\n')

    checked = curb.json("policy", "check", "stricter.yaml")
    applied = curb.json("policy", "apply", "stricter.yaml")
    shown = curb.json("policy", "show")
    limit = {"scope": "agent:worker", "period": "day", "limit_usd": "7.5"}

    assert checked["version"] is None
    assert limit in checked["limits"]
    assert shown["version"] == applied["version"]
    assert limit in shown["limits"]
    found = curb.json("budgets", "--scope", "agent:worker")["budgets"]
    assert _scope(found, "agent:worker", "day")["limit_usd"] == "7.5"
    assert "agent:worker" in curb("policy", "show").out


def test_a_wrong_policy_is_named_by_file_line_and_field(curb: Curb) -> None:
    (curb.directory / "wrong.yaml").write_text("agents:\n  coder:\n    run_budgit: 5\n")

    done = curb("policy", "check", "wrong.yaml", "--json")

    assert done.status == 2
    assert done.json["error"]["message"].startswith(
        "wrong.yaml:3: agents.coder.run_budgit: no such field; did you mean run_budget?"
    )
    assert curb("policy", "apply", "not-there.yaml").status == 2
