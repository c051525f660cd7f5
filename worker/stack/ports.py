"""TCP ports on the loopback interface."""

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on at this instant."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether a server could not bind this port: somebody listens on it, here or on all interfaces."""
    return not _can_bind(LOOPBACK, port) or not _can_bind("", port)


def choose(wanted: int) -> int:
    """The wanted port if it can be had, else a free one; 0 wants any."""
    return wanted if wanted and not is_taken(wanted) else free_port()


def _can_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a connection that lingers in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
