"""Exit statuses (DESIGN 10)."""

from enum import IntEnum

INTERRUPTED = 130


class Status(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    FAILED = 1  # the run or check did not succeed
    USAGE = 2  # usage or bad configuration
    MISSING = 3  # something needed is missing or unreachable
