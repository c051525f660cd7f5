"""`.curb/stack.json`: where everything is, for people, for programs and for the next start."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.stack.errors import StackError
from worker.stack.ports import LOOPBACK
from worker.stack.processes import Identity

FILE_NAME = "stack.json"


class ServerRecord(BaseModel):
    """One server: which process it is, how it was started, on which ports, and its log."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: float
    command: tuple[str, ...]
    ports: dict[str, int]
    log: str

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


class StackRecord(BaseModel):
    """The servers of one directory and the process that owns them."""

    model_config = ConfigDict(frozen=True)

    directory: str
    owner_pid: int
    owner_started: float
    servers: dict[str, ServerRecord] = Field(default_factory=dict)
    addresses: dict[str, str] = Field(default_factory=dict)

    @property
    def owner(self) -> Identity:
        return Identity(self.owner_pid, self.owner_started)

    @property
    def redis_url(self) -> str:
        return self._address("redis_url")

    @property
    def database_url(self) -> str:
        return self._address("database_url")

    @property
    def temporal_address(self) -> str:
        return self._address("temporal_address")

    @property
    def temporal_ui(self) -> str:
        return self._address("temporal_ui")

    @property
    def simulator_url(self) -> str:
        return self._address("simulator_url")

    def _address(self, name: str) -> str:
        try:
            return self.addresses[name]
        except KeyError:
            raise StackError(f"{name}: that server is not part of the stack in {self.directory}") from None


def addresses(ports: dict[str, int]) -> dict[str, str]:
    """What clients need to know, by the name it has on Stack, from ports by server."""
    forms = {
        "valkey": ("redis_url", "redis://{0}:{1}/0"),
        "postgres": ("database_url", "postgresql://postgres@{0}:{1}/curb"),
        "temporal": ("temporal_address", "{0}:{1}"),
        "temporal_ui": ("temporal_ui", "http://{0}:{1}"),
        "simulator": ("simulator_url", "http://{0}:{1}"),
    }
    return {
        name: form.format(LOOPBACK, ports[server])
        for server, (name, form) in forms.items()
        if server in ports
    }


def write(directory: Path, record: StackRecord) -> None:
    """Replace the record in one step: a reader sees the old one or the new one, whole."""
    fresh = directory / f".{FILE_NAME}.{os.getpid()}"
    fresh.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    fresh.replace(directory / FILE_NAME)


def read(directory: Path) -> StackRecord | None:
    """The record, or None if there is none that can be read."""
    try:
        return StackRecord.model_validate_json((directory / FILE_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def remove(directory: Path) -> None:
    (directory / FILE_NAME).unlink(missing_ok=True)
