"""The errors of the gateway.

CurbError
├── ConfigurationError        curb.yaml, environment or arguments are wrong; names the field
├── ProviderError             an attempt at a provider failed (see gateway.providers.errors)
├── StateUnavailable          Redis cannot be reached, or admission is closed
├── StoreUnavailable          Postgres cannot be reached
├── Conflict                  what is to be changed is not as the caller believes
└── NotFound                  no such run, conversation, agent or attempt
"""


class CurbError(Exception):
    """Anything curb raises on purpose."""


class ConfigurationError(CurbError):
    """A setting is missing or wrong; the message names the file, the field and the remedy."""


class PortTaken(ConfigurationError):
    """Somebody else listens where this process was told to."""


class StateUnavailable(CurbError):
    """Redis cannot be reached, or closed admission: nothing may be bought."""


class StoreUnavailable(CurbError):
    """Postgres cannot be reached."""


class NotFound(CurbError):
    """There is no such run, conversation, agent or attempt."""


class Conflict(CurbError):
    """What is to be made or changed is not as the caller believes: it is there already, or has changed."""
