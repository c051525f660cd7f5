"""Loop rules: tell a run that goes round in circles or blows up from one that works (REQUIREMENTS 3).

`check(history, rules)` looks at the steps so far, after each one. A rule that fires says which
numbers made it decide and in which steps. Two calls are the same when their names and
arguments are, whatever the order of keys and the spacing; evidence names the tool and a digest
of the arguments, never the arguments themselves (I12).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import islice, pairwise, takewhile
from typing import Literal

from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.similarity import cosine, profile

_STEPS_NAMED = 25

Number = int | float | str


class Rule(StrEnum):
    """What can be found; the word is the reason that the run gives."""

    REPEATED_CALL = "repeated_call"
    REPEATED_ERROR = "repeated_error"
    ALTERNATING_CALLS = "alternating_calls"
    CONTEXT_EXPLOSION = "context_explosion"
    REPEATED_OUTPUT = "repeated_output"
    SAME_TOOL_IN_A_ROW = "same_tool_in_a_row"
    SAME_TOOL_IN_TOTAL = "same_tool_in_total"
    SAME_CALL_IN_TOTAL = "same_call_in_total"
    MAX_STEPS = "max_steps"
    MAX_TOOL_CALLS = "max_tool_calls"


@dataclass(frozen=True, slots=True)
class ToolCallRecord:
    """One tool call as it happened. arguments: the JSON text as the model wrote it."""

    name: str
    arguments: str
    result: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step. prompt_tokens: all tokens that went in (0: not known)."""

    step: int
    prompt_tokens: int = 0
    output_text: str = ""
    calls: tuple[ToolCallRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule that fired. action: `stop` ends the run, `flag` only raises an alert.

    evidence: the rule's numbers by name, small and free of content. steps: the numbers of the
    steps that triggered it, in order.
    """

    rule: Rule
    action: Literal["stop", "flag"]
    steps: tuple[int, ...]
    evidence: Mapping[str, Number]

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.evidence.items())
        return f"{self.rule.value} ({numbers}; steps {', '.join(map(str, self.steps))})"

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values for results, events and the console."""
        return {
            "rule": self.rule.value,
            "action": self.action,
            "steps": list(self.steps),
            "evidence": dict(self.evidence),
        }


def check(history: Sequence[StepRecord], rules: LoopRules) -> Verdict | None:
    """Judge the history by its newest step: the first rule that stops the run, else a flag, else None.

    history: oldest first; the newest may be an answer whose calls have not been made yet (leave
    them out: what has no result is not judged). Deterministic: the same history has the same verdict.
    """
    return next(_judge(history, rules), None)


def verdicts(history: Sequence[StepRecord], rules: LoopRules) -> tuple[Verdict, ...]:
    """Return every rule that fires, those that stop the run first."""
    return tuple(_judge(history, rules))


def check_caps(step: int, tool_calls: int, limits: RunLimits) -> Verdict | None:
    """Judge whether step number `step` may begin, or so many tool calls be made in all; None: yes."""
    if step > limits.max_steps:
        return Verdict(Rule.MAX_STEPS, "stop", (step,), {"step": step, "limit": limits.max_steps})
    if tool_calls > limits.max_tool_calls:
        evidence = {"tool_calls": tool_calls, "limit": limits.max_tool_calls}
        return Verdict(Rule.MAX_TOOL_CALLS, "stop", (step,), evidence)
    return None


def _judge(history: Sequence[StepRecord], rules: LoopRules) -> Iterator[Verdict]:
    if not history:
        return
    calls = _Calls(history, rules.hashed_arguments)
    for by_calls in (
        _repeated_call,
        _repeated_error,
        _alternation,
        _same_tool_in_a_row,
        _same_tool_in_total,
        _same_call_in_total,
    ):
        if (verdict := by_calls(calls, rules)) is not None:
            yield verdict
    for by_steps in (_growth, _large_context, _repeated_output):
        if (verdict := by_steps(history, rules)) is not None:
            yield verdict
    if (verdict := _flag_repeats(calls, rules)) is not None:
        yield verdict


@dataclass(frozen=True, slots=True)
class _Call:
    step: int
    name: str
    same: str  # equal for the same call
    digest: str
    result: str
    is_error: bool


class _Calls:
    """The tool calls of a run, newest first; reads only as far back as a rule wants to know.

    fresh: how many calls there are to judge. The newest step may be an answer whose calls have not
    been made yet, so they are those of the step before; older ones were judged already.
    """

    def __init__(self, history: Sequence[StepRecord], hashed_arguments: tuple[str, ...]) -> None:
        self._history = history
        self._hashed_arguments = hashed_arguments
        self._seen: list[_Call] = []
        self._source = self._read()
        self.fresh = next((len(record.calls) for record in reversed(history[-2:]) if record.calls), 0)

    def __iter__(self) -> Iterator[_Call]:
        index = 0
        while index < len(self._seen) or self._read_one():
            yield self._seen[index]
            index += 1

    def newest(self, count: int) -> tuple[_Call, ...]:
        """Return so many of the newest calls, newest first; fewer when there are no more."""
        return tuple(islice(self, count))

    def streak(self, alike: Callable[[_Call, _Call], bool]) -> tuple[_Call, ...]:
        """Return the newest calls that are all like the newest one, when that is a fresh one."""
        last = next(iter(self), None) if self.fresh else None
        return () if last is None else tuple(takewhile(lambda call: alike(last, call), self))

    def _read_one(self) -> bool:
        call = next(self._source, None)
        if call is not None:
            self._seen.append(call)
        return call is not None

    def _read(self) -> Iterator[_Call]:
        for record in reversed(self._history):
            for call in reversed(record.calls):
                arguments = _canonical(call.arguments, self._hashed_arguments)
                same = f"{call.name}\n{arguments}"
                digest = hashlib.sha256(same.encode(errors="surrogatepass")).hexdigest()[:16]
                yield _Call(record.step, call.name, same, digest, call.result, call.is_error)


def _canonical(arguments: str, only: tuple[str, ...]) -> str:
    """Write arguments so that the same ones read the same; text that is not JSON stays as it is.

    only: the names that count; where a tool has none of them, all of its arguments do.
    """
    try:
        parsed = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return arguments.strip()
    if isinstance(parsed, dict):
        parsed = {name: value for name, value in parsed.items() if name in only} or parsed
    return json.dumps(parsed, sort_keys=True, separators=(",", ":"))


def _repeated_call(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """The same call with the same result so many times in a row."""
    streak = calls.streak(lambda last, call: _outcome(call) == _outcome(last))
    return _too_many(Rule.REPEATED_CALL, streak, rules.repeats_in_a_row)


def _repeated_error(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """The same call failing so many times in a row, or one tool failing with the same words.

    Different failures of different calls are how an agent feels its way.
    """
    same_call = calls.streak(lambda last, call: call.is_error and call.same == last.same)
    same_words = calls.streak(
        lambda last, call: call.is_error and call.name == last.name and call.result == last.result != ""
    )
    streak = max(same_call, same_words, key=len)
    return _too_many(Rule.REPEATED_ERROR, streak, rules.errors_in_a_row)


def _alternation(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """Two different calls by turns, each with the same result every time."""
    length = rules.alternation_length
    newest = calls.newest(length) if calls.fresh else ()
    if length < 2 or len(newest) < length or newest[0].same == newest[1].same:
        return None
    if any(_outcome(newest[i]) != _outcome(newest[i + 2]) for i in range(length - 2)):
        return None
    evidence: dict[str, Number] = {
        "tool": newest[1].name,
        "arguments": newest[1].digest,
        "other_tool": newest[0].name,
        "other_arguments": newest[0].digest,
        "in_a_row": length,
        "fires_at": length,
    }
    return Verdict(Rule.ALTERNATING_CALLS, "stop", _steps(newest), evidence)


def _same_tool_in_a_row(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """One tool more than so many times in a row, whatever its arguments (off by default)."""
    if not rules.same_tool_in_a_row:
        return None
    streak = calls.streak(lambda last, call: call.name == last.name)
    return _too_many(Rule.SAME_TOOL_IN_A_ROW, streak, rules.same_tool_in_a_row + 1)


def _same_tool_in_total(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """One of the newest tools used more than so many times in the run (off by default)."""
    if not rules.same_tool_in_total:
        return None
    return _most_in_total(
        Rule.SAME_TOOL_IN_TOTAL, calls, rules.same_tool_in_total + 1, lambda call: call.name
    )


def _same_call_in_total(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """One of the newest calls so many times in the run (off by default)."""
    if not rules.same_call_in_total:
        return None
    return _most_in_total(Rule.SAME_CALL_IN_TOTAL, calls, rules.same_call_in_total, lambda call: call.same)


def _flag_repeats(calls: _Calls, rules: LoopRules) -> Verdict | None:
    """The same call so many times in a row, whatever came out; told once, in the step that reached it."""
    streak = calls.streak(lambda last, call: call.same == last.same)
    before = sum(call.step != streak[0].step for call in streak)
    if before >= rules.flag_repeats_at:
        return None
    return _too_many(Rule.REPEATED_CALL, streak, rules.flag_repeats_at, action="flag")


def _growth(history: Sequence[StepRecord], rules: LoopRules) -> Verdict | None:
    """Input growing by more than a share in each of the last steps, each time from above the floor."""
    tail = history[-rules.growth_steps - 1 :]
    if not rules.growth_steps or not rules.growth_ratio or len(tail) <= rules.growth_steps:
        return None
    tokens = [record.prompt_tokens for record in tail]
    pairs = list(pairwise(tokens))
    if any(old <= rules.growth_floor_tokens or not _grew(old, new, rules.growth_ratio) for old, new in pairs):
        return None
    evidence: dict[str, Number] = {
        "from_tokens": tokens[0],
        "to_tokens": tokens[-1],
        "slowest_growth": min(_ratio(old, new) for old, new in pairs),
        "limit": rules.growth_ratio,
        "floor_tokens": rules.growth_floor_tokens,
    }
    return Verdict(Rule.CONTEXT_EXPLOSION, "stop", tuple(record.step for record in tail), evidence)


def _large_context(history: Sequence[StepRecord], rules: LoopRules) -> Verdict | None:
    """Input over a size and, in the last step, still growing by more than a share."""
    if not rules.large_context_tokens or len(history) < 2:
        return None
    old, new = history[-2].prompt_tokens, history[-1].prompt_tokens
    if not old or new <= rules.large_context_tokens or not _grew(old, new, rules.large_context_ratio):
        return None
    evidence: dict[str, Number] = {
        "from_tokens": old,
        "to_tokens": new,
        "growth": _ratio(old, new),
        "limit": rules.large_context_ratio,
        "limit_tokens": rules.large_context_tokens,
    }
    steps = (history[-2].step, history[-1].step)
    return Verdict(Rule.CONTEXT_EXPLOSION, "stop", steps, evidence)


def _repeated_output(history: Sequence[StepRecord], rules: LoopRules) -> Verdict | None:
    """The last outputs long enough and every two of them nearly the same."""
    tail = history[-rules.similar_outputs :]
    if rules.similar_outputs < 2 or not rules.similarity or len(tail) < rules.similar_outputs:
        return None
    shortest = min(len(record.output_text.strip()) for record in tail)
    if shortest <= rules.similar_min_characters:
        return None
    lowest = _lowest_similarity([record.output_text for record in reversed(tail)], rules.similarity)
    if lowest <= rules.similarity:
        return None
    evidence: dict[str, Number] = {
        "outputs": len(tail),
        "lowest_similarity": round(lowest, 4),
        "limit": rules.similarity,
        "shortest_characters": shortest,
    }
    return Verdict(Rule.REPEATED_OUTPUT, "stop", tuple(record.step for record in tail), evidence)


def _lowest_similarity(texts: Sequence[str], enough: float) -> float:
    """Return the lowest cosine of any two texts; stops at the first that is not above `enough`."""
    profiles = [profile(texts[0])]
    lowest = 1.0
    for text in texts[1:]:
        profiles.append(profile(text))
        lowest = min(lowest, *(cosine(each, profiles[-1]) for each in profiles[:-1]))
        if lowest <= enough:
            break
    return lowest


def _too_many(
    rule: Rule, streak: Sequence[_Call], limit: int, *, action: Literal["stop", "flag"] = "stop"
) -> Verdict | None:
    """The verdict on so many calls, newest first, that are alike; limit 0: the rule is off."""
    if not limit or len(streak) < limit:
        return None
    evidence: dict[str, Number] = {"tool": streak[0].name}
    if rule not in (Rule.SAME_TOOL_IN_A_ROW, Rule.SAME_TOOL_IN_TOTAL):
        evidence["arguments"] = streak[0].digest
    in_total = rule in (Rule.SAME_TOOL_IN_TOTAL, Rule.SAME_CALL_IN_TOTAL)
    evidence["in_total" if in_total else "in_a_row"] = len(streak)
    evidence["fires_at"] = limit
    return Verdict(rule, action, _steps(streak), evidence)


def _most_in_total(rule: Rule, calls: _Calls, limit: int, key: Callable[[_Call], str]) -> Verdict | None:
    newest = dict.fromkeys(key(call) for call in calls.newest(calls.fresh))
    groups = ([call for call in calls if key(call) == wanted] for wanted in newest)
    return _too_many(rule, max(groups, key=len, default=()), limit)


def _outcome(call: _Call) -> tuple[str, str, bool]:
    return call.same, call.result, call.is_error


def _steps(calls: Sequence[_Call]) -> tuple[int, ...]:
    """Number the steps of some calls, oldest first: the newest ones, so that a verdict stays small."""
    return tuple(dict.fromkeys(call.step for call in reversed(calls)))[-_STEPS_NAMED:]


def _grew(old: int, new: int, ratio: float) -> bool:
    return new - old > Fraction(str(ratio)) * old


def _ratio(old: int, new: int) -> float:
    return round((new - old) / old, 4)
