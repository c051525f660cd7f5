"""http_get against a real web server: the allow-list holds, also over redirects and names."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activities.toolbox import Toolbox, ToolOutcome
from gateway.agents import Agent
from gateway.calls import ToolUse
from tests.integration.servers import free_port

SCRIPT = str(Path(__file__).parent / "servers" / "web_server.py")


def _start(port: int, *arguments: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, SCRIPT, str(port), *arguments])
    scheme = "https" if len(arguments) > 1 else "http"
    transport = httpx.HTTPTransport(retries=10, verify=False)  # backs off by itself until the port is open
    with httpx.Client(transport=transport) as client:
        client.get(f"{scheme}://127.0.0.1:{port}/page")
    return process


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """`127.0.0.1:port` of a server whose redirect `out` leads to its other name, localhost."""
    port = free_port()
    process = _start(port, f"http://localhost:{port}/page")
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def secure(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`localhost:port` of a TLS server whose certificate, trusted here, is for the name asked for."""
    certificate = tmp_path / "both.pem"
    certificate.write_bytes(_certificate(request.param))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    port = free_port()
    process = _start(port, "", str(certificate))
    yield f"localhost:{port}"
    process.kill()
    process.wait()


def _certificate(name: str) -> bytes:
    """A self-signed certificate for one host name, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


async def _get(url: str, *allow: str) -> ToolOutcome:
    async with Toolbox() as box:
        return await box.execute(
            ToolUse(id="t", name="http_get", arguments=json.dumps({"url": url})),
            agent=Agent(name="a", tools=("http_get",), http_allow=allow),
            mode="live",
            idempotency_key="k",
        )


async def _refused(url: str, *allow: str) -> str:
    outcome = await _get(url, *allow)
    assert outcome.result.is_error, outcome.result.content
    return outcome.result.content


async def test_fetches_text(web: str) -> None:
    outcome = await _get(f"http://{web}/page?q=1", web)

    assert outcome.result.content == (
        f"HTTP 200, text/plain; charset=utf-8, {len(web) + 12} bytes\n\nhost={web} q=1 ü"
    )


async def test_the_server_is_asked_by_its_name(web: str) -> None:
    by_name = web.replace("127.0.0.1", "localhost")

    assert f"host={by_name} " in (await _get(f"http://{by_name}/page", by_name)).result.content


@pytest.mark.parametrize("secure", ["localhost"], indirect=True)
async def test_tls_is_checked_against_the_name_though_the_connection_goes_to_the_address(secure: str) -> None:
    outcome = await _get(f"https://{secure}/page", secure)

    assert f"host={secure} " in outcome.result.content


@pytest.mark.parametrize("secure", ["other.test"], indirect=True)
async def test_a_certificate_for_another_name_is_refused(secure: str) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in await _refused(f"https://{secure}/page", secure)


async def test_an_empty_list_allows_nothing(web: str) -> None:
    assert "not on the list" in await _refused(f"http://{web}/page")


async def test_a_prefix_allows_what_is_below(web: str) -> None:
    prefix = f"http://{web}/api/"

    assert not (await _get(f"http://{web}/api/page", prefix)).result.is_error
    assert "not on the list" in await _refused(f"http://{web}/private/page", prefix)
    assert "not on the list" in await _refused(f"http://{web}/api/to/above", prefix)


async def test_a_redirect_inside_of_the_list_is_followed(web: str) -> None:
    assert "q=moved" in (await _get(f"http://{web}/to/here", web)).result.content


async def test_a_redirect_out_of_the_list_is_not_followed(web: str) -> None:
    said = await _refused(f"http://{web}/to/out", web)

    assert said.startswith("http://localhost:")
    assert "not on the list" in said


async def test_redirects_are_bounded(web: str) -> None:
    assert "redirects more than 5 times" in await _refused(f"http://{web}/to/loop", web)


@pytest.mark.parametrize("name", ["127.1", "0x7f.1", "2130706433"])
async def test_a_name_that_leads_to_a_private_address_is_refused(web: str, name: str) -> None:
    """These spell 127.0.0.1 as the resolver reads names; the list names them, not the address."""
    host = web.replace("127.0.0.1", name)

    assert "private address" in await _refused(f"http://{host}/page", host)


async def test_too_much_is_refused(web: str) -> None:
    assert "larger than 1,000,000 bytes" in await _refused(f"http://{web}/big", web)


async def test_what_is_not_text_is_refused(web: str) -> None:
    assert "not text" in await _refused(f"http://{web}/picture", web)


async def test_an_error_answer_is_an_error_result(web: str) -> None:
    assert await _refused(f"http://{web}/missing", web) == "HTTP 404: no such thing"


async def test_nobody_listening_is_said() -> None:
    host = f"127.0.0.1:{free_port()}"

    assert "cannot be fetched" in await _refused(f"http://{host}/", host)


@pytest.mark.parametrize("url", ["not a url", "http://", "http://[", "javascript:alert(1)", "http://a:b:c/"])
async def test_what_is_no_url_is_said(url: str) -> None:
    await _refused(url, "example.org")


async def test_a_host_that_does_not_exist_is_said() -> None:
    assert "cannot be resolved" in await _refused("http://curb.invalid/", "curb.invalid")
