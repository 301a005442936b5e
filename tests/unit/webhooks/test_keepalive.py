"""The short way of status callbacks: taken by servers that are plain, left for whatever is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hooks import told
from hypothesis import given
from hypothesis import strategies as st
from testing import AUTH_TOKEN, until
from twilio.request_validator import RequestValidator

from gateway.webhooks import client as ordinary
from gateway.webhooks import keepalive
from gateway.webhooks.client import NOT_OK, TOO_SLOW, WebhookClient, WebhookRequest, WebhookResponse
from gateway.webhooks.connections import Connections
from gateway.webhooks.forms import form_of
from gateway.webhooks.guard import Guard
from gateway.webhooks.host_names import HostNames
from gateway.webhooks.keepalive import BODY_KEPT, HEAD_LIMIT, place_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Raw:
    """A server that answers with exactly these octets, and knows its connections."""

    def __init__(self) -> None:
        self.answer: Callable[[], bytes | None] = lambda: OK
        self.requests: list[bytes] = []
        self.connections = 0
        self.closes = False
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/status?tenant=7"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = dict(
                    line.lower().split(b": ", 1)
                    for line in head.split(b"\r\n")[1:]
                    if b": " in line
                )
                body = await reader.readexactly(int(lines[b"content-length"]))
                self.requests.append(head + body)
                answer = self.answer()
                if answer is None:
                    writer.close()
                    return
                writer.write(answer)
                if self.closes:
                    writer.close()
                    return


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    server = Raw()
    await server.start()
    yield server
    await server.stop()


def client_of(timeout_s: float) -> WebhookClient:
    guard = Guard(allow_private=True)
    return WebhookClient(guard, HostNames(), Connections(), timeout_s=timeout_s)


@pytest.fixture
async def client() -> AsyncIterator[WebhookClient]:
    async with client_of(2.0) as one:
        yield one


@pytest.fixture
async def plain(client: WebhookClient, raw: Raw) -> Callable[..., Awaitable[WebhookResponse]]:
    """Call it, which it has answered plainly before."""

    async def call(**changes: Any) -> WebhookResponse:
        parameters = [("MessageSid", "SM1"), ("To", "+447700900123"), ("Text", "ä b&c")]
        given = {"idempotency_token": "t", **changes}
        ordinary_way = given.pop("ordinary_way", False)
        hook = WebhookRequest(raw.url, parameters, AUTH_TOKEN, **given)
        return await (client.call(hook) if ordinary_way else told(client, hook))

    assert (await call()).ok
    raw.requests.clear()
    return call


Plain = Callable[..., Awaitable[WebhookResponse]]


async def test_it_says_the_same_as_the_ordinary_way(raw: Raw, plain: Plain) -> None:
    heard: list[set[tuple[str, str]]] = []
    for ordinary_way in (True, False):
        assert (await plain(ordinary_way=ordinary_way)).ok
        head, _, body = raw.requests.pop().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "POST /status?tenant=7 HTTP/1.1"
        headers = {(n.lower(), v) for n, v in (line.split(": ", 1) for line in lines)}
        heard.append(
            {header for header in headers if header[0] != "accept-encoding"} | {("", body.decode())}
        )
        form = dict(parse_qsl(body.decode()))
        [signature] = [value for name, value in headers if name == "x-twilio-signature"]
        assert RequestValidator(AUTH_TOKEN).validate(raw.url, form, signature)
    assert heard[0] == heard[1]


async def test_connections_are_used_again_and_one_that_was_closed_is_not(
    raw: Raw, plain: Plain
) -> None:
    before = raw.connections
    for _ in range(5):
        assert (await plain()).ok
    assert raw.connections == before + 1
    raw.hang_up()
    await asyncio.sleep(0)
    assert (await plain()).ok
    assert len(raw.requests) == 6


async def test_a_server_that_closes_after_each_answer(raw: Raw, plain: Plain) -> None:
    raw.answer = lambda: b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        assert (await plain()).status == 204
    assert len(raw.requests) == 3


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<Response/>",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthanks",
    ],
)
async def test_a_body_that_ends_with_its_connection_is_told_once(
    raw: Raw, plain: Plain, head: bytes
) -> None:
    raw.answer = lambda: head
    raw.closes = True
    for _ in range(5):
        assert (await plain()).status == 200
    assert len(raw.requests) == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_every_form_of_an_answer_is_understood(raw: Raw, plain: Plain, answer: bytes) -> None:
    raw.answer = lambda: answer
    for _ in range(3):
        assert (await plain()).status == 200
    assert len(raw.requests) == 3


async def test_a_refusal_is_told_with_what_an_alert_shows(raw: Raw, plain: Plain) -> None:
    body = b"x" * (BODY_KEPT + 1)
    raw.answer = lambda: (
        (b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body))
        + body
    )
    answer = await plain()
    assert (answer.status, answer.error_code, answer.reason) == (500, NOT_OK, "HTTP 500")
    assert answer.body == body[:BODY_KEPT]
    assert answer.content_type == "text/plain"
    assert dict(answer.sent).keys() == {"X-Twilio-Signature", "I-Twilio-Idempotency-Token"}
    assert len(raw.requests) == 1


async def test_a_connection_that_breaks_goes_the_other_way(raw: Raw, plain: Plain) -> None:
    answers = iter([None, OK])
    raw.answer = lambda: next(answers)
    assert (await plain()).ok
    assert len(raw.requests) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 307 Elsewhere\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 Who?\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_who_is_plain_no_more_is_told_by_the_ordinary_way(
    client: WebhookClient, raw: Raw, plain: Plain, head: bytes
) -> None:
    answers = iter([head])
    raw.answer = lambda: next(answers, OK)
    assert (await plain()).ok
    place = place_of(raw.url)
    assert place is not None
    assert not client._keepalive.knows(place)
    before = len(raw.requests)
    for _ in range(3):
        assert (await plain()).ok
    assert len(raw.requests) == before + 3, "told twice once, not every time"


@pytest.mark.parametrize(("more", "requests"), [(0, 1), (1, 2)])
async def test_a_head_has_its_limit(raw: Raw, plain: Plain, more: int, requests: int) -> None:
    pad = b"y" * (HEAD_LIMIT + more - len("X-Pad") - len("Content-Length") - 1)
    answers = iter([b"HTTP/1.1 200 OK\r\nX-Pad: %b\r\nContent-Length: 0\r\n\r\n" % pad])
    raw.answer = lambda: next(answers, OK)
    assert (await plain()).ok
    assert len(raw.requests) == requests


async def test_what_does_not_answer_in_time_is_11203(raw: Raw) -> None:
    async with client_of(0.4) as client:
        hook = WebhookRequest(raw.url, [("a", "b")], AUTH_TOKEN)
        assert (await told(client, hook)).ok
        raw.answer = lambda: b""
        answer = await told(client, hook)
        assert (answer.status, answer.error_code) == (0, TOO_SLOW)
        raw.answer = lambda: OK
        assert (await told(client, hook)).ok


async def test_idle_connections_are_closed(
    raw: Raw, plain: Plain, client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await plain()).ok
    assert client._keepalive._open
    monkeypatch.setattr(keepalive, "IDLE_S", 0.0)
    await until(lambda: not client._keepalive._open)
    assert not client._keepalive._idle
    assert (await plain()).ok


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@app.example/",
        "http://app.example/#rc=2",
        "ftp://app.example/",
        "http:///path",
        "http://app.example:port/",
        "http://app.example/a b",
        "http://app.example/\r\nHost: x",
        "http://äpp.example/",
    ],
)
def test_what_is_not_plain_has_no_place(url: str) -> None:
    assert place_of(url) is None


def test_a_place_has_the_port_of_its_scheme() -> None:
    for url, port, tls in (
        ("http://app.example", 80, False),
        ("https://app.example/x", 443, True),
        ("https://app.example:8443/x", 8443, True),
    ):
        place = place_of(url)
        assert place is not None
        assert place.server == ("app.example", port, tls)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), max_size=20),
            st.text(st.characters(codec="utf-8"), max_size=20),
        ),
        max_size=8,
    )
)
def test_forms_are_those_of_the_standard_library(parameters: list[tuple[str, str]]) -> None:
    assert form_of(parameters) == urlencode(parameters)


@pytest.mark.parametrize(("most", "more"), [(1, 1), (2, 0)])
async def test_connections_that_wait_for_their_next_post_are_bounded_over_all_servers(
    client: WebhookClient, monkeypatch: pytest.MonkeyPatch, most: int, more: int
) -> None:
    monkeypatch.setattr(keepalive, "MOST_IDLE", most)
    servers = [Raw(), Raw()]
    for server in servers:
        await server.start()
        for _ in range(2):  # by the ordinary way, and by the short one
            assert (await told(client, WebhookRequest(server.url, (), AUTH_TOKEN))).ok
    before = servers[0].connections
    assert (await told(client, WebhookRequest(servers[0].url, (), AUTH_TOKEN))).ok
    assert servers[0].connections == before + more
    for server in servers:
        await server.stop()


@pytest.mark.parametrize(("most", "connections"), [(0, 3), (1, 1)])
async def test_connections_of_so_many_servers_are_kept_by_the_ordinary_way(
    raw: Raw,
    client: WebhookClient,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    connections: int,
) -> None:
    monkeypatch.setattr(ordinary, "MOST_KEPT", most)
    for _ in range(3):
        assert (await client.call(WebhookRequest(raw.url, (), AUTH_TOKEN))).ok
    assert raw.connections == connections
