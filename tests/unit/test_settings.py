"""Settings: typed, named when wrong, and never a secret in a message."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from worker.settings import Settings, load_settings, masked, unknown_variables, variables
from worker.temporal_target import TemporalTarget, temporal_target


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def test_without_anything_all_servers_are_embedded() -> None:
    assert load_settings().embedded == ("valkey", "postgres", "temporal")


@pytest.mark.parametrize(
    ("variable", "server", "text"),
    [
        ("CURB_REDIS_URL", "valkey", "rediss://cache:6379/0"),
        ("REDIS_URL", "valkey", "redis://cache"),
        ("CURB_DATABASE_URL", "postgres", "postgresql://u:p@db/curb"),
        ("DATABASE_URL", "postgres", "postgres:///curb?host=/run/postgresql"),
        ("CURB_TEMPORAL_ADDRESS", "temporal", "ns.acct.tmprl.cloud:7233"),
    ],
)
def test_each_server_can_be_an_external_one_on_its_own(
    monkeypatch: pytest.MonkeyPatch, variable: str, server: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    assert set(load_settings().embedded) == {"valkey", "postgres", "temporal"} - {server}


def test_the_curb_name_wins_over_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://theirs")
    monkeypatch.setenv("CURB_REDIS_URL", "redis://ours")
    url = load_settings().redis_url
    assert url is not None
    assert url.get_secret_value() == "redis://ours"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURB_REDIS_URL", "")
    monkeypatch.setenv("CURB_METRICS_PORT", "")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CURB_REDIS_URL", "http://:hunter2@cache"),
        ("DATABASE_URL", "mysql://u:hunter2@db"),
        ("CURB_METRICS_PORT", "hunter2"),
        ("CURB_LOG_FORMAT", "hunter2"),
        ("CURB_TEMPORAL_ADDRESS", "hunter2"),
        ("CURB_TEMPORAL_TLS_CERT", "/nowhere/hunter2"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert variable.removeprefix("CURB_") in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_certificate_and_key_go_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("certificate")
    monkeypatch.setenv("CURB_TEMPORAL_TLS_CERT", str(tmp_path / "cert.pem"))
    with pytest.raises(ConfigurationError, match="CURB_TEMPORAL_TLS_KEY"):
        load_settings()


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURB_TEMPORAL_API_KEY", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@db/curb")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example/hunter2")
    settings = load_settings()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_without_an_address_the_embedded_server_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURB_TEMPORAL_API_KEY", "belongs to another server")
    assert temporal_target(load_settings(), "127.0.0.1:7233") == TemporalTarget("127.0.0.1:7233")


def test_an_api_key_switches_tls_on_as_temporal_cloud_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURB_TEMPORAL_ADDRESS", "us-east-1.aws.api.temporal.io:7233")
    assert temporal_target(load_settings()).tls is False
    monkeypatch.setenv("CURB_TEMPORAL_API_KEY", "hunter2")
    monkeypatch.setenv("CURB_TEMPORAL_NAMESPACE", "mine.a1b2c")
    target = temporal_target(load_settings())
    assert (target.namespace, target.tls, target.api_key) == ("mine.a1b2c", True, "hunter2")
    assert "hunter2" not in repr(target)
    monkeypatch.setenv("CURB_TEMPORAL_TLS", "false")
    assert temporal_target(load_settings()).tls is False


def test_certificates_are_read_from_their_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CURB_TEMPORAL_ADDRESS", "temporal:7233")
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text(f"the {name}")
        monkeypatch.setenv(f"CURB_TEMPORAL_TLS_{name.upper()}", str(tmp_path / name))
    config = temporal_target(load_settings()).tls
    assert not isinstance(config, bool)
    assert (config.client_cert, config.client_private_key) == (b"the cert", b"the key")
    assert config.server_root_ca_cert == b"the ca"


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    assert unknown_variables({"CURB_REDIS_ULR": "x", "HOME": "/", "CURB_DATA_DIR": "."}) == (
        "CURB_REDIS_ULR: nothing reads it; did you mean CURB_REDIS_URL?",
    )


def test_unknown_variables_are_found_by_name_alone() -> None:
    assert unknown_variables({"CURB_ZZZZZZZZZZ": "hunter2"}) == ("CURB_ZZZZZZZZZZ: nothing reads it",)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql://u:p%40ss@db/curb?sslmode=require", "postgresql://u:***@db/curb?sslmode=require"),
        ("postgresql:///curb?host=/run/pg&password=hunter2", "postgresql:///curb?host=/run/pg&password=***"),
        ("redis://cache:6379", "redis://cache:6379"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown
