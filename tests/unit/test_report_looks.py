"""How reports look: the same numbers in every form, nothing from elsewhere, every text escaped."""

import csv
import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.reports.document import Incidents, ReportDocument, Usage
from activities.reports.flat import as_csv, as_json
from activities.reports.html import html
from activities.reports.markdown import markdown
from activities.reports.overview import page_of
from activities.reports.words import Amounts, change, days, milliseconds, percent, scope, short
from gateway.policy.money import usd
from tests.report_sample import sample, sample_week

EVIL = '<script>alert(1)</script> & "x" | `y` *z* [a](javascript:b)'
VOID = {"meta", "br", "img", "polygon", "polyline"}


class Strict(HTMLParser):
    """Fails for a tag that is not closed as it should; collects what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Strict:
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser


def evil() -> ReportDocument:
    """Every name that somebody else chose is markup."""
    whole = json.loads(sample().model_dump_json())

    def poisoned(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: poisoned(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [poisoned(each) for each in value]
        is_name = key in ("name", "agent", "tool", "reason", "new", "old", "type", "provider", "run_id")
        return EVIL if is_name and isinstance(value, str) and "T" not in value and value else value

    poison = {
        name: poisoned(each) for name, each in whole.items() if name not in ("chart", "outlook", "outlooks")
    }
    return ReportDocument.model_validate({**whole, **poison})


@pytest.mark.parametrize("report", [sample(), sample_week(), evil()], ids=["day", "week", "evil"])
def test_html_is_well_formed_and_needs_nothing_from_elsewhere(report: ReportDocument) -> None:
    text = html(page_of(report), lambda workflow: f"https://temporal.example/{workflow}")
    seen = parsed(text)

    assert not seen.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert "url(" not in text
    assert not [value for name, value in seen.attributes if name == "src" or name.startswith("on")]
    assert {value[:8] for name, value in seen.attributes if name == "href"} <= {"https://"}
    assert len(text.encode()) < 102_000  # longer mails are cut by Gmail


def test_no_name_can_become_markup() -> None:
    page = page_of(evil())

    assert "<script>" not in html(page)
    assert "alert(1)" in parsed(html(page)).text
    for line in markdown(page).splitlines():
        assert "<script>" not in line.replace("\\<", "")
        if line.startswith("| "):
            unescaped = re.findall(r"(?<!\\)\|", line)
            assert len(unescaped) >= 3
    assert not [row for row in csv.reader(io.StringIO(as_csv(evil()))) if row[1].startswith(("=", "+", "@"))]


def test_a_picture_without_words_is_all_that_is_lost_without_svg() -> None:
    text = html(page_of(sample()))
    [picture] = re.findall(r"<svg.*?</svg>", text)

    assert re.sub(r"<[^>]*>", "", picture) == ""
    assert "$2,790.00" in re.sub(r"<svg.*?</svg>", "", text)


def test_every_form_tells_the_same_total() -> None:
    report = sample()
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))

    assert "$105.10" in parsed(html(page_of(report))).text
    assert "$105.10" in markdown(page_of(report))
    assert json.loads(as_json(report))["totals"]["cost_usd"] == "105.1"
    agents = [
        Decimal(row["value"]) for row in rows if (row["section"], row["metric"]) == ("agents", "cost_usd")
    ]
    assert sum(agents) == Decimal("105.1")
    assert ReportDocument.model_validate_json(as_json(report)) == report


def test_runs_are_linked_where_a_ui_is_known() -> None:
    page = page_of(sample())
    address = "http://127.0.0.1:8233/namespaces/default/workflows/coder-8c1f02d9aa"

    def link(workflow: str) -> str:
        return f"http://127.0.0.1:8233/namespaces/default/workflows/{workflow}"

    assert f'href="{address}"' in html(page, link)
    assert f"(<{address}>)" in markdown(page, link)
    assert "href" not in html(page)


def test_a_day_that_is_not_over_says_so() -> None:
    assert "So far" in markdown(page_of(sample(state="so_far")))
    assert "closed early" in html(page_of(sample(state="preliminary")))
    assert "So far: the period" not in html(page_of(sample()))


def test_long_lists_are_cut_in_what_people_read_and_whole_in_the_table() -> None:
    report = sample()
    runs = tuple(
        report.incidents.runs[0].model_copy(update={"run_id": f"run-{number}"}) for number in range(20)
    )
    long = sample(
        incidents=report.incidents.model_copy(update={"runs": runs, "runs_total": 57}),
        errors=[{"type": f"error-{number}", "provider": "p", "errors": 1} for number in range(20)],
    )
    text = markdown(page_of(long))

    assert text.count("| run-") == 8
    assert "The newest 8 of 57." in text
    assert "12 lines more in" in text
    assert as_csv(long).count(",run-") == 20


def test_an_empty_report_can_be_read() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    empty = ReportDocument(
        kind="daily", period="2026-01-01", first_day=date(2026, 1, 1), last_day=date(2026, 1, 1),
        begins_at=at, ends_at=at, made_at=at, totals=Usage(),
    )  # fmt: skip
    text = markdown(page_of(empty))

    assert "No call was made. Nothing was stopped, refused or failed." in text
    assert "No daily budget is set" in text
    parsed(html(page_of(empty)))


def test_an_old_report_lacks_what_came_later_and_is_read_all_the_same() -> None:
    old = json.loads(as_json(sample()))
    for name in ("shadow", "books", "outlook", "incidents", "latency"):
        del old[name]
    old["of_a_newer_version"] = 1
    report = ReportDocument.model_validate(old)

    assert report.incidents == Incidents()
    parsed(html(page_of(report)))


def test_the_summary_names_who_is_expected_to_go_over() -> None:
    assert "above its budget for team finance." in " ".join(page_of(sample()).summary)


@pytest.mark.parametrize(
    ("total", "amount", "said"),
    [
        ("100", "61.244", "$61.24"),
        ("100", "61.245", "$61.25"),
        ("1", "0.12345", "$0.1235"),
        ("0.02", "0.00000051", "$0.000001"),
        ("0.02", "200", "$200.00"),
        ("0.02", "0", "$0.00"),
        ("100000", "1234567.891", "$1,234,567.89"),
    ],
)
def test_amounts_of_a_report_have_as_many_decimals_as_it_needs(total: str, amount: str, said: str) -> None:
    assert Amounts(usd(total))(usd(amount)) == said


def test_losses_and_gains_have_their_sign() -> None:
    amounts = Amounts(usd("100"))

    assert amounts(-usd("0.31")) == "−$0.31"
    assert amounts.signed(usd("5")) == "+$5.00"
    assert (amounts.signed(0), amounts.signed(-usd("5"))) == ("$0.00", "−$5.00")


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (112, 100, "+12 %"),
        (88, 100, "−12 %"),
        (100, 100, "±0 %"),
        (5, 0, "new"),
        (0, 0, "–"),
        (5, None, "–"),
        (5000, 100, "× 50"),
        (0, 7, "−100 %"),
    ],
)
def test_changes(now: int, before: int | None, said: str) -> None:
    assert change(now, before) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.057, "5.7 %"),
        (0.5, "50 %"),
        (0.9999, "> 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_are_never_rounded_to_nothing_or_all(share: float, said: str) -> None:
    assert percent(share) == said


def test_words() -> None:
    assert [short(number) for number in (951, 12_345, 4_560_000)] == ["951", "12.3k", "4.56M"]
    assert [milliseconds(ms) for ms in (340, 1_240, 90_000)] == ["340 ms", "1.2 s", "1.5 min"]
    assert [scope(text) for text in ("global", "agent:coder", "team:", "moon")] == [
        "Everything",
        "Agent coder",
        "Team (none)",
        "moon",
    ]
    assert days(date(2026, 11, 30), date(2026, 12, 6)) == "30 November – 6 December 2026"
    assert days(date(2026, 12, 28), date(2027, 1, 3)) == "28 December 2026 – 3 January 2027"


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_an_amount_is_rounded_by_less_than_one_of_its_last_digit(total: int, amount: int) -> None:
    text = Amounts(total)(amount)
    digits = len(text.partition(".")[2])

    assert abs(Decimal(text[1:].replace(",", "")) * 10**9 - amount) <= Decimal(10) ** (9 - digits) / 2
