"""JSON between our own parts says what Python's says, whichever of the two encoders wrote it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.plain_json import dumps, loads

SURROGATES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
TEXT = st.text(st.one_of(st.characters(), SURROGATES))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(TEXT, inner)),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_by_either(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value)) == value
    assert loads(dumps(value)) == value


def test_tuples_are_lists() -> None:
    assert dumps({"lines": (("a", 1), ("b", 2))}) == '{"lines":[["a",1],["b",2]]}'


def test_what_is_no_json_is_written_by_its_default() -> None:
    assert dumps([1j], default=str) == '["1j"]'
    with pytest.raises(TypeError):
        dumps([object()])


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul"])
def test_what_is_no_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Illegal"):
        loads(text)
