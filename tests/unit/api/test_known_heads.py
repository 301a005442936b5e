"""Requests that are known by their heads: the same answers as by the parser alone, however the
octets come.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.api.fastlane import fast_lane
from gateway.api.http.auth import acting_account, authenticate
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import check_form_type, parse_form
from gateway.api.http.heads import KnownRequests, cut_head, is_head
from gateway.api.http.limits import Gate
from gateway.api.http.logins import Logins
from gateway.directory.directory import Directory

SID, TOKEN = "AC" + "1" * 32, "2" * 32
OTHER, OTHER_TOKEN = "AC" + "3" * 32, "4" * 32


def basic(sid: str, token: str) -> bytes:
    return b"Basic " + b64encode(f"{sid}:{token}".encode())


def request(
    body: bytes,
    *,
    sid: str = SID,
    authorization: bytes | None = None,
    length: bytes | None = None,
    more: bytes = b"",
    name: bytes = b"Content-Length",
) -> bytes:
    """A send, as an app's HTTP client writes it."""
    given = authorization if authorization is not None else basic(sid, TOKEN)
    return (
        b"POST /2010-04-01/Accounts/%b/Messages.json HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: %b\r\n%bContent-Type: application/x-www-form-urlencoded\r\n"
        b"%b: %b\r\n\r\n%b"
    ) % (sid.encode(), given, more, name, length or b"%d" % len(body), body)


