"""What commands print, and what their errors become."""

import pytest

from gateway.errors import ConfigurationError, CurbError, NotFound, StateUnavailable, StoreUnavailable
from gateway.policy.money import MoneyError
from worker.cli.errors import Failed, Misused, ServersMissing, Unreachable, described
from worker.cli.output import bar, dollars, printable, shortened, usd_text
from worker.client import NobodyAnswers, RunClosed, RunRefused, TemporalUnavailable
from worker.stack.errors import StackError


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ConfigurationError, 2),
        (MoneyError, 2),
        (Misused, 2),
        (StateUnavailable, 3),
        (StoreUnavailable, 3),
        (ServersMissing, 3),
        (Unreachable, 3),
        (StackError, 3),
        (TemporalUnavailable, 3),
        (NobodyAnswers, 3),
        (NotFound, 1),
        (RunClosed, 1),
        (RunRefused, 1),
        (Failed, 1),
        (CurbError, 1),
        (RuntimeError, 1),
    ],
)
def test_every_error_has_its_exit_status_and_keeps_its_words(kind: type[Exception], status: int) -> None:
    found, message = described(kind("the field and the remedy"))

    assert found == status
    assert "the field and the remedy" in message


def test_an_error_that_nobody_expected_says_where_to_look() -> None:
    _, message = described(ZeroDivisionError("division by zero"))

    assert message == "unexpected: ZeroDivisionError: division by zero (CURB_DEBUG=1 shows where)"


def test_money_is_exact_for_people_and_for_programs() -> None:
    assert (dollars(1_234_000_000_001), usd_text(1_234_000_000_001)) == ("$1,234.000000001", "1234.000000001")
    assert (dollars(None), usd_text(None)) == ("-", None)


def test_a_bar_shows_the_used_part_and_anything_spent_is_seen() -> None:
    assert bar(5, 10, 4).plain == "██░░"
    assert bar(1, 1_000_000, 4).plain == "█░░░"
    assert bar(20, 10, 4).plain == "████"
    assert bar(5, None, 4).plain == ""


def test_a_models_words_cannot_steer_the_terminal() -> None:
    assert printable("one\x1b[2Jtwo\n\tthree\x07") == "one[2Jtwo\n\tthree"
    assert shortened("a\nb\x1b  c", 4) == "a b…"
