"""What docker-compose runs once in Postgres can be run again, and makes what it says."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from gateway.store.database import conninfo
from worker.stack.postgres import binaries

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRETS = ("LANGFUSE_PASSWORD", "LANGFUSE_SALT", "LANGFUSE_ENCRYPTION_KEY", "LANGFUSE_SESSION_SECRET")


def run(script: str, database: str, **given: str) -> subprocess.CompletedProcess[str]:
    url = make_url(database)
    where = {"PGHOST": url.host, "PGPORT": str(url.port), "PGUSER": url.username, "PGDATABASE": url.database}
    environment = {"PATH": f"{binaries()}:{os.environ['PATH']}", **where, **given}
    return subprocess.run(
        ("sh", str(DEPLOY / script)),
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ask(database: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(conninfo(database)) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_grafanas_role_is_made_once_with_the_password_of_the_last_time(database: str) -> None:
    for password in ("first", "it's the $second"):
        done = run("grafana/reader.sh", database, READER_PASSWORD=password)
        assert (done.returncode, done.stderr) == (0, "")

    [[kept]] = ask(database, "SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'curb_grafana'")
    assert kept is True


def test_langfuse_has_a_database_of_its_own(database: str) -> None:
    for _ in range(2):
        done = run("langfuse/database.sh", database, **dict.fromkeys(SECRETS, "secret"))
        assert (done.returncode, done.stderr) == (0, "")

    owned = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'langfuse'"
    assert ask(database, owned) == [("langfuse",)]


@pytest.mark.parametrize("missing", SECRETS)
def test_langfuse_is_not_begun_without_its_secrets(database: str, missing: str) -> None:
    done = run("langfuse/database.sh", database, **dict.fromkeys(set(SECRETS) - {missing}, "secret"))
    assert done.returncode != 0
    assert missing in done.stderr
