"""Requests to apps: what is let through, and what is said of each failure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from testing import AUTH_TOKEN
from twilio.request_validator import RequestValidator

from gateway.webhooks.client import BODY_LIMIT, WebhookClient, WebhookRequest
from gateway.webhooks.connections import Connections
from gateway.webhooks.cookies import IDLE_S, Cookies
from gateway.webhooks.guard import ForbiddenTarget, Guard
from gateway.webhooks.host_names import HostNames


@pytest.fixture
async def server() -> AsyncIterator[str]:
    app = web.Application()
    hops: list[str] = []

    async def ok(request: web.Request) -> web.Response:
        hops.append(request.headers.get("Authorization", ""))
        return web.Response(text=f"{request.method} {await request.text()}")

    async def loop(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/loop")

    async def once(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/ok")

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b"x" * 65536)
        return response

    async def signed(request: web.Request) -> web.Response:
        url = f"{request.scheme}://{request.host}{request.raw_path}"
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        valid = RequestValidator(AUTH_TOKEN).validate(
            url, form, request.headers["X-Twilio-Signature"]
        )
        token = request.headers["I-Twilio-Idempotency-Token"]
        return web.Response(text=f"{request.method} {valid} {token}")

    async def to_signed(request: web.Request) -> web.Response:
        raise web.HTTPPermanentRedirect("/signed?x=1+2")

    async def locked(request: web.Request) -> web.Response:
        hops.append(given := request.headers.get("Authorization", ""))
        if given != "Basic bWU6c2VjcmV0":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="a"'})
        return web.Response(text=str(len(hops)))

    async def digest(request: web.Request) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("Digest "):
            challenge = 'Digest realm="a", nonce="n", qop="auth"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(text="in")

    async def counting(request: web.Request) -> web.Response:
        count = int(request.cookies.get("count", "0")) + 1
        response = web.Response(text=str(count))
        response.set_cookie("count", str(count))
        return response

    async def third(request: web.Request) -> web.Response:
        hops.append("")
        return web.Response(status=200 if len(hops) == 3 else 503)

    async def nowhere(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "ftp://example.org/"})

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"12345")
        hops.append("")
        assert request.transport is not None
        request.transport.close()
        return response

    async def slow(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    for path, handler in (
        ("/ok", ok),
        ("/loop", loop),
        ("/once", once),
        ("/away", away),
        ("/large", large),
        ("/slow", slow),
        ("/signed", signed),
        ("/to-signed", to_signed),
        ("/locked", locked),
        ("/digest", digest),
        ("/counting", counting),
        ("/third", third),
        ("/nowhere", nowhere),
        ("/half", half),
    ):
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


class Moved:
    """A clock that stands until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def client(*, networks: tuple[str, ...] = ("127.0.0.0/8",), timeout_s: float = 5) -> WebhookClient:
    guard = Guard(allow_private=False, allow_networks=networks)
    return WebhookClient(guard, HostNames(), Connections(), timeout_s=timeout_s)


async def test_a_form_is_posted(server: str) -> None:
    async with client() as one:
        answer = await one.call(
            WebhookRequest(f"{server}/ok", [("a", "1+1"), ("b", "ü")], AUTH_TOKEN)
        )
    assert answer.ok
    assert answer.body == b"POST a=1%2B1&b=%C3%BC"


