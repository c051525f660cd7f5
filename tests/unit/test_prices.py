"""Prices come from the installed list and the overlay, under ids that say so; strangers have none."""

import socket
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from typing import ClassVar

import pytest
from genai_prices import Usage as ListUsage
from genai_prices.data import providers
from genai_prices.types import ModelPrice

from gateway.config import Deployment
from gateway.defaults import default_config
from gateway.errors import ConfigurationError
from gateway.policy.money import NANO_PER_USD, usd
from gateway.policy.pricing import Price, cost, upper_bound
from gateway.policy.usage import Usage
from gateway.prices import PriceBook

NOW = datetime(2026, 11, 21, tzinfo=UTC)
MTOK = 1_000_000


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def known(book: PriceBook, provider: str, model: str, at: datetime = NOW) -> Price:
    price = book.price(provider, model, at)
    assert price is not None
    return price


@pytest.mark.parametrize("deployment", default_config().deployments.values(), ids=lambda each: each.name)
def test_every_default_deployment_has_a_price_from_the_list(book: PriceBook, deployment: Deployment) -> None:
    price = book.for_deployment(deployment, NOW)
    assert price is not None
    assert price.id.startswith(f"genai-prices@{version('genai-prices')}/{deployment.provider}/")


@pytest.mark.parametrize(
    ("provider", "model", "dollars_in", "dollars_out"),
    [
        ("groq", "llama-3.1-8b-instant", "0.05", "0.08"),
        ("google", "gemini-2.5-flash-lite", "0.10", "0.40"),
        ("google", "gemini-2.5-flash", "0.30", "2.50"),
        ("openai", "gpt-5-mini", "0.25", "2"),
        ("openai", "gpt-5.2", "1.75", "14"),
        ("together", "meta-llama/Llama-3-70b-chat-hf", "0.90", "0.90"),
        ("together", "meta-llama/Llama-3-8b-chat-hf", "0.20", "0.20"),
    ],
)
def test_the_models_cost_what_the_requirements_say(
    book: PriceBook, provider: str, model: str, dollars_in: str, dollars_out: str
) -> None:
    price = known(book, provider, model)
    assert cost(price, Usage(input_tokens=MTOK)) == usd(dollars_in)
    assert cost(price, Usage(output_tokens=MTOK)) == usd(dollars_out)


def test_cache_reads_and_writes_have_their_own_prices(book: PriceBook) -> None:
    price = known(book, "anthropic", "claude-opus-4-6")
    assert cost(price, Usage(cache_read_tokens=MTOK)) == usd("0.50")
    assert cost(price, Usage(cache_write_tokens=MTOK)) == usd("6.25")


def test_long_prompts_of_gemini_pro_cost_twice_as_much(book: PriceBook) -> None:
    price = known(book, "google", "gemini-2.5-pro")
    assert cost(price, Usage(200_000, 1_000)) == usd("0.25") + usd("0.01")
    assert cost(price, Usage(200_001, 1_000)) == 200_001 * 2_500 + usd("0.015")


def test_a_price_that_changed_is_charged_as_of_the_day_and_named_so(book: PriceBook) -> None:
    before = known(book, "anthropic", "claude-opus-4-6", datetime(2026, 3, 12, 23, 59, tzinfo=UTC))
    after = known(book, "anthropic", "claude-opus-4-6", datetime(2026, 3, 13, tzinfo=UTC))
    assert cost(before, Usage(input_tokens=300_000)) == usd(3)
    assert cost(after, Usage(input_tokens=300_000)) == usd("1.5")
    assert after.id == f"{before.id}@2026-03-13"


def test_days_are_utc_days_whatever_zone_the_time_is_in(book: PriceBook) -> None:
    local = datetime(2026, 3, 12, 20, tzinfo=timezone(timedelta(hours=-5)))
    assert known(book, "anthropic", "claude-opus-4-6", local).id.endswith("@2026-03-13")


def test_a_price_by_the_hour_says_which_hours(book: PriceBook) -> None:
    ids = {known(book, "deepseek", "deepseek-chat", NOW.replace(hour=h)).id for h in range(24)}
    assert len(ids) >= 1
    assert all(price_id.startswith("genai-prices@") for price_id in ids)


def test_batch_costs_what_the_list_says_where_it_says_it(book: PriceBook) -> None:
    price = known(book, "google", "gemini-2.5-flash")
    assert cost(price, Usage(MTOK, MTOK), batch=True) == usd("0.15") + usd("1.25")
    assert cost(price, Usage(cache_read_tokens=MTOK), batch=True) == usd("0.03")  # caching is not halved


def test_batch_costs_half_where_the_list_says_nothing(book: PriceBook) -> None:
    price = known(book, "together", "meta-llama/Llama-3-70b-chat-hf")
    assert cost(price, Usage(MTOK, MTOK), batch=True) == usd("0.90")


