"""Which addresses http_get may ask: hosts and URL prefixes, nothing else.

`example.org` allows http and https at their usual ports, `example.org:8080` that port, and
`https://example.org/api/` that scheme, host, port and everything below that path.
"""

import ipaddress
from dataclasses import dataclass

import httpx

from gateway.errors import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class _Rule:
    """None means any of http and https, at its usual port. path ends in "/", or is ''."""

    scheme: str | None
    host: str
    port: int | None
    path: str

    def permits(self, url: httpx.URL) -> bool:
        if self.scheme not in (None, url.scheme) or self.host != url.host:
            return False
        default = _DEFAULT_PORTS[url.scheme]
        return (url.port or default) == (self.port or default) and self._is_below(url)

    def _is_below(self, url: httpx.URL) -> bool:
        if not self.path:
            return True
        path = url.raw_path.split(b"?")[0].decode("ascii").lower()
        # A server may read these as "..", "/" or "\", and leave the prefix by them.
        if any(trick in path for trick in ("%2e", "%2f", "%5c", "\\")):
            return False
        return f"{url.path}/".startswith(self.path)


@dataclass(frozen=True, slots=True)
class AllowList:
    """Agent.http_allow, understood. Empty: nothing is allowed."""

    rules: tuple[_Rule, ...]

    @classmethod
    def parse(cls, entries: tuple[str, ...]) -> "AllowList":
        """Raises ConfigurationError for what is neither a host nor an http(s) URL."""
        return cls(tuple(_rule(entry) for entry in entries))

    def permits(self, url: httpx.URL) -> bool:
        return url.scheme in _DEFAULT_PORTS and any(rule.permits(url) for rule in self.rules)

    def permits_address(self, address: str) -> bool:
        """Whether to connect there: public addresses, and others only if named themselves."""
        ip = _unmapped(ipaddress.ip_address(address.partition("%")[0]))
        if ip.is_global and not ip.is_multicast:
            return True
        return any(_names(rule.host, ip) for rule in self.rules)


def _rule(entry: str) -> _Rule:
    is_prefix = "://" in entry
    try:
        url = httpx.URL(entry if is_prefix else f"http://{entry}")
        understood = url.scheme in _DEFAULT_PORTS and bool(url.host) and "*" not in url.host
    except (httpx.InvalidURL, ValueError):
        understood = False
    if not understood or any(sign in entry for sign in ("@", "?", "#")) or (not is_prefix and "/" in entry):
        raise ConfigurationError(
            f"http_allow: {entry!r} is neither a host (example.org, example.org:8080) "
            "nor the beginning of a URL (https://example.org/api/)"
        )
    path = f"{url.path.rstrip('/')}/" if is_prefix and url.path != "/" else ""
    return _Rule(url.scheme if is_prefix else None, url.host, url.port, path)


def _unmapped(ip: Address) -> Address:
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _names(host: str, ip: Address) -> bool:
    if host == "localhost":
        return ip.is_loopback
    try:
        return _unmapped(ipaddress.ip_address(host)) == ip
    except ValueError:
        return False