async def test_a_redirect_is_followed_with_its_body(server: str) -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest(f"{server}/once", [("a", "1")], AUTH_TOKEN))
    assert answer.body == b"POST a=1"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/loop", 11215),
        ("/away", 11205),
        ("/slow", 11203),
        ("/slow#rt=100", 11203),
        ("/nowhere", 11216),
        ("/half", 11206),
        ("/missing", 11200),
    ],
)
async def test_failures_say_which(server: str, path: str, code: int) -> None:
    async with client(timeout_s=0.5) as one:
        answer = await one.call(WebhookRequest(server + path, [], AUTH_TOKEN))
    assert not answer.ok
    assert answer.error_code == code
    assert answer.reason


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: ftp://a/\xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 \xff\r\nLocation: //[\xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 \xff\xed\xa0\x80\r\nX-\xff: \xff\r\nContent-Length: 0\r\n\r\n",
        b"\xffHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\xff\r\nContent-Length: x\xff\r\n\r\n",
    ],
)
async def test_what_no_text_can_hold_is_said_in_a_text_that_can_be_stored(answer: bytes) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(app, "127.0.0.1", 0) as listening, client() as one:
        port = listening.sockets[0].getsockname()[1]
        told = await one.call(WebhookRequest(f"http://127.0.0.1:{port}/", [], AUTH_TOKEN))
    assert not told.ok
    assert told.reason
    assert told.reason.encode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/signed", "/signed?tenant=7%20x", "/to-signed"])
async def test_the_sdk_accepts_the_signature_also_behind_a_redirect(
    server: str, method: str, path: str
) -> None:
    form = [("Body", "hé & 1+1=2"), ("To", "+15005550101"), ("Empty", "")]
    async with client() as one:
        answer = await one.call(
            WebhookRequest(server + path, form, AUTH_TOKEN, method=method, idempotency_token="t1")
        )
    assert answer.body.decode() == f"{method} True t1"


async def test_credentials_are_told_when_they_are_asked_for(server: str) -> None:
    url = server.replace("://", "://me:secret@")
    async with client() as one:
        first = await one.call(WebhookRequest(f"{url}/locked", [], AUTH_TOKEN))
        second = await one.call(WebhookRequest(f"{url}/locked", [], AUTH_TOKEN))
        wrong = await one.call(
            WebhookRequest(f"{url.replace('secret', 'no')}/locked", [], AUTH_TOKEN)
        )
        digest = await one.call(WebhookRequest(f"{url}/digest", [], AUTH_TOKEN))
    assert (first.body, second.body) == (b"2", b"3")  # it remembers who asks
    assert wrong.status == 401
    assert digest.body == b"in"
    assert not any("secret" in value for _, value in first.sent)


async def test_cookies_belong_to_a_pair_of_numbers_and_expire(server: str) -> None:
    clock = Moved()
    cookies = Cookies(clock)
    hook = WebhookRequest(f"{server}/counting", [], AUTH_TOKEN, cookies=cookies, pair=("a", "b"))
    async with client() as one:
        assert [(await one.call(hook)).body for _ in range(3)] == [b"1", b"2", b"3"]
        assert (await one.call(replace(hook, pair=("b", "a")))).body == b"1"
        clock.now += IDLE_S
        assert (await one.call(hook)).body == b"4"
        clock.now += IDLE_S + 1
        assert (await one.call(hook)).body == b"1"


async def test_cookies_of_the_most_silent_pair_are_forgotten(server: str) -> None:
    cookies = Cookies(Moved(), most_pairs=2)
    counts = []
    async with client() as one:
        for sender in ("a", "b", "c", "c", "a"):
            hook = WebhookRequest(
                f"{server}/counting", [], AUTH_TOKEN, cookies=cookies, pair=(sender, "x")
            )
            counts.append((await one.call(hook)).body)
    assert counts == [b"1", b"1", b"1", b"2", b"1"]


async def test_the_url_says_what_is_tried_again(server: str) -> None:
    async with client() as one:
        assert (await one.call(WebhookRequest(f"{server}/third", [], AUTH_TOKEN))).status == 503
        answer = await one.call(WebhookRequest(f"{server}/third#rc=2&rp=5xx", [], AUTH_TOKEN))
    assert answer.status == 200


async def test_a_wrong_retry_policy_is_told_beside_the_answer(server: str) -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest(f"{server}/ok#rp=never", [], AUTH_TOKEN))
    assert answer.ok
    assert answer.problem == 11243


async def test_an_unknown_host_is_11210() -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest("http://nobody.invalid/", [], AUTH_TOKEN))
    assert answer.error_code == 11210


async def test_a_server_without_tls_is_11220(server: str) -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest(server.replace("http:", "https:"), [], AUTH_TOKEN))
    assert answer.error_code == 11220


