"""The errors of the embedded stack.

StackError                a server cannot be found, installed, started or stopped
└── StackAlreadyRunning   another process owns the stack of this directory
"""

from gateway.errors import CurbError


class StackError(CurbError):
    """A server cannot be found, installed, started or stopped; the message names log and remedy."""


class StackAlreadyRunning(StackError):
    """Another living process owns the stack of this directory; the message says where it is."""
