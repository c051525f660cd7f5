"""The embedded stack: real Valkey, PostgreSQL, Temporal and a simulated provider, without Docker.

`Stack` starts, finds and stops them together. One module per server says how it is run
(valkey, postgres, temporal, simulator); `server` is the life of any of them.
"""

from worker.stack.errors import StackAlreadyRunning, StackError
from worker.stack.record import StackRecord
from worker.stack.server import Server
from worker.stack.stack import FREE_PORTS, SERVERS, Stack

__all__ = ["FREE_PORTS", "SERVERS", "Server", "Stack", "StackAlreadyRunning", "StackError", "StackRecord"]
