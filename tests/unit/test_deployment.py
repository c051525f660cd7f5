"""The compose file and the Dockerfile name only what exists. (`make lint` checks their form.)"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.defaults import default_providers
from worker.config import parse_config
from worker.settings import Settings, variables

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = ("migrate", "worker")
HARDENED = (*OURS, "gateway", "prometheus", "alertmanager")
LOCKS = ("requirements.lock", "deploy/requirements.lock")


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_our_services_is_a_setting_or_a_providers_key(service: str) -> None:
    keys = {provider.api_key_env for provider in default_providers()}
    assert set(COMPOSE["services"][service]["environment"]) <= variables() | keys


def test_every_setting_in_the_dockerfile_exists() -> None:
    named = set(re.findall(r"\bCURB_[A-Z_]+", DOCKERFILE))
    assert named
    assert named <= variables()


def test_the_settings_in_the_compose_file_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in COMPOSE["services"]["worker"]["environment"].items():
        required = re.sub(r"\$\{\w+:\?[^}]*\}", "secret", text)
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", required))
    assert Settings().embedded == ()


def test_all_of_the_providers_keys_reach_the_worker() -> None:
    keys = {provider.api_key_env for provider in default_providers()}
    assert keys <= set(COMPOSE["services"]["worker"]["environment"])


def test_services_wait_for_services_that_exist_and_can_say_that_they_are_healthy() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[name]


def test_named_volumes_and_mounted_files_exist() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = re.sub(r"^\$\{\w+:-([^}]*)\}", r"\1", volume).partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), volume


def test_every_image_is_pinned_to_a_version() -> None:
    images = {service["image"] for service in COMPOSE["services"].values()} - {"curb"}
    version = re.compile(r":(v?\d+\.\d+|RELEASE\.\d{4}-\d\d-\d\d)")
    assert [image for image in images if not version.search(image)] == []


@pytest.mark.parametrize("service", HARDENED)
def test_our_containers_are_hardened(service: str) -> None:
    container = COMPOSE["services"][service]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in container["security_opt"]


def test_grafana_is_given_what_its_provisioning_names() -> None:
    named = set()
    for path in sorted((ROOT / "deploy/grafana/provisioning").rglob("*.yaml")):
        named |= set(re.findall(r"\$([A-Z_]+)", path.read_text()))
        mounted = f"./{path.parent.relative_to(ROOT)}:/etc/grafana/provisioning/{path.parent.name}:ro"
        assert mounted in COMPOSE["services"]["grafana"]["volumes"]
    assert named
    assert named <= set(COMPOSE["services"]["grafana"]["environment"])


def test_nothing_of_langfuse_starts_without_its_profile_and_its_secrets() -> None:
    services = {name: each for name, each in COMPOSE["services"].items() if name.startswith("langfuse")}
    assert len(services) == 6
    for name, service in services.items():
        assert service["profiles"] == ["observe"]
        assert name == "langfuse-database" or "langfuse-database" in service["depends_on"]
    script = (ROOT / "deploy/langfuse/database.sh").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?\}", script))
    assert asked == {
        "LANGFUSE_PASSWORD",
        "LANGFUSE_SALT",
        "LANGFUSE_ENCRYPTION_KEY",
        "LANGFUSE_SESSION_SECRET",
    }
    assert asked <= set(services["langfuse-database"]["environment"])


def test_the_worker_has_longer_to_stop_than_it_takes_to_settle() -> None:
    worker = COMPOSE["services"]["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > int(
        worker["environment"]["CURB_SHUTDOWN_SECONDS"]
    )


def test_the_stages_are_there_and_the_last_one_runs_without_root() -> None:
    assert {"development", "test", "runtime"} <= set(
        re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE)
    )
    runtime = DOCKERFILE.partition(" AS runtime")[2]
    assert re.search(r"^USER 10001:10001$", runtime, re.MULTILINE)
    assert "HEALTHCHECK" in runtime


def test_prometheus_looks_where_the_services_tell_their_metrics() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    own = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped if "dns_sd_configs" in job}
    ports = COMPOSE["services"]["worker"]["environment"]
    assert own["curb-worker"]["port"] == own["curb-gateway"]["port"] == int(ports["CURB_METRICS_PORT"])
    assert own["temporal-sdk"]["port"] == int(ports["CURB_TEMPORAL_METRICS_PORT"])
    assert {name for job in own.values() for name in job["names"]} <= set(COMPOSE["services"])
    fixed = (t for job in scraped for each in job.get("static_configs", ()) for t in each["targets"])
    assert {target.partition(":")[0] for target in fixed} <= {*COMPOSE["services"], "localhost"}


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_well_formed(path: Path) -> None:
    shell = shutil.which("bash")
    assert shell is not None
    subprocess.run([shell, "-n", path], check=True)


def test_the_worker_starts_with_the_template_where_nothing_else_is_named() -> None:
    mounted = COMPOSE["services"]["worker"]["volumes"][0]
    default = re.search(r":-([^}]*)\}", mounted)
    assert default is not None
    assert parse_config((ROOT / default[1]).read_text()).agents


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    requirements = re.findall(r"^[a-z0-9][^\n]*==[^\n]*\\\n +--hash=sha256:", text, re.MULTILINE)
    assert len(requirements) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))


def test_what_runs_in_production_is_what_was_tested() -> None:
    pins = {lock: set(re.findall(r"^(\S+==\S+)", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS}
    assert pins["deploy/requirements.lock"] <= pins["requirements.lock"]