def test_a_charge_per_request_is_in_the_cost_and_in_the_bound(book: PriceBook) -> None:
    price = known(book, "perplexity", "sonar")
    assert cost(price, Usage()) == upper_bound(price, 0, 0) == usd("0.012")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("groq", "no-such-model"),
        ("nobody", "gpt-5-mini"),
        ("nobody", "nobody/gpt-5-mini"),
        ("nobody", ""),
        ("openai", ""),
        ("my-openai", "gpt-5-mini"),  # a name that merely contains a provider's
        ("openai", "text-embedding-3-small"),  # no price for output: not a model that answers
    ],
)
def test_what_nobody_priced_has_no_price(book: PriceBook, provider: str, model: str) -> None:
    assert book.price(provider, model, NOW) is None


def test_a_proxy_may_name_the_model_with_its_provider(book: PriceBook) -> None:
    assert known(book, "litellm", "openai/gpt-5-mini") == known(book, "openai", "gpt-5-mini")


def test_a_deployment_without_price_is_charged_at_its_ceiling_or_not_at_all(book: PriceBook) -> None:
    stranger = Deployment("vllm/own", "vllm", "own")
    capped = Deployment("vllm/own", "vllm", "own", ceiling_nano_usd_per_mtok=usd(5))
    assert book.for_deployment(stranger, NOW) is None
    price = book.for_deployment(capped, NOW)
    assert price is not None
    assert price.id.startswith("ceiling@")
    assert cost(price, Usage(MTOK)) == usd(5)


def test_a_known_price_wins_over_the_ceiling(book: PriceBook) -> None:
    capped = Deployment("x", "proxy", "served-as", "openai/gpt-5.2", ceiling_nano_usd_per_mtok=usd(500))
    price = book.for_deployment(capped, NOW)
    assert price is not None
    assert price.model == "gpt-5.2"


def test_nothing_in_the_list_is_free(book: PriceBook) -> None:
    for provider in providers:
        for model in provider.models:
            price = book.price(provider.id, model.id, NOW)
            assert price is None or upper_bound(price, MTOK, MTOK) > 0, f"{provider.id}/{model.id}"


def test_we_charge_the_same_as_the_list_computes_for_every_model_it_has(book: PriceBook) -> None:
    """The list's own arithmetic, on every model that has token prices only, at two prompt lengths."""
    compared = 0
    for provider in providers:
        for model in provider.models:
            price = book.price(provider.id, model.id, NOW)
            listed = model.get_prices(NOW)
            if price is None or price.model != model.id or not _tokens_only(listed):
                continue
            for usage in (Usage(1_000, 700, 200, 30, 50), Usage(150_000, 9_000, 300_000, 20_000, 800)):
                ours = cost(price, usage)
                theirs = listed.calc_price(_as_listed(usage, listed))["total_price"] * NANO_PER_USD
                assert abs(ours - theirs) <= Decimal("0.5"), f"{provider.id}/{model.id}"
            compared += 1
    assert compared > 900


def test_building_and_asking_never_touches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the price book opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert PriceBook().price("openai", "gpt-5-mini", NOW) is not None


