"""Apps that stay as they are: CONNECT proxy, private CA, and what is refused (twilio-api §1.3)."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from testing import TO, GatewayUnderTest

from gateway.takeover.authority import Authority, AuthorityError, create, is_ours
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

UNTOUCHED = """
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
    assert gateway.inner.listeners is not None
    port = gateway.inner.listeners.proxy_port
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
    assert gateway.inner.listeners is not None
    port = gateway.inner.listeners.tls_port
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
    assert gateway.inner.listeners is not None
    port = gateway.inner.listeners.proxy_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    answer = await reader.readline()
    assert answer.split()[1] == str(status).encode()
    writer.close()


async def test_a_request_without_an_end_is_cut_off(
    start_gateway: Start, smsc: Smsc, folder: Path
) -> None:
    gateway = await start_gateway(smsc.port, proxy={"port": 0, "ca_dir": folder})
    assert gateway.inner.listeners is not None
    port = gateway.inner.listeners.proxy_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT api.twilio.com:443 HTTP/1.1\r\n" + b"X: y\r\n" * 5_000)
    assert b" 431 " in await reader.readline()
    writer.close()


def test_an_authority_is_made_once_and_vouches_for_one_domain(folder: Path) -> None:
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(AuthorityError, match="there already"):
        create(folder, datetime.now(UTC))
    authority = Authority(folder)
    assert authority.context_for("api.twilio.com") is authority.context_for("api.twilio.com")
    with pytest.raises(AuthorityError, match="ca init"):
        Authority(folder.parent / "elsewhere")


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
