"""Runs sync tools in threads that a hung tool cannot take away from the process.

Daemon threads rather than an executor: its threads are joined at exit, so one tool that never
returns would keep a worker from ever shutting down.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

from activities.toolbox.errors import ToolError

_T = TypeVar("_T")


class Threads:
    """At most `limit` sync tools at a time, those included that were given up but still run."""

    def __init__(self, limit: int) -> None:
        self._free = threading.BoundedSemaphore(limit)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Result of `work`, run in a thread with this task's context variables.

        Cancelling stops the waiting, not the thread. Raises ToolError if no thread is free.
        """
        if not self._free.acquire(blocking=False):
            raise ToolError("Too many tools are running on this worker; try again later")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=self._work, args=(lambda: context.run(work), loop, done), name="curb-tool", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._free.release()
            raise
        return await done

    def _work(
        self, work: Callable[[], _T], loop: asyncio.AbstractEventLoop, done: "asyncio.Future[_T]"
    ) -> None:
        try:
            report = _outcome(work, done)
        finally:
            self._free.release()
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is whoever waited
            loop.call_soon_threadsafe(report)


def _outcome(work: Callable[[], _T], done: "asyncio.Future[_T]") -> Callable[[], None]:
    """Runs `work`; returns what tells the waiting task how it went."""
    try:
        result = work()
    except StopIteration as error:  # a future refuses to carry it
        return _failing(done, RuntimeError(f"StopIteration: {error}"))
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, not to this thread
        return _failing(done, error)
    return lambda: None if done.done() else done.set_result(result)


def _failing(done: "asyncio.Future[_T]", error: BaseException) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_exception(error)
