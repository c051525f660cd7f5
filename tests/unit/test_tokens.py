"""Tokens of virtual keys: what they look like, and that what is kept of them is not enough to make one."""

import re

import pytest

from gateway.errors import ConfigurationError
from gateway.tokens import TokenSecrets, new_key_id, new_token, prefix_of

ONE, OTHER = "a" * 32, "b" * 40


def test_a_token_begins_with_what_it_is_found_by_and_has_256_random_bits() -> None:
    tokens = [new_token() for _ in range(200)]

    assert all(re.fullmatch(r"curb_[2-9a-z]{8}_[0-9A-Za-z]{43}", token.text) for token in tokens)
    assert all(token.text.startswith(f"{token.prefix}_") for token in tokens)
    assert len({token.text.rpartition("_")[2] for token in tokens}) == 200
    assert 62**43 > 2**256


def test_the_id_of_a_key_can_stand_in_scopes_and_call_keys() -> None:
    assert all(re.fullmatch(r"k[2-9a-z]{10}", new_key_id()) for _ in range(200))


def test_a_token_does_not_show_when_printed() -> None:
    token = new_token()

    assert token.text.rpartition("_")[2] not in f"{token} {token!r} {[token]}"


@pytest.mark.parametrize(
    "text", ["", "curb_", "sk-12345", "curb_k7f3q2ab", "curb_k7f3q2ab_" + "é" * 43, "x" * 10_000, "Bearer x"]
)
def test_what_is_no_token_has_no_prefix(text: str) -> None:
    assert prefix_of(text) == ""


def test_a_token_with_something_before_or_after_it_is_none() -> None:
    token = new_token()

    assert prefix_of(token.text) == token.prefix
    assert [prefix_of(t) for t in (f" {token.text}", f"{token.text}\n", token.text + "a")] == ["", "", ""]


def test_only_the_token_under_its_own_secret_matches() -> None:
    ours, theirs, token = TokenSecrets((ONE,)), TokenSecrets((OTHER,)), new_token().text
    digest = ours.digest(token)

    assert ours.matches(token, digest, ours.current)
    assert not ours.matches(new_token().text, digest, ours.current)
    assert not theirs.matches(token, digest, ours.current)
    assert not ours.matches(token, digest, theirs.current)
    assert not ours.matches(token, ours.digest(token), "a secret that is gone")


def test_a_secret_is_changed_by_putting_the_new_one_first() -> None:
    token, before = new_token().text, TokenSecrets((ONE,))
    after = TokenSecrets.parse(f"{OTHER}, {ONE}")

    assert after.current != before.current
    assert after.matches(token, before.digest(token), before.current)
    assert after.digest(token) != before.digest(token)


@pytest.mark.parametrize("written", ["", " , ", "short", f"{ONE},short"])
def test_a_secret_that_is_none_is_refused_without_being_quoted(written: str) -> None:
    with pytest.raises(ConfigurationError, match="CURB_KEY_SECRET") as refused:
        TokenSecrets.parse(written)
    assert "short" not in str(refused.value)


def test_secrets_do_not_show_when_printed() -> None:
    assert ONE not in repr(TokenSecrets((ONE,)))