class TestOverlay:
    SIM: ClassVar[dict[str, object]] = {"provider": "sim", "model": "steady", "input": "3", "output": "15"}

    def test_it_wins_over_the_list(self) -> None:
        own = {"provider": "openai", "model": "gpt-5-mini", "input": "0.20", "output": "1.60"}
        price = known(PriceBook([own]), "openai", "gpt-5-mini")
        assert cost(price, Usage(MTOK, MTOK)) == usd("1.80")
        assert price.id.startswith("overlay@")
        assert price.id.endswith("/openai/gpt-5-mini")

    def test_numbers_are_read_as_written_and_fractions_of_a_nano_dollar_kept(self) -> None:
        own = {"provider": "sim", "model": "m", "input": 0.0375, "output": Decimal("0.1")}
        card = known(PriceBook([own]), "sim", "m").standard
        assert (card.base.input, card.base.output) == (Fraction(37_500_000), Fraction(100_000_000))

    def test_what_is_left_out_follows_from_input_and_output(self) -> None:
        price = known(PriceBook([self.SIM]), "sim", "steady")
        assert cost(price, Usage(0, 0, MTOK, MTOK)) == usd(6)
        assert cost(price, Usage(0, MTOK, reasoning_tokens=MTOK)) == usd(15)
        assert cost(price, Usage(MTOK, MTOK), batch=True) == usd(9)

    def test_brackets_batch_and_the_charge_per_request(self) -> None:
        own = self.SIM | {
            "above": [{"tokens": 1_000, "input": "6", "output": "20"}],
            "batch": {"input": "1", "output": "2"},
            "request": "0.01",
        }
        price = known(PriceBook([own]), "sim", "steady")
        assert cost(price, Usage(1_001)) == 1_001 * 6_000 + usd("0.01")
        assert cost(price, Usage(MTOK, MTOK), batch=True) == usd(3)

    def test_a_dated_price_holds_from_its_day_on(self) -> None:
        dearer = self.SIM | {"from": "2026-06-01", "input": "4"}
        book = PriceBook([dearer, self.SIM])
        before = known(book, "sim", "steady", datetime(2026, 5, 31, 23, 59, tzinfo=UTC))
        after = known(book, "sim", "steady", datetime(2026, 6, 1))  # noqa: DTZ001 naive means UTC
        assert (cost(before, Usage(MTOK)), cost(after, Usage(MTOK))) == (usd(3), usd(4))
        assert after.id.endswith("/sim/steady@2026-06-01")

    def test_before_its_day_the_list_holds(self) -> None:
        own = {"provider": "openai", "model": "gpt-5-mini", "from": "2027-01-01", "input": 9, "output": 9}
        assert known(PriceBook([own]), "openai", "gpt-5-mini").id.startswith("genai-prices@")

    def test_the_most_specific_entry_wins(self) -> None:
        book = PriceBook(
            [
                {"provider": "*", "model": "*", "input": 9, "output": 9},
                {"provider": "sim", "model": "*", "input": 8, "output": 8},
                {"provider": "sim", "model": "st*", "input": 7, "output": 7},
                {"provider": "sim", "model": "steady", "input": 6, "output": 6},
            ]
        )
        asked = (("x", "y"), ("sim", "other"), ("SIM", "stop"), ("sim", "Steady"))
        found = [cost(known(book, *each), Usage(MTOK)) for each in asked]
        assert found == [usd(9), usd(8), usd(7), usd(6)]

    def test_of_two_equal_entries_the_last_one_wins(self) -> None:
        price = known(PriceBook([self.SIM, self.SIM | {"input": "5"}]), "sim", "steady")
        assert price.standard.base.input == Fraction(usd(5))

    def test_other_numbers_have_another_id(self) -> None:
        ids = {known(PriceBook([self.SIM | {"input": n}]), "sim", "steady").id for n in ("3", "4")}
        assert len(ids) == 2

    def test_an_operator_may_say_that_a_model_is_free(self) -> None:
        free = {"provider": "vllm", "model": "*", "input": 0, "output": 0}
        assert cost(known(PriceBook([free]), "vllm", "own"), Usage(MTOK, MTOK)) == 0

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"input": None}, r"prices\[0\]\.input is missing"),
            ({"output": "cheap"}, r"prices\[0\]\.output must be an amount of dollars"),
            ({"output": True}, r"prices\[0\]\.output must be an amount"),
            ({"cache_read": "-1"}, r"prices\[0\]\.cache_read must be zero or more"),
            ({"input": float("nan")}, r"prices\[0\]\.input must be zero or more"),
            ({"model": ""}, r"prices\[0\]\.model is missing"),
            ({"provider": 7}, r"prices\[0\]\.provider is missing"),
            ({"inputs": "1"}, r"prices\[0\]\.inputs is not known here"),
            ({"from": "soon"}, r"prices\[0\]\.from must be a date"),
            ({"above": {"tokens": 5}}, r"prices\[0\]\.above must be a list"),
            ({"above": [{"tokens": 5}]}, r"prices\[0\]\.above\[0\]\.input is missing"),
            ({"above": [{"tokens": "5", "input": 1, "output": 1}]}, r"above\[0\]\.tokens must be a whole"),
            ({"above": [{"tokens": 5, "input": 1, "output": 1}] * 2}, r"above names the same number"),
            ({"above": [7]}, r"above\[0\] must be a mapping"),
            ({"batch": "half"}, r"prices\[0\]\.batch must be a mapping"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, change: dict[str, object], says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            PriceBook([self.SIM | change])


def _tokens_only(listed: ModelPrice) -> bool:
    ours = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok"}
    ignored = {"web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok"}
    return {name for name, value in vars(listed).items() if value is not None} <= ours | ignored


def _as_listed(usage: Usage, listed: ModelPrice) -> ListUsage:
    reasoning = (
        {} if listed.output_reasoning_mtok is None else {"output_reasoning_tokens": usage.reasoning_tokens}
    )
    return ListUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        **reasoning,
    )


def test_a_model_for_embeddings_has_a_price_where_it_is_to_make_some(book: PriceBook) -> None:
    small = Deployment("openai/small", "openai", "text-embedding-3-small", kind="embedding")
    price = book.for_deployment(small, NOW)
    assert price is not None
    assert (cost(price, Usage(MTOK)), upper_bound(price, MTOK, 0)) == (usd("0.02"), usd("0.02"))
