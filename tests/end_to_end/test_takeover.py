"""Apps that stay as they are: CONNECT proxy, private CA, and what is refused
(docs/spec/twilio-api.md#four-ways-to-point-an-sdk-at-the-gateway)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from testing import TO, GatewayUnderTest

from gateway.proxy.authority import Authority, AuthorityError, create, is_ours
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

UNTOUCHED = """
import ipaddress
import os
from twilio.rest import Client

client = Client()  # everything from the environment, as it always was
service = client.messaging.v1.services.list(limit=1)[0]
message = client.messages.create(to=os.environ["TO"], messaging_service_sid=service.sid, body="hi")
first = [one.sid for one in client.messages.list(limit=1, page_size=1)]
pages = [one.sid for one in client.messaging.v1.services.list(page_size=1)]
region = Client(region="au1", edge="sydney").messages(message.sid).fetch()
print(message.sid, message.status, first == [message.sid], len(pages), region.sid == message.sid)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "ca", datetime.now(UTC))
    return tmp_path / "ca"


async def run(program: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_an_untouched_script_moves_over_by_two_variables(
    start_gateway: Start, smsc: Smsc, folder: Path
) -> None:
    gateway = await start_gateway(smsc.port, proxy={"port": 0, "ca_dir": folder})
    sdk = await gateway.sdk()
    assert gateway.inner.server.listeners is not None
    port = gateway.inner.server.listeners.proxy_port
    environment = {
        "HTTPS_PROXY": f"http://127.0.0.1:{port}",
        "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
        "TWILIO_ACCOUNT_SID": sdk.account_sid,
        "TWILIO_AUTH_TOKEN": sdk.auth_token,
        "TO": TO,
    }
    sid, *rest = (await run(UNTOUCHED, environment)).split()
    assert rest == ["accepted", "True", "1", "True"]
    await sdk.reaches(sid, "delivered")


async def test_without_the_certificate_an_app_does_not_trust_us(
    start_gateway: Start, smsc: Smsc, folder: Path
) -> None:
    gateway = await start_gateway(smsc.port, proxy={"tls_port": 0, "ca_dir": folder})
    assert gateway.inner.server.listeners is not None
    port = gateway.inner.server.listeners.tls_port
    trusting = ssl.create_default_context(cafile=folder / "ca.pem")
    for name in ("api.twilio.com", "messaging.sydney.au1.twilio.com"):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname=name
        )
        writer.close()
    for context, name in (
        (ssl.create_default_context(), "api.twilio.com"),
        (trusting, "example.com"),
        (trusting, "twilio.com.example.com"),
    ):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT example.com:443 HTTP/1.1", 403),
        ("CONNECT api.twilio.com:80 HTTP/1.1", 403),
        ("CONNECT twilio.com.evil.example:443 HTTP/1.1", 403),
        ("CONNECT eviltwilio.com:443 HTTP/1.1", 403),
        ("CONNECT 127.0.0.1:443 HTTP/1.1", 403),
        ("GET http://api.twilio.com/ HTTP/1.1", 405),
        ("nonsense", 400),
        ("CONNECT api.twilio.com:443 HTTP/1.0", 200),
        ("CONNECT API.Twilio.com:443 HTTP/1.1", 200),
    ],
)
async def test_nothing_but_our_own_names_is_served(
    start_gateway: Start, smsc: Smsc, folder: Path, request_line: str, status: int
) -> None:
    gateway = await start_gateway(smsc.port, proxy={"port": 0, "ca_dir": folder})
    assert gateway.inner.server.listeners is not None
    port = gateway.inner.server.listeners.proxy_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    answer = await reader.readline()
    assert answer.split()[1] == str(status).encode()
    writer.close()


async def test_a_request_without_an_end_is_cut_off(
    start_gateway: Start, smsc: Smsc, folder: Path
) -> None:
    gateway = await start_gateway(smsc.port, proxy={"port": 0, "ca_dir": folder})
    assert gateway.inner.server.listeners is not None
    port = gateway.inner.server.listeners.proxy_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT api.twilio.com:443 HTTP/1.1\r\n" + b"X: y\r\n" * 5_000)
    assert b" 431 " in await reader.readline()
    writer.close()


def test_an_authority_is_made_once_and_vouches_for_one_domain(folder: Path) -> None:
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(AuthorityError, match="there already"):
        create(folder, datetime.now(UTC))
    before = (folder / "ca.pem").read_bytes()
    create(folder, datetime.now(UTC), anew=True)
    assert (folder / "ca.pem").read_bytes() != before
    with pytest.raises(AuthorityError, match="ca init"):
        Authority(folder.parent / "elsewhere")


def handshake(ca: Path, server: ssl.SSLContext, name: str) -> None:
    """Raises ssl.SSLError when a client that trusts the authority does not take the server."""
    client = ssl.create_default_context(cafile=str(ca))
    ways = [ssl.MemoryBIO() for _ in range(2)]
    ends = (
        client.wrap_bio(ways[0], ways[1], server_hostname=name),
        server.wrap_bio(ways[1], ways[0], server_side=True),
    )
    done: set[int] = set()
    while len(done) < 2:
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize(
    "name",
    [
        *("api.twilio.com", "messaging.ie1.twilio.com", "api.dublin.ie1.twilio.com"),
        *("conversations.sydney.au1.twilio.com", "api.sao-paulo.br1.twilio.com", "x.ashburn.us1"),
    ],
)
def test_one_leaf_stands_for_all_that_an_sdk_calls(folder: Path, name: str) -> None:
    context = Authority(folder).server_context()
    if name.endswith("twilio.com"):
        handshake(folder / "ca.pem", context, name)
    else:
        with pytest.raises(ssl.SSLError):
            handshake(folder / "ca.pem", context, name)


@pytest.mark.parametrize("name", ["127.0.0.1", "1.1.1.1", "::1", "google.com", "api.twilio.com"])
def test_the_authority_vouches_for_no_address_and_no_other_name(folder: Path, name: str) -> None:
    """Even with its key in hand: what it signs for another is believed by nobody."""
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(name))]
    except ValueError:
        names = [x509.DNSName(name)]
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    chain = folder / "leaf.pem"
    chain.write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    if name == "api.twilio.com":
        handshake(folder / "ca.pem", context, name)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(folder / "ca.pem", context, name)


def test_the_authority_is_bound_for_every_kind_of_name(folder: Path) -> None:
    """Of mail and URIs no client of ours asks; a verifier that does finds them shut out."""
    certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    bound = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert bound.critical
    assert bound.value.permitted_subtrees is not None
    assert bound.value.excluded_subtrees is not None
    kinds = {type(name) for name in bound.value.permitted_subtrees}
    assert kinds == {x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier}
    assert {str(name.value) for name in bound.value.excluded_subtrees} == {"0.0.0.0/0", "::/0"}


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("api.twilio.com", True),
        ("messaging.sydney.au1.twilio.com", True),
        ("a.b.c.d.twilio.com", True),
        ("a.b.c.d.e.twilio.com", False),
        ("twilio.com", False),
        (".twilio.com", False),
        ("api.twilio.com.example.com", False),
        ("-.twilio.com", False),
        ("x" * 63 + ".twilio.com", True),
        ("x" * 64 + ".twilio.com", False),
    ],
)
def test_which_names_are_ours(host: str, ours: bool) -> None:
    assert is_ours(host) is ours
