"""curb dev: what happens when a port is taken between the look and the start."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PortTaken
from worker.cli import development
from worker.cli.servers import House
from worker.config import load_config
from worker.settings import Settings
from worker.stack import StackRecord, ports


async def _start(monkeypatch: pytest.MonkeyPatch, directory: Path, *, taken: int) -> list[int]:
    """Serve where the first so many ports are taken by the time; returns the ports that were tried."""
    numbers = iter(range(20_001, 30_000))
    tried: list[int] = []

    async def serve(known: House, *_: Any, **__: Any) -> None:
        tried.append(known.settings.http_port)
        if len(tried) <= taken:
            raise PortTaken("port: Address already in use")

    monkeypatch.setattr(development, "_serve", serve)
    monkeypatch.setattr(ports, "choose", lambda wanted: next(numbers))
    await development._serve_somewhere(
        Settings(data_dir=directory, metrics_port=0),
        load_config(None),
        StackRecord(directory=str(directory), owner_pid=os.getpid(), owner_started=0.0),
        (),
        (),
        asyncio.Event(),
        as_json=False,
    )
    return tried


async def test_a_port_that_is_taken_by_the_time_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert await _start(monkeypatch, tmp_path, taken=1) == [20_001, 20_002]
    assert (tmp_path / "front_door_port").read_text() == "20002"


async def test_ports_that_are_always_taken_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(PortTaken):
        await _start(monkeypatch, tmp_path, taken=99)
