"""Limits inside a run, as plain values. Defaults are those of REQUIREMENTS 3."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LoopRules:
    """Thresholds of the loop rules; 0 switches a rule off.

    Consecutive repeats are the defaults, because real trajectories show that counting
    repeats anywhere in a run stops good runs (4 of 200). The total-count rules are off.
    """

    repeats_in_a_row: int = 4  # same call, same arguments, same result
    flag_repeats_at: int = 3  # only flagged, not stopped
    errors_in_a_row: int = 3
    alternation_length: int = 6  # A-B-A-B-A-B
    growth_ratio: float = 0.20
    growth_steps: int = 3
    growth_floor_tokens: int = 8_000  # growth counts only above this
    large_context_tokens: int = 100_000
    large_context_ratio: float = 0.05
    similarity: float = 0.90
    similar_outputs: int = 3
    similar_min_characters: int = 200
    same_tool_in_a_row: int = 0  # stricter: 5
    same_tool_in_total: int = 0  # stricter: 5
    same_call_in_total: int = 0  # stricter: 3
    hashed_arguments: tuple[str, ...] = ()  # only these arguments count as "the same"; () = all


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Caps on one run. Seconds are wall-clock.

    lost_after_seconds: a model call or tool whose worker has given no sign of life for this long is
    tried again by another worker.
    """

    max_steps: int = 25
    max_tool_calls: int = 25
    call_timeout_seconds: float = 60.0
    lost_after_seconds: float = 20.0
    max_wait_seconds: float = 86_400.0  # longest wait for money or people, then expired
    deadline_seconds: float = 604_800.0  # the whole run
    loops: LoopRules = field(default_factory=LoopRules)
