"""curb run, runs, show, and steering what runs."""

from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.command import Curb


def test_a_run_that_is_waited_for_leaves_its_answer_on_stdout_and_the_rest_on_stderr(curb: Curb) -> None:
    done = curb("run", "worker", "Look at the files.", "--id", "waited")

    assert done.status == 0
    assert done.out == "Done in 4 steps with 3 tool results.\n"
    assert "run waited started" in done.err
    assert "completed after 4 steps, $0.000" in done.err


def test_a_run_as_a_document_tells_every_step_with_its_attempts_and_tools(curb: Curb) -> None:
    run = curb.json("run", "worker", "Look at the files.", "--user", "ada", "--team", "x", "--tag", "k=v")

    assert (run["status"], run["steps"], run["existed"]) == ("completed", 4, False)
    assert (run["user"], run["team"], run["tags"]) == ("ada", "x", {"k": "v"})
    assert [step["tools"][0]["tool"] for step in run["calls"][:3]] == [
        "list_files",
        "read_file",
        "write_file",
    ]
    booked = curb.until_run(run["id"], lambda shown: paid(shown) == Decimal(shown["cost_usd"]))
    assert paid(booked) == Decimal(run["cost_usd"]) > 0


def paid(run: Any) -> Decimal:
    """What the attempts that are on the books cost; the last of them may still be on their way there."""
    return sum((Decimal(each["cost_usd"]) for step in run["calls"] for each in step["attempts"]), Decimal())


def test_the_task_can_come_from_stdin_and_the_same_id_twice_is_one_run(curb: Curb) -> None:
    first = curb("run", "worker", "-", "--id", "twice", stdin="Look at the files.")
    again = curb.json("run", "worker", "Something else.", "--id", "twice")

    assert first.status == 0
    assert again["existed"] is True
    assert again["task"] == "Look at the files."
    taken = curb("run", "looper", "Look.", "--id", "twice")
    assert (taken.status, "is one of agent worker" in taken.err) == (1, True)


def test_a_run_that_a_rule_stops_fails_the_command_and_says_which_rule(curb: Curb) -> None:
    done = curb("run", "looper", "Look.", "--json")

    assert done.status == 1
    assert done.json["status"] == "stopped"
    assert "repeated_call" in done.json["reason"]


def test_steps_and_budget_of_a_launch_win_over_the_agents(curb: Curb) -> None:
    few = curb("run", "worker", "Look.", "--max-steps", "2", "--json").json
    poor = curb("run", "worker", "Look.", "--budget", "0.0001", "--json").json

    assert (few["status"], few["max_steps"]) == ("stopped", 2)
    assert poor["status"] == "failed"
    assert "never_fits" in poor["reason"]


