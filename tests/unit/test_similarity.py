"""The cosine of neighbouring tokens: alike texts are alike, everything else is not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.similarity import MAX_CHARACTERS, cosine, profile


def alike(one: str, other: str) -> float:
    return cosine(profile(one), profile(other))


@given(st.text(min_size=1).filter(lambda text: bool(profile(text))))
def test_a_text_is_like_itself(text: str) -> None:
    assert math.isclose(alike(text, text), 1.0)


@given(st.text(), st.text())
def test_likeness_is_a_share_and_the_same_both_ways(one: str, other: str) -> None:
    assert 0.0 <= alike(one, other) <= 1.0
    assert alike(one, other) == alike(other, one)


def test_case_and_spacing_do_not_count() -> None:
    assert math.isclose(alike("Trying  again\nnow", "trying again now"), 1.0)


@pytest.mark.parametrize("empty", ["", "   \n"])
def test_nothing_is_like_nothing(empty: str) -> None:
    assert alike(empty, "some text") == alike(empty, empty) == 0.0


def test_the_same_words_in_another_order_say_something_else() -> None:
    text = "the writer calls the parser before the tokenizer has read the last line of the file"
    assert alike(text, " ".join(sorted(text.split()))) < 0.5


def test_languages_without_spaces_are_compared_sign_by_sign() -> None:
    one = "我已经检查了失败的测试,接下来我要阅读分词器并编写修复程序,然后再次运行整个测试套件。"
    assert alike(one, one.replace("接下来", "现在")) > 0.8
    assert alike(one, "发票已经核对完毕,没有发现异常情况,金额与合同一致,已转交财务部门审批。") < 0.3


def test_of_very_long_texts_only_the_ends_are_read() -> None:
    end = "a b c d " * (MAX_CHARACTERS // 8)
    assert profile(end + "z y x " * 1_000_000 + end) == profile(end + "q r s " * 10 + end)
