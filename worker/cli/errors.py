"""Errors as people read them: a sentence with the field and the remedy, and an exit status."""

from gateway.errors import ConfigurationError, CurbError, StateUnavailable, StoreUnavailable
from gateway.policy.money import MoneyError
from worker.cli.status import Status

# By name: importing these modules takes half a second.
_MISSING = frozenset(
    {
        "ServersMissing",
        "Unreachable",
        "StackError",
        "UsageUnavailable",
        "TemporalUnavailable",
        "NobodyAnswers",
    }
)
_DOCTOR = "`curb doctor` says what is missing"


class ServersMissing(CurbError):
    """No address is known for a server that the command needs."""


class Unreachable(CurbError):
    """A server that the command needs does not answer."""


class Failed(CurbError):
    """The command did what it could, and the answer is no."""


class Misused(CurbError):
    """An argument that cannot be."""


def described(error: Exception) -> tuple[Status, str]:
    """The exit status and what to say."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ConfigurationError | MoneyError | Misused):
        return Status.USAGE, str(error)
    if isinstance(error, StateUnavailable | StoreUnavailable):
        return Status.MISSING, f"{error}. Is it running? {_DOCTOR}"
    if kinds & _MISSING:
        return Status.MISSING, str(error)
    if isinstance(error, CurbError):
        return Status.FAILED, str(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Status.FAILED, f"unexpected: {text} (CURB_DEBUG=1 shows where)"