def test_a_shadow_run_lists_what_it_did_not_do(curb: Curb) -> None:
    run = curb.json("run", "shadow", "Write it down.")

    assert run["mode"] == "shadow"
    assert [action["tool"] for action in run["shadow_actions"]] == ["write_file"]
    assert "not done, because it runs in shadow mode" in curb("show", run["id"]).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nobody", "Hello."], "agent 'nobody' is not configured; known are: asker"),
        (["run", "worker", "Hello.", "--budget", "much"], "--budget: 'much' is not an amount of dollars"),
        (["run", "worker", "Hello.", "--id", "a b"], "--id 'a b': run ids are"),
        (["run", "worker", " "], "TASK is empty"),
        (["run", "worker", "Hello.", "--tag", "x"], "write NAME=VALUE"),
        (["top-up", "any", "0"], "give more than $0"),
        (["top-up", "any", "lots"], "'lots' is not an amount of dollars"),
        (["kill"], "give a RUN, or --agent AGENT"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_status_2(
    curb: Curb, arguments: list[str], said: str
) -> None:
    done = curb(*arguments)

    assert (done.status, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("command", [["show"], ["kill"], ["answer", "x"], ["approve", "x"]])
def test_a_run_that_is_not_there_is_said_so(curb: Curb, command: list[str]) -> None:
    name, *rest = command
    done = curb(name, "no-such-run", *rest, "--json")

    assert done.status == 1
    assert done.json["error"] == {
        "type": "NotFound",
        "message": "there is no run no-such-run; `curb runs` lists them",
    }


def test_a_pause_by_hand_holds_until_resume(curb: Curb) -> None:
    curb.json("run", "asker", "Ask me.", "--id", "held", "--no-wait")
    curb.until_run("held", lambda run: run["waiting_for"])

    assert curb.json("pause", "held", "--reason", "lunch") == {"id": "held", "done": "paused"}
    curb("answer", "held", "Yes.")
    held = curb.until_run("held", lambda run: len(run["waiting_for"]) == 1)
    assert curb.json("resume", "held") == {"id": "held", "done": "resumed"}

    assert (held["status"], held["waiting_for"]) == ("paused", [{"cause": "hand", "detail": "lunch"}])
    assert curb.until_run("held", lambda run: run["ended_at"])["status"] == "completed"


def test_a_kill_ends_a_run_in_mid_call_and_an_ended_run_says_how(curb: Curb) -> None:
    curb.json("run", "talker", "Talk.", "--id", "shot", "--no-wait")
    curb.until_run("shot", lambda run: run["held_usd"] != "0")

    assert curb.json("kill", "shot", "--reason", "enough") == {"id": "shot", "done": "killed"}

    ended = curb.until_run("shot", lambda run: run["ended_at"])
    assert (ended["status"], ended["reason"]) == ("killed", "enough")
    again = curb("kill", "shot")
    assert (again.status, again.err) == (1, "curb: run shot has ended: killed (enough)\n")


def test_a_run_out_of_money_says_what_it_waits_for_and_goes_on_when_topped_up(curb: Curb) -> None:
    curb.json("run", "spender", "Explain.", "--id", "broke", "--no-wait")
    paused = curb.until_run("broke", lambda run: run["waiting_for"])

    topped = curb.json("top-up", "broke", "0.01", "--id", "gift")
    again = curb.json("top-up", "broke", "0.01", "--id", "gift")

    assert paused["status"] == "paused"
    assert "run:broke has a limit of $0.006" in paused["waiting_for"][0]["detail"]
    assert topped == {"id": "broke", "scope": "run:broke", "limit_usd": "0.016", "note": ""}
    assert again["limit_usd"] == "0.016"
    assert curb.until_run("broke", lambda run: run["ended_at"])["status"] == "completed"


def test_a_question_is_shown_with_the_command_that_answers_it(curb: Curb) -> None:
    curb.json("run", "asker", "Ask me.", "--id", "curious", "--no-wait")
    waiting = curb.until_run("curious", lambda run: run["waiting_for"])
    shown = curb("show", "curious").out

    assert curb("answer", "curious", "It is forty-two.").status == 0

    assert [each["kind"] for each in waiting["escalations"] if each["open"]] == ["question"]
    assert "curb answer curious TEXT" in shown
    ended = curb.until_run("curious", lambda run: run["ended_at"])
    assert ended["answer"] == "Thank you. I was told: It is forty-two."
    assert not any(each["open"] for each in ended["escalations"])
    late = curb("answer", "curious", "Or so.")
    assert (late.status, "has ended" in late.err) == (1, True)


def _open_call(run: Any) -> str:
    [call] = [each["call"] for each in run["escalations"] if each["open"]]
    return str(call)


def test_a_tool_that_needs_approval_waits_for_it_and_then_runs(curb: Curb) -> None:
    curb.json("run", "editor", "Publish it.", "--id", "careful", "--no-wait")
    call = _open_call(curb.until_run("careful", lambda run: run["waiting_for"]))
    wrong = curb("approve", "careful", "call_of_nobody")

    assert curb("approve", "careful", call).status == 0

    assert (wrong.status, "does not wait for approval" in wrong.err) == (1, True)
    ended = curb.until_run("careful", lambda run: run["ended_at"])
    assert ended["calls"][0]["tools"][0]["result"].startswith("published")


def test_a_denied_tool_does_not_run_and_the_model_is_told_why(curb: Curb) -> None:
    curb.json("run", "editor", "Publish it.", "--id", "denied", "--no-wait")
    call = _open_call(curb.until_run("denied", lambda run: run["waiting_for"]))

    assert curb("deny", "denied", call, "--reason", "not on Fridays").status == 0

    ended = curb.until_run("denied", lambda run: run["ended_at"])
    assert "not on Fridays" in ended["calls"][0]["tools"][0]["result"]


def test_runs_are_listed_newest_first_and_can_be_chosen(curb: Curb) -> None:
    curb("run", "worker", "Look.", "--id", "listed-1", "--user", "bob")
    curb("run", "worker", "Look.", "--id", "listed-2", "--user", "bob")

    listed = curb.json("runs", "--user", "bob")["runs"]

    assert [run["id"] for run in listed] == ["listed-2", "listed-1"]
    assert {run["status"] for run in listed} == {"completed"}
    assert "listed-2" in curb("runs", "--agent", "worker").out


def test_a_run_is_rated_by_number_or_by_word(curb: Curb) -> None:
    run = curb.json("run", "worker", "Look at the files.")["id"]

    assert f"run {run}: quality 0.9" in curb("rate", run, "0.9").err
    said = curb.json("rate", run, "wrong", "--name", "verdict", "--comment", "the sum is off")
    assert (said["id"], said["name"], said["value"]) == (run, "verdict", "wrong")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nothing-like-it", "0.9"], 1, "there is no run nothing-like-it"),
        (["some", "x" * 501], 2, "a number, or 1 to 500 characters"),
    ],
)
def test_what_cannot_be_rated_says_why(curb: Curb, arguments: list[str], status: int, said: str) -> None:
    done = curb("rate", *arguments)

    assert done.status == status
    assert said in done.err
