"""The other gateways' programs: installed into curb's cache when they are first wanted.

What is installed is pinned beside this module; a change of pins is a directory of its own.
"""

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from worker.stack.kinds import tail
from worker.stack.temporal_binary import cache_directory

_PINS = Path(__file__).parent
_DONE = ".installed"
_INSTALL_SECONDS = 900.0


async def litellm() -> Path:
    """LiteLLM's proxy in a virtual environment of its own: the command. SystemExit when that fails."""
    pins = _PINS / "litellm.txt"
    place = _place("litellm", pins)
    python = place / "venv/bin/python"
    if uv := shutil.which("uv"):
        steps = [
            (uv, "venv", "--quiet", "--python", sys.executable, place / "venv"),
            (uv, "pip", "install", "--quiet", "--python", python, "-r", pins),
        ]
    else:
        steps = [
            (sys.executable, "-m", "venv", place / "venv"),
            (python, "-m", "pip", "install", "--quiet", "--no-input", "-r", pins),
        ]
    await _install("LiteLLM", place, steps)
    return place / "venv/bin/litellm"


async def portkey() -> Path:
    """Portkey's gateway as npm has it: the script that Node runs. SystemExit when that fails."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise SystemExit("bench: Portkey's gateway needs Node.js and npm on PATH")
    pins = _PINS / "package.json"
    place = _place("portkey", pins)
    options = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
    await _install("Portkey", place, [("cp", pins, place), (npm, "install", *options)])
    return place / "node_modules/@portkey-ai/gateway/build/start-server.js"


def _place(name: str, pins: Path) -> Path:
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    return cache_directory().parent / "rivals" / f"{name}-{digest}"


async def _install(name: str, place: Path, steps: Sequence[Sequence[str | Path]]) -> None:
    """Do the steps, unless all of them were done before; what was done by half is done anew."""
    if (place / _DONE).exists():
        return
    print(f"installing {name} into {place} ...", file=sys.stderr, flush=True)
    await asyncio.to_thread(_empty, place)
    log = place / "install.log"
    for step in steps:
        if await _run(step, place, log):
            raise SystemExit(f"bench: {name} could not be installed; {log} ends:\n{tail(log)}")
    (place / _DONE).touch()


def _empty(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)


async def _run(command: Sequence[str | Path], place: Path, log: Path) -> int:
    """Its exit status. It ends with whoever waits for it."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=place, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
