"""http_allow: which URLs and which addresses http_get may reach."""

import httpx
import pytest

from activities.toolbox import Toolbox
from activities.toolbox.builtin.allowlist import AllowList
from gateway.agents import Agent
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("example.org", "https://example.org/any?x=1"),
        ("example.org", "http://EXAMPLE.org"),
        ("example.org:8080", "http://example.org:8080/"),
        ("https://example.org/api/", "https://example.org/api/v1"),
        ("https://example.org/api", "https://example.org/api"),
        ("https://example.org/api", "https://example.org:443/api/x"),
        ("https://example.org", "https://example.org/any"),
        ("http://[::1]:80/", "http://[::1]/"),
    ],
)
def test_permitted(entry: str, url: str) -> None:
    assert AllowList.parse((entry,)).permits(httpx.URL(url))


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("example.org", "https://example.org.evil.test/"),
        ("example.org", "https://sub.example.org/"),
        ("example.org", "https://example.org:6379/"),
        ("example.org", "https://example.org@evil.test/"),
        ("example.org", "ftp://example.org/"),
        ("example.org", "file:///etc/passwd"),
        ("example.org", "/relative"),
        ("https://example.org", "https://example.org.evil.test/"),
        ("https://example.org", "http://example.org/"),
        ("https://example.org/api", "https://example.org/apiary"),
        ("https://example.org/api", "https://example.org/api/../admin"),
        ("https://example.org/api", "https://example.org/api/%2e%2e/admin"),
        ("https://example.org/api", "https://example.org/api/..%2fadmin"),
        ("https://example.org/api", "https://example.org/api/..%5Cadmin"),
    ],
)
def test_not_permitted(entry: str, url: str) -> None:
    assert not AllowList.parse((entry,)).permits(httpx.URL(url))


def test_an_empty_list_permits_nothing() -> None:
    assert not AllowList.parse(()).permits(httpx.URL("https://example.org/"))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fe80::1%eth0",
                                     "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "100.64.0.1"])  # fmt: skip
def test_private_addresses_need_to_be_named(address: str) -> None:
    assert not AllowList.parse(("example.org",)).permits_address(address)


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("http://10.0.0.5:8000/api", "10.0.0.5"),
        ("localhost:9000", "127.0.0.1"),
        ("localhost:9000", "::1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("example.org", "93.184.215.14"),
    ],
)
def test_named_and_public_addresses_are_permitted(entry: str, address: str) -> None:
    assert AllowList.parse((entry,)).permits_address(address)


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.example.org", "ftp://example.org", "example.org/path", "http://", "a@b", "https://h/?q"],
)
def test_entries_that_are_neither_host_nor_url_are_configuration_errors(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="http_allow"):
        Toolbox().check(Agent(name="a", tools=("http_get",), http_allow=(entry,)))
