"""`curb doctor` finds what is there, what is missing and how to get it."""

from pathlib import Path

import pytest

from gateway.store.migrate import migrate
from worker.doctor import Finding, examine, is_healthy
from worker.settings import variables


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


async def look(directory: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in await examine(directory)}


async def test_without_servers_it_looks_at_what_the_stack_would_be_started_from(tmp_path: Path) -> None:
    found = await look(tmp_path)
    assert found["embedded stack"].remedy == "`curb dev` starts it"
    assert "valkey-server" in found["Valkey"].detail
    assert found["PostgreSQL"].status == "ok"
    assert {
        "Temporal by PATH",
        "Temporal by cache",
        "Temporal by go install",
        "Temporal by SDK download",
    } <= set(found)


async def test_servers_of_ones_own_are_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, database_url: str, temporal_address: str
) -> None:
    migrate(database_url)
    monkeypatch.setenv("CURB_REDIS_URL", redis_url)
    monkeypatch.setenv("CURB_DATABASE_URL", database_url)
    monkeypatch.setenv("CURB_TEMPORAL_ADDRESS", temporal_address)
    found = await look(tmp_path)
    for name in ("Valkey", "PostgreSQL", "Temporal", "search attributes"):
        assert found[name].status == "ok", found[name]
    assert redis_url in found["Valkey"].detail
    assert "CurbAgent" in found["search attributes"].detail
    assert is_healthy(list(found.values()))


async def test_servers_that_do_not_answer_are_named_with_their_setting_and_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CURB_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/curb")
    monkeypatch.setenv("CURB_TEMPORAL_ADDRESS", "127.0.0.1:1")
    found = await look(tmp_path)
    for name, setting in (
        ("Valkey", "CURB_REDIS_URL"),
        ("PostgreSQL", "CURB_DATABASE_URL"),
        ("Temporal", "CURB_TEMPORAL_ADDRESS"),
    ):
        assert found[name].status == "wrong"
        assert setting in found[name].remedy
    assert "hunter2" not in repr(found)
    assert not is_healthy(list(found.values()))


async def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "hunter2")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = await look(tmp_path)
    assert found["key of anthropic"] == Finding("key of anthropic", "ok", "ANTHROPIC_API_KEY is set")
    assert found["key of openai"].remedy == "set it to use openai"
    assert "hunter2" not in repr(found)


async def test_a_wrong_file_and_an_unknown_variable_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "curb.yaml").write_text("agents:\n  a: {tier: ballanced}\n")
    monkeypatch.setenv("CURB_REDIS_ULR", "x")
    found = await look(tmp_path)
    assert "curb.yaml:2: agents.a.tier" in found["configuration"].detail
    assert "did you mean CURB_REDIS_URL?" in found["environment"].detail


async def test_a_wrong_variable_is_told_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CURB_METRICS_PORT", "high")
    found = await look(tmp_path)
    assert list(found) == ["Python", "environment"]
    assert "CURB_METRICS_PORT" in found["environment"].detail
