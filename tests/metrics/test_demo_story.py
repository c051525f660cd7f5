"""The demo's story, wherever it can be looked at: dashboards, metrics, the console, traces."""

import contextlib
import gzip
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from psycopg.rows import dict_row

from tests.acceptance.command import CURB, Curb
from tests.metrics.grafana import Chosen, queries
from tests.metrics.prometheus import Prometheus, until
from worker.stack.ports import free_port

READER = Path(__file__).parents[2] / "deploy" / "grafana" / "reader.sql"
AGENTS = {"steady", "runaway", "overspender", "shadow", "talker", "endless", "survivor"}
_CONSOLE = re.compile(r"(http://127\.0\.0\.1:\d+)/console")


@dataclass
class Collector:
    """Whoever keeps traces, played by a real HTTP server that reads what comes."""

    spans: list[Span] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def open(self) -> Iterator["Collector"]:
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    told = ExportTraceServiceRequest.FromString(body)
                    spans.extend(
                        span
                        for each in told.resource_spans
                        for scope in each.scope_spans
                        for span in scope.spans
                    )
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@dataclass(frozen=True)
class Told:
    """What the demo said in the end, and where it can be looked at."""

    story: dict[str, Any]
    door: str
    database_url: str
    prometheus: Prometheus
    collector: Collector

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        return {run["agent"]: run for run in self.story["runs"]}

    def panel(self, title: str, chosen: Chosen) -> Sequence[dict[str, Any]]:
        """The rows of a panel that asks PostgreSQL."""
        [asked] = [each for each in queries() if each.panel == title and not each.to_prometheus]
        with psycopg.connect(self.database_url, row_factory=dict_row, user="curb_grafana") as connection:
            return connection.execute(chosen.sql(asked).encode()).fetchall()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    directory = tmp_path_factory.mktemp("story")
    port = free_port()
    with contextlib.ExitStack() as ends:
        collector = ends.enter_context(Collector().open())
        settings = {"CURB_METRICS_PORT": str(port), "CURB_OTLP_ENDPOINT": collector.url}
        demo = subprocess.Popen(
            (*CURB, "demo", "--keep", "--json"),
            cwd=directory,
            env=Curb(directory).environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ends.callback(ended, demo)
        door = console_of(demo)
        drained = threading.Thread(target=demo.stderr.read)  # type: ignore[union-attr]
        drained.start()
        ends.callback(drained.join)
        ends.callback(demo.send_signal, signal.SIGINT)
        addresses = {"curb": (f"127.0.0.1:{port}", door.removeprefix("http://"))}
        prometheus = Prometheus(addresses, directory)
        ends.callback(prometheus.stop)
        assert demo.stdout is not None
        story = json.loads("".join(iter(demo.stdout.readline, "}\n")) + "}")
        stack = json.loads((directory / ".curb" / "demo" / "stack.json").read_text())
        url = stack["addresses"]["database_url"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(READER.read_bytes())
        yield Told(story, door, url, prometheus, collector)


def console_of(demo: "subprocess.Popen[str]") -> str:
    """The front door's address, which the demo says when it begins."""
    assert demo.stderr is not None
    for line in demo.stderr:
        if found := _CONSOLE.search(line):
            return found[1]
    raise AssertionError(f"the demo ended with {demo.wait()}")


def ended(demo: "subprocess.Popen[str]") -> None:
    assert demo.wait(60) == 0
    for pipe in (demo.stdout, demo.stderr):
        assert pipe is not None
        pipe.close()


def test_the_dashboard_shows_what_every_agent_cost(told: Told) -> None:
    rows = until(lambda: told.panel("Cost by agent today", Chosen()), lambda rows: len(rows) >= len(AGENTS))
    assert {row["agent"] for row in rows} == AGENTS
    [today] = told.panel("Today", Chosen())
    assert today["chosen"] == pytest.approx(float(Decimal(told.story["ledger_usd"])))
    [spent] = until(
        lambda: told.prometheus.query('max(curb_spent_dollars{scope="global",period="day"})'), bool
    )
    assert float(spent["value"][1]) == pytest.approx(today["chosen"])


def test_the_dashboard_of_runs_shows_how_each_ended(told: Told) -> None:
    rows = {row["agent"]: row for row in told.panel("Spend by run", Chosen())}
    assert {agent: rows[agent]["status"] for agent in AGENTS} == {
        agent: run["status"] for agent, run in told.runs.items()
    }
    assert rows["runaway"]["reason"].startswith("repeated_call")
    steps = told.panel("Its steps", Chosen(run=told.runs["survivor"]["id"]))
    assert {step["state"] for step in steps} == {"settled"}
    assert len(steps) > told.runs["survivor"]["steps"]  # one was begun by the worker that was killed


def test_metrics_tell_what_was_cut_and_what_was_stopped(told: Told) -> None:
    cut = told.prometheus.query('sum by (agent) (llm_requests_total{status="killed"}) > 0')
    assert {"talker", "endless"} <= {each["metric"]["agent"] for each in cut}
    [loops] = told.prometheus.query('curb_loop_rules_total{agent="runaway"} > 0')
    assert loops["metric"]["rule"] == "repeated_call"
    ended = told.prometheus.query('agent_task_completion_total{status="killed"} > 0')
    assert {each["metric"]["agent"] for each in ended} == {"runaway", "endless"}


def test_the_console_shows_every_run_and_why_it_ended(told: Told) -> None:
    with httpx.Client(base_url=told.door, follow_redirects=True) as client:
        page = client.get("/console").text
        assert all(agent in page for agent in AGENTS)
        for agent, run in told.runs.items():
            of_run = client.get(f"/console/runs/{run['id']}").text
            assert run["status"] in of_run, agent
            assert told.story["temporal_ui"] in of_run
        assert "repeated_call" in client.get(f"/console/runs/{told.runs['runaway']['id']}").text
        assert "notes.md" in client.get(f"/console/runs/{told.runs['shadow']['id']}").text


def test_every_run_is_a_trace_with_its_calls_under_it(told: Told) -> None:
    spans = told.collector.spans
    roots = {span.name.removeprefix("invoke_agent "): span for span in spans if "invoke_agent" in span.name}
    assert set(roots) == AGENTS
    for agent, root in roots.items():
        calls = [each for each in spans if each.trace_id == root.trace_id and each.name.startswith("chat")]
        assert len(calls) >= told.runs[agent]["steps"], agent
        assert all(root.start_time_unix_nano <= each.start_time_unix_nano for each in calls)
    names = {each.name for each in spans if each.trace_id == roots["steady"].trace_id}
    assert "execute_tool write_file" in names


@pytest.mark.parametrize("said", [b"Find the answer", b"Explain everything", b"story", b"25 bytes"])
def test_nothing_that_was_said_is_in_a_trace(told: Told, said: bytes) -> None:
    assert said not in b"".join(span.SerializeToString() for span in told.collector.spans)
