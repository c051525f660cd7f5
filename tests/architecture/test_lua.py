"""What holds for every Lua script, read from its text."""

import re
from pathlib import Path

import pytest

from gateway.state.keys import KEYS
from gateway.state.loader import load_scripts

FOLDER = Path(__file__).parents[2] / "gateway/state/scripts"
SOURCES = sorted([*FOLDER.glob("*.lua"), *FOLDER.glob("parts/*.lua")])
SCRIPTS = sorted(FOLDER.glob("*.lua"))
PART = [rule.pattern.removesuffix("*").removesuffix(":") for rule in KEYS]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_key_is_listed_with_its_lifetime(path: Path) -> None:
    used = {name.partition(":")[0] for name in re.findall(r"\bkey\('([a-z_:]+)'", path.read_text())}
    assert used <= set(PART)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_says_its_arguments_keys_and_answer(path: Path) -> None:
    head = path.read_text().split("\n\nlocal", 1)[0]
    for word in ("-- needs:", "-- ARGV[1] prefix", "-- Keys:", "-- Returns"):
        assert word in head, f"{path.name}: the head comment lacks {word}"


def test_what_accounts_runs_in_a_full_redis_and_what_buys_does_not() -> None:
    flags = {name: script.source.split("\n", 1)[0] for name, script in load_scripts().items()}
    for name in ("close", "renew", "expire", "post", "set_switch", "observe", "close_epoch"):
        assert flags[name] == "#!lua flags=allow-oom"
    assert flags["admit"] == "#!lua"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_amount_goes_through_a_way_that_prints_2e14(path: Path) -> None:
    text = re.sub(r"--.*", "", path.read_text())
    encoded = re.findall(r"cjson\.encode\(([^()]*(?:\([^()]*\))?)\)", text)
    named = "rule|scope|name|old or ''|new or ''|c.counter|r.id|counters|scopes|p.counters|\\{t.counter\\}"
    assert [what for what in encoded if not re.fullmatch(named, what)] == []
    assert "tostring(" not in text.replace("tostring(s.state)", "")
