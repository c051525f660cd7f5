"""The loop rules: healthy runs pass, runaway runs are stopped, and every stop shows its numbers."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.loops import (
    Rule,
    StepRecord,
    ToolCallRecord,
    Verdict,
    check,
    check_caps,
    verdicts,
)

RULES = LoopRules()
PLAN = (
    "I looked at the failing test and at the module that it covers. The parser drops the last field whenever "
    "the line ends without a newline, so I am going to read the tokenizer next and then write a fix together "
    "with a test that shows the difference."
)
OTHER_PLAN = (
    "The tokenizer is fine: it yields the trailing token. What loses it is the join in the writer, which "
    "slices one element too many. I will change that slice, run the whole suite again, and report which of "
    "the remaining failures, if any, have another cause."
)


def call(name: str, result: str = "ok", error: bool = False, **arguments: object) -> ToolCallRecord:
    return ToolCallRecord(name, json.dumps(arguments), result, error)


def steps(*calls: ToolCallRecord) -> list[StepRecord]:
    """A run that makes one call in each step."""
    return [StepRecord(i, 1_000 + 300 * i, calls=(each,)) for i, each in enumerate(calls, start=1)]


def growing(*prompt_tokens: int) -> list[StepRecord]:
    return [StepRecord(i, tokens) for i, tokens in enumerate(prompt_tokens, start=1)]


def saying(*texts: str) -> list[StepRecord]:
    return [StepRecord(i, output_text=text) for i, text in enumerate(texts, start=1)]


def stop(history: list[StepRecord], rules: LoopRules = RULES) -> Verdict:
    """The verdict that stops this history, and nothing stopped it one step earlier."""
    verdict = check(history, rules)
    assert verdict is not None
    assert verdict.action == "stop"
    assert passes(history[:-1], rules)
    return verdict


def passes(history: list[StepRecord], rules: LoopRules = RULES) -> bool:
    """Whether the run was allowed to go on after each of its steps."""
    found = [check(history[:end], rules) for end in range(len(history) + 1)]
    return all(verdict is None or verdict.action == "flag" for verdict in found)


class TestRepeatedCalls:
    def test_the_same_call_with_the_same_result_is_stopped_at_the_fourth(self) -> None:
        verdict = stop(steps(*[call("read_file", "text", path="a.py")] * 4))
        assert verdict.rule is Rule.REPEATED_CALL
        assert verdict.steps == (1, 2, 3, 4)
        assert verdict.evidence["tool"] == "read_file"
        assert verdict.evidence["in_a_row"] == verdict.evidence["fires_at"] == 4

    def test_it_is_flagged_at_the_third_and_only_then(self) -> None:
        waiting = steps(*[call("job_status", f"{10 * i} %", job=7) for i in range(6)])
        flags = [check(waiting[:end], RULES) for end in range(1, 7)]
        assert [flag is not None for flag in flags] == [False, False, True, False, False, False]
        assert flags[2] is not None
        assert (flags[2].rule, flags[2].action, flags[2].steps) == (Rule.REPEATED_CALL, "flag", (1, 2, 3))

    def test_a_retry_whose_result_changes_is_no_loop(self) -> None:
        assert passes(steps(*[call("job_status", f"{i} %", job=7) for i in range(25)]))

    def test_another_call_in_between_begins_a_new_count(self) -> None:
        same, other = call("read_file", path="a.py"), call("list_files", root=".")
        assert passes(steps(same, same, same, other, same, same, same))

    def test_key_order_and_spacing_do_not_make_a_call_another_one(self) -> None:
        written = ('{"a": 1, "b": 2}', '{"b":2,"a":1}', ' {"a":1,\n"b":2} ', '{"b": 2, "a": 1}')
        assert stop(steps(*[ToolCallRecord("f", text) for text in written])).rule is Rule.REPEATED_CALL

    def test_arguments_that_are_not_json_are_compared_as_text(self) -> None:
        assert stop(steps(*[ToolCallRecord("f", '{"a": ')] * 4)).rule is Rule.REPEATED_CALL
        assert passes(steps(*[ToolCallRecord("f", f'{{"a": {i}') for i in range(9)]))

    def test_parallel_calls_of_one_step_count_too(self) -> None:
        same = call("search", "nothing", q="x")
        assert stop([StepRecord(1, calls=(same, same)), StepRecord(2, calls=(same, same))]).steps == (1, 2)

    def test_only_the_chosen_arguments_count_where_a_tool_has_them(self) -> None:
        rules = LoopRules(hashed_arguments=("path",))
        reads = [call("read_file", "text", path="a.py", offset=i) for i in range(4)]
        searches = [call("search", "none", q=i) for i in range(9)]
        assert passes(steps(*reads))
        assert stop(steps(*reads), rules).rule is Rule.REPEATED_CALL
        assert passes(steps(*searches), rules)

    def test_evidence_names_a_digest_and_never_the_arguments_or_results(self) -> None:
        verdict = stop(steps(*[call("send", "top secret result", to="ann@example.org")] * 4))
        told = f"{verdict} {json.dumps(verdict.as_json())}"
        assert "ann@" not in told
        assert "secret" not in told


class TestAnAnswerWhoseCallsAreNotMadeYet:
    """The activity judges right after the model has answered: the newest step has no results so far."""

    ANSWER = StepRecord(99, 9_000, "next I will")

    def test_the_calls_of_the_step_before_are_judged(self) -> None:
        loop = steps(*[call("read_file", "text", path="a.py")] * 4)
        verdict = check([*loop, self.ANSWER], RULES)
        assert verdict is not None
        assert (verdict.rule, verdict.action, verdict.steps) == (Rule.REPEATED_CALL, "stop", (1, 2, 3, 4))
        turns = steps(*[call("f"), call("g")] * 3)
        assert str(check([*turns, self.ANSWER], RULES)).startswith("alternating_calls")
        failing = steps(*[call("f", "bad", True)] * 3)
        assert str(check([*failing, self.ANSWER], RULES)).startswith("repeated_error")

    def test_a_flag_is_told_once_here_too(self) -> None:
        waiting = steps(*[call("job_status", f"{10 * i} %", job=7) for i in range(6)])
        flags = [check([*waiting[:end], self.ANSWER], RULES) for end in range(1, 7)]
        assert [flag is not None for flag in flags] == [False, False, True, False, False, False]

    def test_calls_that_were_judged_before_are_not_judged_again(self) -> None:
        loop = steps(*[call("read_file", "text", path="a.py")] * 4)
        assert verdicts([*loop, self.ANSWER, self.ANSWER], RULES) == ()

    def test_the_total_counts_look_at_the_step_before(self) -> None:
        same = call("read_file", "text", path="a.py")
        work = steps(same, call("x"), same, call("y"), same)
        verdict = check([*work, self.ANSWER], LoopRules(same_call_in_total=3))
        assert verdict is not None
        assert verdict.rule is Rule.SAME_CALL_IN_TOTAL


class TestErrors:
    def test_the_same_call_failing_three_times_is_stopped_whatever_the_message(self) -> None:
        verdict = stop(steps(*[call("fetch", f"timeout after {i} s", True, url="x") for i in range(3)]))
        assert (verdict.rule, verdict.steps, verdict.evidence["in_a_row"]) == (
            Rule.REPEATED_ERROR,
            (1, 2, 3),
            3,
        )

    def test_one_tool_failing_with_the_same_words_is_stopped_whatever_the_arguments(self) -> None:
        verdict = stop(steps(*[call("write", "disk full", True, path=str(i)) for i in range(3)]))
        assert verdict.rule is Rule.REPEATED_ERROR

    def test_different_failures_are_how_an_agent_feels_its_way(self) -> None:
        assert passes(steps(*[call("read_file", f"no file {i}", True, path=f"{i}") for i in range(10)]))

    def test_a_success_in_between_begins_a_new_count(self) -> None:
        bad, good = call("fetch", "timeout", True, url="x"), call("fetch", "page", url="x")
        assert passes(steps(bad, bad, good, bad, bad))


class TestAlternation:
    A = call("read_file", "text", path="a.py")
    B = call("list_files", "a.py b.py", root=".")

    def test_two_calls_by_turns_are_stopped_at_the_sixth(self) -> None:
        verdict = stop(steps(*[self.A, self.B] * 3))
        assert (verdict.rule, verdict.steps) == (Rule.ALTERNATING_CALLS, (1, 2, 3, 4, 5, 6))
        assert (verdict.evidence["tool"], verdict.evidence["other_tool"]) == ("read_file", "list_files")

    def test_turns_whose_results_change_are_work(self) -> None:
        turns = [call("edit", "done", line=1), call("run_tests", "1 failed")]
        changing = [(turns[0], call("run_tests", f"{9 - i} failed"))[i % 2] for i in range(12)]
        assert passes(steps(*changing))

    def test_a_third_call_breaks_the_pattern(self) -> None:
        third = call("grep", "x")
        assert passes(steps(self.A, self.B, third, self.A, self.B, third, self.A, self.B, third))

    def test_parallel_calls_alternate_too(self) -> None:
        assert stop([StepRecord(i, calls=(self.A, self.B)) for i in (1, 2, 3)]).steps == (1, 2, 3)


class TestContext:
    def test_a_few_hundred_tokens_a_step_are_healthy_up_to_any_size(self) -> None:
        assert passes(growing(*range(2_000, 180_000, 600)))

    def test_more_than_a_fifth_three_times_in_a_row_is_an_explosion(self) -> None:
        verdict = stop(growing(4_000, 9_000, 11_000, 14_000, 18_000))
        assert (verdict.rule, verdict.steps) == (Rule.CONTEXT_EXPLOSION, (2, 3, 4, 5))
        assert verdict.evidence == {
            "from_tokens": 9_000,
            "to_tokens": 18_000,
            "slowest_growth": 0.2222,
            "limit": 0.2,
            "floor_tokens": 8_000,
        }

    def test_growth_counts_only_above_the_floor(self) -> None:
        assert passes(growing(500, 1_000, 2_000, 4_000, 8_000, 10_000, 12_500))

    def test_exactly_a_fifth_is_not_more_than_a_fifth(self) -> None:
        assert passes(growing(10_000, 12_000, 14_400, 17_280))
        assert stop(growing(10_000, 12_001, 14_402, 17_283)).rule is Rule.CONTEXT_EXPLOSION

    def test_one_big_file_is_not_an_explosion(self) -> None:
        assert passes(growing(9_000, 30_000, 31_000, 60_000, 61_000))

    def test_a_compacted_conversation_begins_a_new_count(self) -> None:
        assert passes(growing(10_000, 13_000, 17_000, 9_000, 12_000, 16_000))

    def test_over_a_hundred_thousand_and_still_growing_is_stopped(self) -> None:
        verdict = stop(growing(90_000, 94_000, 99_000, 106_000))
        assert (verdict.rule, verdict.steps) == (Rule.CONTEXT_EXPLOSION, (3, 4))
        assert verdict.evidence["growth"] == 0.0707

    def test_over_a_hundred_thousand_and_hardly_growing_goes_on(self) -> None:
        assert passes(growing(100_000, 105_000, 110_000, 115_000, 120_000))

    def test_steps_without_a_count_prove_nothing(self) -> None:
        assert passes(growing(0, 150_000, 0, 200_000))


class TestOutputs:
    def test_three_outputs_that_say_the_same_are_stopped(self) -> None:
        verdict = stop(saying(OTHER_PLAN, *[f"Attempt {i}. {PLAN}" for i in range(3)]))
        assert (verdict.rule, verdict.steps) == (Rule.REPEATED_OUTPUT, (2, 3, 4))
        assert 0.9 < float(verdict.evidence["lowest_similarity"]) < 1

    def test_different_outputs_about_the_same_thing_are_not(self) -> None:
        assert passes(saying(PLAN, OTHER_PLAN, PLAN, OTHER_PLAN, PLAN))

    def test_short_outputs_may_repeat(self) -> None:
        assert passes(saying(*["Done, next file."] * 10))

    def test_two_alike_are_not_three(self) -> None:
        assert passes(saying(PLAN, PLAN, OTHER_PLAN, PLAN, PLAN))

    def test_a_report_per_item_is_work_although_its_form_repeats(self) -> None:
        rows = [
            f"Invoice {1000 + i} of {name} is checked: {3 * i + 2} positions, net {17 * i + 120} euros, due "
            f"on the {i + 3}th; {'the bank details changed' if i % 2 else 'nothing unusual found'}, {note}. "
            f"Booked under {4000 + 13 * i} and passed on to {name.split()[0]}, who answers in {i + 1} days."
            for i, (name, note) in enumerate(
                [
                    ("Acme tools", "discount taken"),
                    ("Brook mills", "two reminders"),
                    ("Cole paper", "new customer"),
                ]
            )
        ]
        assert passes(saying(*rows))


class TestConfiguration:
    def test_the_total_counts_are_off_by_default(self) -> None:
        assert passes(steps(*[call("read_file", f"{i}", path=f"{i % 5}") for i in range(60)]))

    def test_one_tool_more_than_five_times_in_a_row(self) -> None:
        verdict = stop(steps(*[call("search", q=i) for i in range(6)]), LoopRules(same_tool_in_a_row=5))
        assert (verdict.rule, verdict.evidence["in_a_row"]) == (Rule.SAME_TOOL_IN_A_ROW, 6)

    def test_one_tool_more_than_five_times_in_a_run(self) -> None:
        work = [call(("search", "read")[i % 2], q=i) for i in range(11)]
        verdict = stop(steps(*work), LoopRules(same_tool_in_total=5))
        assert (verdict.rule, verdict.evidence["in_total"]) == (Rule.SAME_TOOL_IN_TOTAL, 6)
        assert verdict.evidence["tool"] == "search"

    def test_the_same_call_three_times_in_a_run(self) -> None:
        same = call("read_file", "text", path="a.py")
        work = [same, call("x"), call("y"), same, call("z"), same]
        verdict = stop(steps(*work), LoopRules(same_call_in_total=3))
        assert (verdict.rule, verdict.steps) == (Rule.SAME_CALL_IN_TOTAL, (1, 4, 6))

    @pytest.mark.parametrize(
        ("history", "rules"),
        [
            (steps(*[call("f")] * 30), LoopRules(repeats_in_a_row=0)),
            (steps(*[call("f", "bad", True, i=i) for i in range(9)]), LoopRules(errors_in_a_row=0)),
            (steps(*[call("f"), call("g")] * 9), LoopRules(alternation_length=0)),
            (growing(9_000, 20_000, 40_000, 80_000), LoopRules(growth_steps=0)),
            (growing(9_000, 20_000, 40_000, 80_000), LoopRules(growth_ratio=0)),
            (growing(99_000, 150_000), LoopRules(large_context_tokens=0)),
            (saying(*[PLAN] * 5), LoopRules(similar_outputs=0)),
            (saying(*[PLAN] * 5), LoopRules(similarity=0)),
        ],
    )
    def test_zero_switches_a_rule_off(self, history: list[StepRecord], rules: LoopRules) -> None:
        assert passes(history, rules)

    def test_no_flag_when_flags_are_off(self) -> None:
        rules = LoopRules(repeats_in_a_row=0, flag_repeats_at=0)
        assert verdicts(steps(*[call("f")] * 9), rules) == ()

    def test_what_stops_a_run_comes_before_what_only_flags(self) -> None:
        same = (call("f"),) * 4
        assert [v.action for v in verdicts([StepRecord(1, calls=same)], RULES)] == ["stop", "flag"]


def test_caps_are_limits_that_may_be_reached_but_not_passed() -> None:
    limits = RunLimits(max_steps=3, max_tool_calls=5)
    assert check_caps(3, 5, limits) is None
    over_steps, over_calls = check_caps(4, 5, limits), check_caps(3, 6, limits)
    assert over_steps is not None
    assert (over_steps.rule, over_steps.evidence) == (Rule.MAX_STEPS, {"step": 4, "limit": 3})
    assert over_calls is not None
    assert (over_calls.rule, over_calls.evidence) == (Rule.MAX_TOOL_CALLS, {"tool_calls": 6, "limit": 5})


some_calls = st.builds(
    ToolCallRecord,
    name=st.sampled_from("fg"),
    arguments=st.sampled_from(('{"a":1}', "{}", "no")),
    result=st.sampled_from(("x", "y")),
    is_error=st.booleans(),
)
histories = st.lists(
    st.tuples(st.integers(0, 200_000), st.text(max_size=300), st.lists(some_calls, max_size=3)), max_size=12
).map(lambda rows: [StepRecord(i, t, o, tuple(c)) for i, (t, o, c) in enumerate(rows, start=1)])
all_on = LoopRules(same_tool_in_a_row=5, same_tool_in_total=5, same_call_in_total=3)


@given(histories)
def test_a_verdict_is_repeatable_names_known_steps_and_survives_json(history: list[StepRecord]) -> None:
    found = verdicts(history, all_on)
    assert found == verdicts(tuple(history), all_on)
    assert check(history, all_on) == (found[0] if found else None)
    known = {record.step for record in history}
    for verdict in found:
        assert verdict.steps
        assert set(verdict.steps) <= known
        assert json.loads(json.dumps(verdict.as_json())) == verdict.as_json()


@given(st.integers(0, 2**32), st.integers(5, 60))
def test_a_run_that_never_calls_or_says_the_same_twice_and_grows_steadily_is_never_stopped(
    seed: int, length: int
) -> None:
    chance = random.Random(seed)
    words = [f"word{i}" for i in range(400)]
    tokens = chance.randint(1_000, 20_000)
    history = []
    for i in range(1, length + 1):
        tokens += chance.randint(100, 900)
        text = " ".join(chance.choices(words, k=60))
        tool = chance.choice(("read_file", "search", "run_tests"))
        history.append(StepRecord(i, tokens, text, (call(tool, f"result {i}", i % 3 == 0, n=i),)))
    assert passes(history)
