"""The Temporal dev server's program, and the ways of getting it, in the order they are tried.

1. `temporal` on PATH
2. curb's cache, where ways 3 and 4 put it
3. `go install`, where Go is there: minutes, once
4. the download that the Temporal SDK brings
"""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker.stack.errors import StackError
from worker.stack.kinds import Say, tail

VERSION = "1.5.1"  # newer tags carry a replace directive, which `go install` refuses
GO_PACKAGE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
_GO_TIMEOUT_SECONDS = 1_800
_DOWNLOAD_TIMEOUT_SECONDS = 300
_PROGRESS_SECONDS = 5.0


class _Interrupted(StackError):
    """A person stopped the installation: do not try the next way."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of getting the program. there: usable at once. possible: can be tried on this machine."""

    name: Literal["PATH", "cache", "go install", "SDK download"]
    there: bool
    possible: bool
    detail: str
    remedy: str


def cache_directory() -> Path:
    """Where curb keeps programs that it installed: $XDG_CACHE_HOME/curb/bin."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "curb" / "bin"


def cached() -> Path:
    """The place of the program in curb's cache, whether it is there or not."""
    return cache_directory() / f"temporal-{VERSION}"


def find() -> Path | None:
    """The program if it is there already: on PATH, else in the cache."""
    on_path = shutil.which("temporal")
    if on_path:
        return Path(on_path).absolute()
    return cached() if os.access(cached(), os.X_OK) else None


def ways() -> tuple[Way, ...]:
    """Each way of getting the program and whether it is open on this machine, in order."""
    on_path, go, there = shutil.which("temporal"), _go(), os.access(cached(), os.X_OK)
    return (
        Way(
            "PATH",
            bool(on_path),
            bool(on_path),
            on_path or "no `temporal` on PATH",
            "install the Temporal CLI with your package manager (for example `brew install temporal`)",
        ),
        Way(
            "cache",
            there,
            there,
            str(cached()) if there else f"{cached()} is not there yet",
            "`curb dev` fills it by one of the next two ways; or copy a `temporal` program there yourself",
        ),
        Way(
            "go install",
            False,
            bool(go),
            f"{go} can build it: 2.5 minutes on 2 cores, once" if go else "no Go on PATH or in /usr/local/go",
            f"install Go 1.23 or later; `curb dev` then runs `go install {GO_PACKAGE}`",
        ),
        Way(
            "SDK download",
            False,
            True,
            "tried last: the Temporal SDK downloads the program (needs the open Internet)",
            "allow HTTPS to temporal.download and GitHub's release downloads",
        ),
    )


def find_or_install(say: Say) -> Path:
    """The program, installed into curb's cache if need be, with progress told to `say`. Blocking.

    Raises StackError that names every way and why it failed.
    """
    found = find()
    if found is not None:
        return found
    with _one_at_a_time(say):
        if os.access(cached(), os.X_OK):
            return cached()
        failures = []
        for install in (_go_install, _sdk_download):
            try:
                return install(say)
            except _Interrupted:
                raise
            except StackError as error:
                failures.append(str(error))
                say(f"Temporal: {error}")
        raise StackError(_explain(failures))


def _explain(failures: list[str]) -> str:
    reasons = ["`temporal` on PATH: not there", f"curb's cache: {cached()} is not there", *failures]
    return "\n".join(
        (
            "Temporal: no dev server on this machine, and none could be installed:",
            *(f"  {number}. {reason}" for number, reason in enumerate(reasons, 1)),
            "Install the Temporal CLI (docs.temporal.io/cli) so that `temporal` is on PATH, or install Go,",
            "or point CURB_TEMPORAL_ADDRESS to a server of your own. `curb doctor` shows each way.",
        )
    )


def _go() -> str | None:
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def _go_install(say: Say) -> Path:
    go = _go()
    if go is None:
        raise StackError("go install: Go is not there")
    log = cache_directory() / "temporal-install.log"
    say(f"Temporal: building the dev server with `go install {GO_PACKAGE}` (once; 2.5 minutes on 2 cores)")
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".build-") as place:
        with log.open("wb") as output:
            builder = subprocess.Popen(
                (go, "install", "-v", GO_PACKAGE),
                env={**os.environ, "GOBIN": place},
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _watch(builder, log, say)
        built = Path(place) / "temporal"
        if builder.returncode in (-signal.SIGINT, 128 + signal.SIGINT):
            raise _Interrupted("go install: interrupted; the next start goes on where it stood")
        if builder.returncode != 0 or not built.exists():
            raise StackError(f"go install: failed, see {log}: {tail(log, 3)}")
        return _keep(built)


def _watch(builder: "subprocess.Popen[bytes]", log: Path, say: Say) -> None:
    """Wait for the builder and say every few seconds how far it is. Kills it on the way out."""
    begun = time.monotonic()
    try:
        while builder.poll() is None:
            elapsed = time.monotonic() - begun
            if elapsed > _GO_TIMEOUT_SECONDS:
                raise StackError(f"go install: not done after {_GO_TIMEOUT_SECONDS} s, see {log}")
            try:
                builder.wait(_PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"Temporal: {time.monotonic() - begun:4.0f} s, {_progress(log)}")
    finally:
        if builder.poll() is None:
            builder.kill()
            builder.wait()


def _progress(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    loaded = sum(line.startswith("go: downloading") for line in lines)
    compiled = sum(not line.startswith("go: ") for line in lines)
    return f"{loaded} modules loaded, {compiled} packages compiled (about 1,300 in all)"


def _sdk_download(say: Say) -> Path:
    say("Temporal: downloading the dev server through the Temporal SDK")
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".download-") as place:
        try:
            asyncio.run(asyncio.wait_for(_start_and_stop(place), _DOWNLOAD_TIMEOUT_SECONDS))
        except (RuntimeError, TimeoutError, OSError) as error:
            raise StackError(f"SDK download: {str(error) or type(error).__name__}") from error
        programs = [path for path in Path(place).iterdir() if path.is_file() and os.access(path, os.X_OK)]
        if not programs:
            raise StackError("SDK download: it left no program behind")
        return _keep(programs[0])


async def _start_and_stop(place: str) -> None:
    """The SDK downloads as a part of starting a server."""
    from temporalio.testing import WorkflowEnvironment

    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=place, dev_server_download_version=f"v{VERSION}"
    )
    await environment.shutdown()


def _keep(program: Path) -> Path:
    program.chmod(0o755)
    return program.replace(cached())


@contextmanager
def _one_at_a_time(say: Say) -> Iterator[None]:
    """Hold a file lock: of several processes, one installs and the others wait for it."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    with (cache_directory() / ".installing").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Temporal: another process is installing it; waiting for that")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