async def test_a_certificate_that_nobody_vouches_for_is_11237(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "both.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    listening = await asyncio.start_server(
        lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with listening, client() as one:
        port = listening.sockets[0].getsockname()[1]
        answer = await one.call(WebhookRequest(f"https://localhost:{port}/", [], AUTH_TOKEN))
    assert answer.error_code == 11237


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"%b\r\n\r\n", 11206),
        (b"HTTP/1.1 200 OK\r\n%b\r\n\r\n", 11206),
        (b"HTTP/1.1 200 OK\r\nX: %b\x00\r\n\r\n", 11206),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n", 11206),
        (b"HTTP/1.1 302 Found\r\nLocation: mailto:x?%b\r\nContent-Length: 0\r\n\r\n", 11216),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_why_an_answer_was_none_says_nothing_of_what_was_told(
    answer: bytes, code: int, method: str
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer % b"secret")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with listening, client() as caller:
        port = listening.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        told = await caller.call(
            WebhookRequest(url, [("Body", "secret")], AUTH_TOKEN, method=method)
        )
    assert told.error_code == code
    assert told.reason
    assert "secret" not in told.reason


async def test_a_server_that_speaks_no_http_is_11206() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    mail = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with mail, client() as one:
        port = mail.sockets[0].getsockname()[1]
        answer = await one.call(WebhookRequest(f"http://127.0.0.1:{port}/", [], AUTH_TOKEN))
    assert answer.error_code == 11206


async def test_of_a_large_answer_only_the_beginning_is_read(server: str) -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest(f"{server}/large", [], AUTH_TOKEN))
    assert answer.ok
    assert len(answer.body) == BODY_LIMIT
    assert answer.truncated


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/", "http://2130706433:9/"),
        *("http://127.1:9/", "http://0177.0.0.1:9/", "http://0x7f.1:9/", "http://0x7f000001:9/"),
        *("http://127.0.0.1.:9/", "http://0:9/", "http://10.1:9/", "http://192.168.257:9/"),
    ],
)
async def test_private_targets_are_refused_by_address_and_by_name(url: str) -> None:
    async with client(networks=()) as one:
        answer = await one.call(WebhookRequest(url, [], AUTH_TOKEN))
    assert answer.error_code == 11205


async def test_a_refused_connection_is_11202() -> None:
    async with client() as one:
        answer = await one.call(WebhookRequest("http://127.0.0.1:1/", [], AUTH_TOKEN))
    assert answer.error_code == 11202


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f.0.0.1", "017700000001", "127.0.0.1.", "1.2.3.4.5", "0x7g.1"],
)
def test_no_spelling_of_an_address_is_taken_for_a_name(host: str) -> None:
    """By the guard itself: who resolves names behind it may know fewer, or more."""
    with pytest.raises(ForbiddenTarget):
        Guard(allow_private=False).check_host(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "134744072", "8.8.2056", "example.com", "7.example"])
def test_public_addresses_in_any_spelling_and_names_pass(host: str) -> None:
    Guard(allow_private=False).check_host(host)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("64:ff9b:1::808:808", False),
        ("::ffff:0:10.0.0.1", False),  # of translators without a state (SIIT)
        ("2606:4700::5efe:10.0.0.1", False),  # within a site (ISATAP)
        ("2606:4700::200:5efe:7f00:1", False),
        ("2606:4700::5efe:8.8.8.8", True),
        ("fec0::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("100:0:0:1::1", False),
        ("4000::1", False),  # nobody's yet
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("2002:808:808::1", True),
        ("2002:7f00:1::", False),
        ("2002:a00:1:2::3", False),
        ("2001:0:808:808::f5ff:fffe", False),
        ("::7f00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, allowed: bool) -> None:
    guard = Guard(allow_private=False)
    assert guard.permits(address) is allowed
    assert Guard(allow_private=True).permits(address)
    if not allowed:
        with pytest.raises(ForbiddenTarget):
            guard.check_host(address)