class _Transport:
    """What a lane writes to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.paused = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, *limits: int) -> None: ...


class _Server:
    """A lane's surroundings: what it hands on is noted, and answered when the test says so."""

    def __init__(self, *, on: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.accounts = {
            sid: cast(
                Any,
                SimpleNamespace(
                    id=n, sid=sid, test_sid=None, active=True, knows=lambda s, t=token: s == t
                ),
            )
            for n, (sid, token) in enumerate(((SID, TOKEN), (OTHER, OTHER_TOKEN)), 1)
        }
        self.directory: Any = SimpleNamespace(
            epoch=1,
            accounts=self.accounts,
            keys={},
            testers={},
            acts_for=lambda account, sid: account if account.sid == sid else None,
        )
        self.submitted: list[tuple[str, list[tuple[str, list[str]]]]] = []
        self.owed: list[Any] = []
        self.known = KnownRequests(on=on)
        creation = SimpleNamespace(directory=cast(Directory, self.directory), submit=self._submit)
        alerts: Any = SimpleNamespace(alert=lambda *a, **k: None)
        self._lane = fast_lane(
            cast(Any, creation),
            Random(1),
            Gate(None, None, self.loop.time),
            Logins(alerts, lambda: 0.0),
            lambda host, path: 1 << 20,
            self.known,
        )
        self._config = uvicorn.Config(
            self._ordinary,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )

    async def _ordinary(self, scope: Any, receive: Any, send: Any) -> None:
        """The other lane: to the same functions."""
        status, text = 200, f"{scope['method']} {scope['path']}".encode()
        if scope["method"] == "POST":
            status, text = await self._send(scope, receive)
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _send(self, scope: Any, receive: Any) -> tuple[int, bytes]:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, b""
            body, more = body + message.get("body", b""), message.get("more_body", False)
        given = dict(scope["headers"])
        accepted: asyncio.Future[bytes] = self.loop.create_future()
        try:
            credential = authenticate(self.directory, given.get(b"authorization"))
            account = acting_account(self.directory, credential, scope["path"].split("/")[3])
            check_form_type(given.get(b"content-type", b""))
            form = parse_form(body)
        except ApiError as error:
            return error.status, error.body()
        self._submit(account, form, lambda text, *_: accepted.set_result(text), None)
        return 201, await accepted

    def _submit(self, account: Any, form: Any, answer: Any, client: Any) -> None:
        self.submitted.append((account.sid, list(form.items())))
        self.owed.append(answer)

    def connect(self) -> tuple[Any, _Transport]:
        lane, transport = self._lane(self._config, ServerState(), {}), _Transport()
        lane.connection_made(cast(Any, transport))
        return lane, transport

    def answer(self) -> None:
        """Answer what is owed."""
        owed, self.owed = self.owed, []
        for answer in owed:
            answer(b'{"n":%d}' % len(self.submitted), None, None)


async def play(pieces: list[bytes], *, on: bool, warm: bytes | None) -> tuple[Any, ...]:
    """What a connection that sends these pieces gets, where the head of `warm` came before."""
    server = _Server(on=on)
    for _ in range(2 if warm is not None else 0):
        lane, _ = server.connect()
        lane.data_received(warm)
        server.answer()
        lane.connection_lost(None)
    server.submitted.clear()
    lane, transport = server.connect()
    waiting = list(pieces)
    for _ in range(4 * len(pieces) + 40):
        while waiting and not transport.paused and not transport.closed:
            lane.data_received(waiting.pop(0))
        server.answer()
        for _ in range(3):
            await asyncio.sleep(0)
        if transport.closed:
            break
    hits = server.known.heads.hits
    closed = transport.closed
    lane.connection_lost(None)
    return (server.submitted, told(b"".join(transport.written)), closed), hits


def told(written: bytes) -> list[tuple[bytes, bytes]]:
    """Status and body of each answer."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((head[:12], rest[:size]))
        written = rest[size:]
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, *(place % (len(data) + 1) for place in places), len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


async def same(pieces: list[bytes], warm: bytes) -> int:
    """Both ways give the same; how often a head was known."""
    with_heads, hits = await play(pieces, on=True, warm=warm)
    without, none = await play(pieces, on=False, warm=warm)
    more = with_heads[1][len(without[1]) :]
    if without[2] and len(more) == 1 and more[0][0].startswith(b"HTTP/1.1 4"):
        # What is refused behind a request that is under way is read at once, and the connection
        # ends without a word; behind a known head it is read, and told, in its turn.
        with_heads[1].pop()
    assert with_heads[:2] == without[:2]
    assert not none
    return int(hits)


BODY = b"To=%2B447700900500&From=%2B447700900101&Body=hi"


async def test_a_head_is_known_from_its_third_time_on_whatever_the_length_of_the_body() -> None:
    assert await same([request(BODY)], request(BODY)) == 1
    assert await same([request(BODY + b"&X=" + b"y" * 50)], request(BODY)) == 1
    assert await same([request(BODY)] * 5, request(BODY)) == 5


async def test_it_may_be_cut_at_every_octet() -> None:
    data = request(BODY)
    for place in range(1, len(data)):
        await same(cut(data, [place]), data)
    head = len(data) - len(BODY)
    assert await same([data[:head], data[head:]], data) == 1  # as Python's own client sends it


async def test_what_comes_early_waits_for_its_turn() -> None:
    one, two = request(BODY), request(b"To=%2B447700900501&Body=later")
    assert await same([one + two + one], one) == 3
    assert await same([one + two[:20], two[20:] + one], one) >= 1
    get = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    await same([get + one, one + get + one], one)


HIDDEN = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
@pytest.mark.parametrize("digits", [b"0000", b"0001", b"9999"])
async def test_a_length_in_a_body_is_none(name: bytes, ends: bytes, digits: bytes) -> None:
    """What looks like the end of a head there would make one request two, or two one."""

    def sent(said: bytes, tail: bytes) -> bytes:
        body = b"A" * len(HIDDEN) + b"\r\nContent-Length: " + said + b"\r\n\r\n" + tail
        head, _, body = request(body, name=name).partition(b"\r\n\r\n")
        return head.replace(b"\r\n", ends) + ends * 2 + body

    tail = b"A" * len(HIDDEN)  # what the body begins with
    whole = len(sent(b"0000", tail).partition(ends * 2)[2])
    taught = sent(b"%04d" % whole, tail)
    await same([sent(digits, HIDDEN), request(BODY)], taught)
    await same([sent(digits, tail), request(BODY)], taught)
    short = request(b"To=1&Body=min\r\nContent-Length: 0040\r\n\r\n", name=name)
    await same([short.replace(b"0040", digits), request(BODY)], short)


def test_only_what_the_parser_read_is_a_head() -> None:
    pairs = [(b"host", b"x"), (b"content-length", b"2")]
    octets = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    assert is_head(octets, b"/a", pairs)
    for other in (
        octets[:-2],
        octets + b"x",
        octets.replace(b"\r\n", b"\n"),
        octets.replace(b": x", b":  x"),
    ):
        assert not is_head(other, b"/a", pairs)
    assert not is_head(octets, b"/a", pairs[:1])


async def test_a_client_that_sends_no_more_gets_its_answer() -> None:
    server = _Server(on=True)
    lane, transport = server.connect()
    for _ in range(3):
        lane.data_received(request(BODY))
        server.answer()
    assert not lane.eof_received()  # idle: the connection ends
    lane.data_received(request(BODY)[:-1])
    assert not lane.eof_received()  # there will be no more of it
    lane.data_received(request(BODY)[-1:])
    assert lane.eof_received()
    before = len(transport.written)
    server.answer()
    assert transport.written[before].startswith(b"HTTP/1.1 201")
    assert transport.closed


async def test_what_is_not_the_same_head_is_not_taken_for_it() -> None:
    data = request(BODY)
    others = [
        request(BODY, authorization=basic(SID, "wrong")),
        request(BODY, sid=OTHER),
        request(BODY, more=b"Connection: close\r\n"),
        request(BODY, more=b"Transfer-Encoding: chunked\r\n"),
        request(BODY, more=b"Content-Length: 3\r\n"),
        request(BODY, more=b"Expect: 100-continue\r\n"),
        request(BODY, length=b"+%d" % len(BODY)),
        request(BODY, length=b""),
        request(BODY, name=b"content-length"),
        request(BODY, name=b"CONTENT-LENGTH"),
        data.replace(b"HTTP/1.1", b"HTTP/1.0"),
        data.replace(b"POST", b"PUT"),
        data.replace(b"Host: x", b"Host: x\r\nHost: x"),
    ]
    for other in others:
        assert await same([data, other, data], data) >= 1


async def test_two_requests_in_one_read_are_not_learnt_as_one() -> None:
    first = request(b"Body=%FF", name=b"CONTENT-LENGTH")  # refused at once, so both are read
    second = request(BODY)
    assert await same([first + second], first + second) == 0


async def test_the_credentials_of_a_known_head_are_asked_for_again_after_a_change() -> None:
    server = _Server(on=True)
    lane, transport = server.connect()
    for _ in range(4):
        lane.data_received(request(BODY))
        server.answer()
    assert server.known.heads.hits
    server.accounts[SID].knows = lambda secret: False  # its token was rotated
    server.directory.epoch += 1
    lane.data_received(request(BODY))
    assert transport.written[-1].startswith(b"HTTP/1.1 401")
    server.accounts[SID].knows = lambda secret: True
    server.accounts[SID].active = False
    server.directory.epoch += 1
    lane.data_received(request(BODY))
    assert transport.written[-1].startswith(b"HTTP/1.1 403")
    assert len(server.submitted) == 4


async def test_heads_that_never_come_again_evict_nobody() -> None:
    server = _Server(on=True)
    lane, _ = server.connect()
    for number in range(20_000):
        if number % 500 == 0:
            before = server.known.heads.hits
            lane.data_received(request(BODY))
            server.answer()
            assert number < 1500 or server.known.heads.hits == before + 1
        lane.data_received(request(BODY, more=b"X-Request-Id: %d\r\n" % number))
        server.answer()
    assert len(server.known.heads) == 1


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


BODIES = st.binary(max_size=20).map(lambda text: b"Body=" + text) | st.just(BODY)
REQUESTS = st.builds(
    request,
    BODIES,
    more=st.sampled_from([b"", b"", b"X-Id: 7\r\n", b"Connection: close\r\n", b"Expect: x\r\n"]),
    name=st.sampled_from(
        [b"Content-Length", b"Content-Length", b"content-length", b"content-Length"]
    ),
    length=st.sampled_from([None, None, None, b"0", b"7", b"007", b" 7", b"7 ", b"x", b"9999999"]),
)
STREAMS = st.lists(
    REQUESTS | st.just(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), min_size=1, max_size=4
)


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=5))
def test_any_stream_by_both_ways(stream: list[bytes], places: list[int]) -> None:
    asyncio.run(_any(b"".join(stream), places, stream[0]))


async def _any(data: bytes, places: list[int], warm: bytes) -> None:
    await same(cut(data, places), request(BODY))
    await same(cut(data, places), warm)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST",
        request(BODY)[:60],
        request(BODY, length=b"12345678"),
        request(BODY, length=b"1a"),
    ],
)
def test_what_is_no_whole_head_is_not_cut(data: bytes) -> None:
    assert cut_head(data) is None
