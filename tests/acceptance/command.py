"""`curb` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from worker.settings import variables

T = TypeVar("T")
CURB = (sys.executable, "-m", "worker.cli")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be exactly one document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Curb:
    """Runs commands in one directory, with only these settings in the environment."""

    directory: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        done = subprocess.run(
            (*CURB, *arguments),
            cwd=self.directory,
            env=self.environment(settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        """The document of a command that succeeds."""
        done = self(*arguments, "--json")
        assert done.status == 0, done.err
        return done.json

    def until(self, look: Callable[[], T], condition: Callable[[T], bool], seconds: float = 45) -> T:
        """Look again and again until it is so; returns what was seen last."""
        deadline = time.monotonic() + seconds
        while not condition(seen := look()):
            assert time.monotonic() < deadline, seen
            time.sleep(_POLL_SECONDS)
        return seen

    def until_run(self, run: str, condition: Callable[[Any], bool]) -> Any:
        """Wait for a run to come to something."""
        return self.until(lambda: self.json("show", run), condition)

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in variables()}
        keys = [name for name in ours if name.endswith("_API_KEY") or name == "CURB_DEBUG"]
        return {name: ours[name] for name in ours if name not in keys} | dict(self.settings) | dict(settings)


class Dev:
    """`curb dev` while it runs. places: what it printed about itself."""

    def __init__(self, curb: Curb, *arguments: str, metrics_port: int = 0) -> None:
        self.errors = curb.directory / "dev.err"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                (*CURB, "dev", "--json", *arguments),
                cwd=curb.directory,
                env=curb.environment({"CURB_METRICS_PORT": str(metrics_port)}),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            self.places = self._places()
        except BaseException:
            self.kill()
            raise

    def _places(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                places: dict[str, Any] = json.loads(text)
                return places
        raise AssertionError(self.errors.read_text())

    def stop(self) -> int:
        """Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self._ended()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


class Gateway:
    """`curb gateway` on a free port, with the servers that its folder or settings name."""

    def __init__(self, curb: Curb, **settings: str) -> None:
        self.process = subprocess.Popen(
            (*CURB, "gateway", "--port", "0"),
            cwd=curb.directory,
            env=curb.environment({"CURB_METRICS_PORT": "0", **settings}),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = (line for line in self.process.stderr if "the front door is at" in line)
        self.url = next(said, "").split()[5].rstrip(";")

    def close(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ended(self) -> str:
        """Wait for its end; what it said last."""
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        assert self.process.wait(30) == 0
        self.process.stderr.close()
        return said
