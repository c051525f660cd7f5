"""curb dev, doctor, migrate, and what commands say when something is missing."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from tests.acceptance.command import CURB, Curb, Dev
from tests.acceptance.conftest import furnish
from tests.integration.servers import free_port
from worker.stack.processes import is_dead


def test_a_second_dev_shows_the_first_and_starts_nothing(curb: Curb) -> None:
    done = curb("dev", "--json")

    assert done.status == 0
    assert done.json["temporal_ui"].startswith("http://")
    assert "worker" in done.json["agents"]
    assert "runs already" in done.err


def test_the_doctor_finds_a_running_house_healthy(curb: Curb) -> None:
    found = curb.json("doctor")

    assert found["healthy"] is True
    assert {"Valkey", "PostgreSQL", "Temporal"} <= {each["name"] for each in found["findings"]}
    assert "nothing is missing" in curb("doctor").out


def test_migrating_again_changes_nothing(curb: Curb) -> None:
    done = curb.json("migrate")

    assert done["revision"]
    assert done["search_attributes_added"] == []


def test_dev_survives_kill_9_and_keeps_what_it_knew(tmp_path: Path) -> None:
    furnish(tmp_path)
    curb = Curb(tmp_path)
    first = Dev(curb, "--tools", "tools.py")
    curb.json("run", "worker", "Look.", "--id", "before")
    servers = json.loads((tmp_path / ".curb" / "stack.json").read_text())["servers"]
    first.kill()

    second = Dev(curb, "--tools", "tools.py")
    shown = curb.json("show", "before")
    adopted = json.loads((tmp_path / ".curb" / "stack.json").read_text())["servers"]

    assert shown["status"] == "completed"
    assert {name: each["pid"] for name, each in adopted.items()} == {
        name: each["pid"] for name, each in servers.items()
    }
    assert second.stop() == 0
    assert all(is_dead(each["pid"]) for each in servers.values())
    assert not (tmp_path / ".curb" / "stack.json").exists()


@pytest.mark.parametrize(
    ("arguments", "servers"),
    [
        (["runs"], "Redis, PostgreSQL, Temporal"),
        (["budgets"], "Redis, PostgreSQL"),
        (["ledger", "verify"], "Redis, PostgreSQL"),
        (["migrate"], "PostgreSQL"),
        (["worker"], "Redis, PostgreSQL, Temporal"),
    ],
)
def test_without_servers_a_command_ends_with_3_and_says_what_to_do(
    nowhere: Curb, arguments: list[str], servers: str
) -> None:
    done = nowhere(*arguments)

    assert done.status == 3
    assert f"curb: {servers}: no address is known. Start `curb dev`" in done.err
    assert "or set CURB_" in done.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CURB_REDIS_URL": "redis://127.0.0.1:1"}, "Redis cannot be reached"),
        ({"CURB_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "Postgres cannot be reached"),
        ({"CURB_TEMPORAL_ADDRESS": "127.0.0.1:1"}, "Temporal does not answer at 127.0.0.1:1"),
    ],
)
def test_a_server_that_does_not_answer_is_named_with_status_3(
    curb: Curb, settings: dict[str, str], said: str
) -> None:
    done = curb("runs", **settings)

    assert done.status == 3
    assert said in done.err


def test_a_wrong_setting_is_named_with_status_2(nowhere: Curb) -> None:
    done = nowhere("budgets", CURB_REDIS_URL="http://somewhere")

    assert done.status == 2
    assert "CURB_REDIS_URL" in done.err


def test_a_live_demo_without_a_key_says_which_to_set(nowhere: Curb) -> None:
    done = nowhere("demo", "--live")

    assert done.status == 3
    assert "OPENAI_API_KEY or ANTHROPIC_API_KEY" in done.err


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["show"], ["runs", "--limit", "0"], ["worker", "--role", "x"]]
)
def test_usage_errors_end_with_2(nowhere: Curb, arguments: list[str]) -> None:
    assert nowhere(*arguments).status == 2


def test_help_lists_every_command_and_loads_no_server_library(nowhere: Curb) -> None:
    shown = nowhere("--help").out
    heavy = ("temporalio", "sqlalchemy", "redis", "psycopg", "genai_prices")
    script = f"import worker.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout

    commands = {line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()}
    assert commands >= {"dev", "demo", "doctor", "run", "runs", "show", "pause", "resume", "kill", "top-up"}
    assert commands >= {"answer", "approve", "deny", "switch", "budgets", "costs", "ledger", "policy"}
    assert commands >= {"worker", "migrate"}
    assert loaded.strip() == "[]"


def test_a_worker_of_its_own_logs_json_and_ends_well_on_sigterm(curb: Curb) -> None:
    port = free_port()
    worker = subprocess.Popen(
        (*CURB, "worker", "--role", "tools", "--tools", "tools.py"),
        cwd=curb.directory,
        env=curb.environment(
            {
                "CURB_METRICS_PORT": "0",
                "CURB_LOG_FORMAT": "json",
                "CURB_TEMPORAL_METRICS_PORT": str(port),
            }
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    for line in worker.stderr:
        if '"worker ready"' in line:
            assert json.loads(line)["roles"] == ["tools"]
            break
    counted = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    worker.terminate()
    out, err = worker.communicate(timeout=60)

    assert (worker.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert re.search(r"^temporal_\w+\{.*task_queue=\"curb-tools\"", counted, re.MULTILINE)


async def test_what_people_say_is_not_in_workflow_history(curb: Curb) -> None:
    done = await asyncio.to_thread(curb, "run", "asker", "Secret number one?", "--id", "quiet", "--no-wait")
    await asyncio.to_thread(curb.until_run, "quiet", lambda run: run["waiting_for"])
    answered = await asyncio.to_thread(curb, "answer", "quiet", "Secret number two.")
    await asyncio.to_thread(curb.until_run, "quiet", lambda run: run["ended_at"])
    record = json.loads((curb.directory / ".curb" / "stack.json").read_text())

    client = await Client.connect(record["addresses"]["temporal_address"])
    history = (await client.get_workflow_handle("quiet").fetch_history()).to_json()

    assert (done.status, answered.status) == (0, 0)
    payloads = [base64.b64decode(data) for data in re.findall(r'"data": ?"([A-Za-z0-9+/=]+)"', history)]
    assert any(b"asker" in payload for payload in payloads)
    assert not any(b"Secret" in payload for payload in payloads)
