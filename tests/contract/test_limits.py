"""What one connection may ask for, before anybody is known; and what is no request at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from testing import TO, WAIT_S, GatewayUnderTest, Sdk, basic

from gateway.api import fastlane
from gateway.api.fastlane import HEAD_LIMIT, MOST_HEADERS, URL_LIMIT
from gateway.api.http import logins, unproven
from gateway.api.http.limits import MOST_BULKS
from gateway.api.resources import SINGLE_BODY_LIMIT
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]

FORM = "application/x-www-form-urlencoded"
PATH = "/2010-04-01/Accounts.json"


class Wire:
    """A connection of bare octets."""

    def __init__(self, gateway: GatewayUnderTest) -> None:
        self._port = gateway.inner.port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], Any]:
        self.writer.write(request)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        content = json.loads(body) if headers["content-type"] == "application/json" else body
        return int(status.split()[1]), headers, content

    async def flood(self, more: bytes) -> int:
        """Write until the other side has had enough; how many octets it took."""
        sent = 0
        try:
            while sent < 300_000_000:
                self.writer.write(more)
                await self.writer.drain()
                sent += len(more)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        return sent

    async def closed(self, seconds: float = WAIT_S) -> None:
        async with asyncio.timeout(seconds):
            try:
                assert await self.reader.read() == b""
            except ConnectionResetError:
                return


def send(sdk: Sdk, body: str = "hello", *lines: str) -> bytes:
    """A whole request for one message."""
    content = urlencode({"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": body})
    head = [
        f"POST /2010-04-01/Accounts/{sdk.account_sid}/Messages.json HTTP/1.1",
        "Host: x",
        f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}",
        f"Content-Type: {FORM}",
        f"Content-Length: {len(content)}",
        *lines,
    ]
    return "\r\n".join([*head, "", content]).encode()


def head_of(octets: int, url: str = PATH) -> bytes:
    """A GET whose URL and headers come to exactly so much."""
    lines = [("host", "x")]
    rest = octets - len(url) - len("host") - len("x") - 4
    while rest:
        take = rest if rest <= 8000 else min(4000, rest - 100)
        lines.append(("a", "b" * (take - 5)))
        rest -= take
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"GET {url} HTTP/1.1\r\n{text}\r\n".encode()


@pytest.mark.parametrize("pieces", [1, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head_of(HEAD_LIMIT), 401),
        (head_of(HEAD_LIMIT + 1), 431),
    ],
    ids=["all of the limit", "an octet more"],
)
async def test_a_head_has_a_size(
    gateway: GatewayUnderTest, request_: bytes, status: int, pieces: int
) -> None:
    async with Wire(gateway) as wire:
        step = len(request_) // pieces + 1
        for start in range(0, len(request_), step):
            wire.writer.write(request_[start : start + step])
            await wire.writer.drain()
            await asyncio.sleep(0.01)
        code, _, body = await wire.answer()
        assert (code, body["status"]) == (status, status)
        if status == 431:
            await wire.closed()


@pytest.mark.parametrize(("count", "status"), [(MOST_HEADERS, 401), (MOST_HEADERS + 1, 431)])
async def test_headers_are_counted(gateway: GatewayUnderTest, count: int, status: int) -> None:
    async with Wire(gateway) as wire:
        others = "a: b\r\n" * (count - 1)
        request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n{others}\r\n"
        assert (await wire.ask(request.encode()))[0] == status


@pytest.mark.parametrize(("length", "status"), [(URL_LIMIT, 401), (URL_LIMIT + 1, 414)])
async def test_a_url_has_a_length(gateway: GatewayUnderTest, length: int, status: int) -> None:
    url = f"{PATH}?x="
    url += "y" * (length - len(url))
    async with Wire(gateway) as wire:
        code, _, body = await wire.ask(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (code, body["status"]) == (status, status)


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 1000, 431),
        (b"GET / HTTP/1.1\r\na: ", b"b" * 8192, 431),
        (b"GET / HTTP/1.1\r\na: ", b" " * 8192, 431),
        (b"GET / HTTP/1.1\r\n", b"b" * 8192, 431),
        (b"GET /", b"b" * 8192, 414),
    ],
    ids=["headers", "a value", "spaces", "a name", "a URL"],
)
async def test_what_never_ends_is_refused_in_the_middle(
    gateway: GatewayUnderTest, start: bytes, more: bytes, status: int
) -> None:
    async with Wire(gateway) as wire:
        wire.writer.write(start)
        flood = asyncio.create_task(wire.flood(more))
        assert (await wire.answer())[0] == status
        async with asyncio.timeout(WAIT_S):
            assert await flood < 30_000_000


async def test_a_trailer_that_never_ends_is_cut_off(gateway: GatewayUnderTest) -> None:
    async with Wire(gateway) as wire:
        wire.writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: ")
        async with asyncio.timeout(WAIT_S):
            assert await wire.flood(b"b" * 65536) < 30_000_000


@pytest.mark.parametrize(
    ("length", "status"), [(SINGLE_BODY_LIMIT + 1, 413), (99_999_999, 413), (10**30, 400)]
)
async def test_a_body_that_is_announced_too_long_is_not_waited_for(
    gateway: GatewayUnderTest, length: int, status: int
) -> None:
    async with Wire(gateway) as wire:
        request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        code, headers, body = await wire.ask(request.encode())
        assert (code, body["status"], headers["connection"]) == (status, status, "close")
        await wire.closed()


async def test_a_body_of_the_whole_limit_is_read(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    async with Wire(gateway) as wire:
        start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {SINGLE_BODY_LIMIT}\r\n\r\n"
        assert (await wire.ask(start.encode() + b"x" * SINGLE_BODY_LIMIT))[0] == 401
        assert (await wire.ask(send(sdk)))[0] == 201  # and the connection goes on


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\r\n",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost",
        b"POST /2010-04-01/Accounts.json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal",
        b"POST /2010-04-01/Accounts/AC%s/Messages.json HTTP/1.1\r\n" % (b"0" * 32)
        + b"Host: x\r\nContent-Length: 5\r\n\r\nhal",
    ],
    ids=["nothing", "an empty line", "a line", "headers", "a body", "a body in the fast lane"],
)
async def test_a_request_that_does_not_arrive_is_not_waited_for(
    gateway: GatewayUnderTest, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "ARRIVAL_S", 0.5)
    async with Wire(gateway) as wire:
        wire.writer.write(start)
        await asyncio.sleep(0.2)
        assert not wire.reader.at_eof()
        await wire.closed()


async def test_a_request_in_time_is_answered_and_the_next_has_its_own_time(
    sdk: Sdk, gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "ARRIVAL_S", 0.6)
    request = send(sdk)
    async with Wire(gateway) as wire:
        for cut in (10, len(request) - 3):
            wire.writer.write(request[:cut])
            await asyncio.sleep(0.4)
            assert (await wire.ask(request[cut:]))[0] == 201
            await asyncio.sleep(0.4)
        assert (await wire.ask(request))[0] == 201
        await asyncio.sleep(0.8)  # between requests, uvicorn's keep-alive clock runs
        assert (await wire.ask(request))[0] == 201


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_told_so_in_our_words(
    gateway: GatewayUnderTest, request_: bytes
) -> None:
    async with Wire(gateway) as wire:
        code, _, body = await wire.ask(request_)
        assert (code, body["code"], body["status"]) == (400, 20001, 400)
        await wire.closed()


async def test_an_error_behind_an_unanswered_request_is_not_taken_for_its_answer(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    async with Wire(gateway) as wire:
        code, headers, body = await wire.ask(send(sdk) + b"nonsense\r\n\r\n")
        assert (code, body["status"], headers["connection"]) == (201, "accepted", "close")
        await wire.closed()


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE", "PUT", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", [PATH, "/messaging/v1/Services"])
async def test_a_method_that_a_resource_lacks_is_405(
    sdk: Sdk, gateway: GatewayUnderTest, method: str, path: str
) -> None:
    authorization = f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}"
    request = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", authorization, "", ""])
    async with Wire(gateway) as wire:
        code, headers, body = await wire.ask(request.encode())
        assert (code, body["code"], body["status"]) == (405, 20004, 405)
        assert "GET" in headers["allow"]


@pytest.mark.parametrize("target", ["example.org:443", PATH])
async def test_connect_is_405(gateway: GatewayUnderTest, target: str) -> None:
    async with Wire(gateway) as wire:
        code, _, body = await wire.ask(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (code, body["code"]) == (405, 20004)


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
async def test_an_upgrade_is_ignored_and_the_request_answered(
    sdk: Sdk, gateway: GatewayUnderTest, protocol: str
) -> None:
    offer = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAM")
    async with Wire(gateway) as wire:
        for number in range(2):
            code, _, body = await wire.ask(send(sdk, f"offered {number}", *offer))
            assert (code, body["body"]) == (201, f"offered {number}")
        request = send(sdk, "in pieces", *offer)
        for cut in (20, len(request) - 4):
            wire.writer.write(request[:cut])
            await asyncio.sleep(0.05)
            code, _, body = await wire.ask(request[cut:])
            assert (code, body["body"]) == (201, "in pieces")
        authorization = f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}"
        get = "\r\n".join([f"GET {PATH} HTTP/1.1", "Host: x", authorization, *offer, "", ""])
        assert (await wire.ask(get.encode()))[0] == 200


async def test_with_the_database_away_reads_and_changes_say_when_to_come_back(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    """The database goes away for the resources: their pool is closed under them."""
    await gateway.pipeline.runtime.pool.close()
    authorization = f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}"
    form = "FriendlyName=x"
    messages = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    for method, path, content in (
        ("GET", messages, ""),
        ("GET", messages.replace(".json", f"/SM{'0' * 32}.json"), ""),
        ("POST", "/messaging/v1/Services", form),
    ):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", authorization, f"Content-Type: {FORM}"]
        lines += [f"Content-Length: {len(content)}", "", content]
        async with Wire(gateway) as wire:
            code, headers, body = await wire.ask("\r\n".join(lines).encode())
            assert (code, body["code"], headers["retry-after"]) == (503, 20503, "1")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Host: x\r\nAuthorization: {authorization}", 200),
        ("Host: x\r\nHost: x\r\nAuthorization: {authorization}", 400),
        ("Authorization: {authorization}", 400),
        ("Host: x\r\nAuthorization: {authorization}\r\nAuthorization: {authorization}", 400),
        ("Host: x\r\nAuthorization: Basic eDp5\r\nAuthorization: {authorization}", 400),
        ("Host: x\r\nTransfer-Encoding: gzip, chunked\r\nAuthorization: {authorization}", 501),
        ("Host: x\r\nTransfer-Encoding: identity\r\nAuthorization: {authorization}", 501),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_head_that_two_readers_may_read_in_two_ways_is_refused(
    sdk: Sdk, method: str, head: str, status: int
) -> None:
    """On both lanes alike: a proxy in front may have taken the other one."""
    host, port = sdk.base_url.removeprefix("http://").split(":")
    lines = head.format(authorization=basic(sdk.account_sid, sdk.auth_token))
    if method == "POST" and status == 200:
        status = 400  # for the form, which says nothing
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    form = f"Content-Type: {FORM}\r\n"
    length = "" if "Transfer" in head else "Content-Length: 0\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n{form}{length}\r\n".encode())
    async with asyncio.timeout(WAIT_S):
        answer = await reader.readline()
    assert int(answer.split()[1]) == status
    writer.close()


def bulk(*lines: str) -> bytes:
    head = ["POST /comms/v1/Messages HTTP/1.1", "Host: x", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, "", ""]).encode()


WRONG = [
    (),
    (f"Authorization: {basic('AC' + '0' * 32, 'x' * 32)}",),
    ("Authorization: Bearer x",),
]


@pytest.mark.parametrize("authorization", WRONG)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_refused_before_it_comes_where_nobody_has_shown_a_password(
    gateway: GatewayUnderTest, authorization: tuple[str, ...], chunked: bool
) -> None:
    async with Wire(gateway) as wire:
        if chunked:
            chunk = b"%x\r\n%b\r\n" % (32768, b"x" * 32768)
            wire.writer.write(bulk(*authorization, "Transfer-Encoding: chunked") + chunk * 3)
        else:
            length = f"Content-Length: {SINGLE_BODY_LIMIT + 1}"
            wire.writer.write(bulk(*authorization, length) + b"x" * 100)
        status, headers, content = await wire.answer()
        assert (status, content["code"]) == (401, 20003)
        assert headers["connection"] == "close"
        await wire.closed()


async def test_a_body_up_to_64_kb_is_read_and_then_refused_and_the_connection_goes_on(
    gateway: GatewayUnderTest,
) -> None:
    async with Wire(gateway) as wire:
        for _ in range(2):
            length = f"Content-Length: {SINGLE_BODY_LIMIT}"
            status, _, content = await wire.ask(bulk(length) + b"x" * SINGLE_BODY_LIMIT)
            assert (status, content["code"]) == (401, 20003)


async def test_an_account_has_four_large_bodies_under_way_and_not_five(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    lines = (f"Authorization: {basic(sdk.account_sid, sdk.auth_token)}", "Content-Length: 100000")
    wires = [Wire(gateway) for _ in range(MOST_BULKS + 1)]
    async with contextlib.AsyncExitStack() as stack:
        for wire in wires:
            await stack.enter_async_context(wire)
        for wire in wires:
            wire.writer.write(bulk(*lines) + b"x" * 99_000)
        answers = [asyncio.create_task(wire.answer()) for wire in wires]
        done, _ = await asyncio.wait(answers, timeout=WAIT_S, return_when="FIRST_COMPLETED")
        [(status, _, content)] = [answer.result() for answer in done]
        assert (status, content["code"]) == (429, 20429)
        for wire, answer in zip(wires, answers, strict=True):
            if answer not in done:
                wire.writer.write(b"x" * 1_000)
        for status, _, content in await asyncio.gather(*set(answers) - done):
            assert (status, content["code"]) == (400, 20001)
    async with Wire(gateway) as wire:
        assert (await wire.ask(bulk(*lines) + b"x" * 100_000))[0] == 400


async def test_unproven_octets_have_a_total_and_known_clients_are_served_beyond_it(
    start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unproven.Unproven.__init__, "__defaults__", (100_000,))
    gateway = await start_gateway(smsc.port)
    sdk = await gateway.sdk()
    half = bulk("Content-Length: 60000") + b"x" * 40_000
    async with Wire(gateway) as first, Wire(gateway) as second, Wire(gateway) as third:
        for wire in (first, second):
            wire.writer.write(half[:100])
            await asyncio.sleep(0)
            wire.writer.write(half[100:])
        third.writer.write(half)
        status, headers, content = await first_answer(first, second, third)
        assert (status, content["code"], headers["Retry-After"]) == (503, 20503, "1")
        assert headers["connection"] == "close"
        async with Wire(gateway) as known:
            assert (await known.ask(send(sdk)))[0] == 201


async def first_answer(*wires: Wire) -> tuple[int, dict[str, str], Any]:
    tasks = [asyncio.create_task(wire.answer()) for wire in wires]
    done, rest = await asyncio.wait(tasks, timeout=WAIT_S, return_when="FIRST_COMPLETED")
    for task in rest:
        task.cancel()
    return done.pop().result()


@pytest.mark.parametrize("lane", ["fast", "ordinary", "large"])
async def test_wrong_credentials_wait_after_ten_and_the_right_ones_are_answered_at_once(
    gateway: GatewayUnderTest, sdk: Sdk, monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    monkeypatch.setattr(logins, "FIRST_WAIT_S", 3600.0)
    monkeypatch.setattr(logins, "LONGEST_WAIT_S", 3600.0)
    wrong = f"Authorization: {basic(sdk.account_sid, 'f' * 32)}"
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    requests = {
        "fast": f"POST {path} HTTP/1.1\r\nHost: x\r\n{wrong}\r\nContent-Length: 0\r\n\r\n".encode(),
        "ordinary": f"GET {path} HTTP/1.1\r\nHost: x\r\n{wrong}\r\n\r\n".encode(),
        "large": bulk(wrong, "Content-Length: 100000"),
    }
    for _ in range(logins.FREE):
        async with Wire(gateway) as wire:
            assert (await wire.ask(requests[lane]))[0] == 401
    async with Wire(gateway) as slowed, Wire(gateway) as known:
        waiting = asyncio.create_task(slowed.ask(requests[lane]))
        for _ in range(5):
            assert (await known.ask(send(sdk)))[0] == 201
        assert not waiting.done()
        waiting.cancel()
    assert gateway.inner._logins.failed == logins.FREE + 1
