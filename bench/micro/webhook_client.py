"""CPU of one signed status callback, by HTTP client: ours (aiohttp), urllib3, and by hand.

"By hand" is httptools on a bare asyncio protocol: what no library can beat, and what we would have
to keep correct ourselves (redirects, TLS, Digest, limits). The receiver runs in a process of its
own, so that its cost is not counted. Several rounds in turn, medians.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import statistics
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import cast
from urllib.parse import urlencode

import httptools
import urllib3
import uvloop

from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.connections import Connections
from gateway.webhooks.guard import Guard
from gateway.webhooks.host_names import HostNames
from gateway.webhooks.signature import sign

ROUNDS = 5
CALLS = 3_000
AT_ONCE = 32
TOKEN = "0123456789abcdef0123456789abcdef"
PARAMETERS = [
    ("ApiVersion", "2010-04-01"),
    ("AccountSid", "AC" + "0" * 32),
    ("MessageSid", "SM" + "0" * 32),
    ("SmsSid", "SM" + "0" * 32),
    ("MessageStatus", "delivered"),
    ("SmsStatus", "delivered"),
    ("To", "+441632960675"),
    ("From", "+447700900101"),
    ("EventNumber", "3"),
]
Run = Callable[[str, int], Awaitable[None]]


class _Sink(asyncio.Protocol):
    """Answers every request on a connection with an empty 200."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _sink(pipe: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def _ours(url: str, calls: int) -> None:
    guard = Guard(allow_private=True)
    connections = Connections(AT_ONCE, AT_ONCE)
    async with WebhookClient(guard, HostNames(), connections, timeout_s=15.0) as client:
        hook = WebhookRequest(url, PARAMETERS, TOKEN, idempotency_token="0" * 32)

        async def work(share: int) -> None:
            for _ in range(share):
                answer = await client.call(hook)
                assert answer.ok, answer.reason

        await asyncio.gather(*(work(calls // AT_ONCE) for _ in range(AT_ONCE)))


async def _urllib3(url: str, calls: int) -> None:
    pool = urllib3.PoolManager(maxsize=AT_ONCE)
    loop = asyncio.get_running_loop()

    def post() -> int:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": sign(TOKEN, url, PARAMETERS),
        }
        return int(pool.request("POST", url, body=urlencode(PARAMETERS), headers=headers).status)

    with ThreadPoolExecutor(AT_ONCE) as threads:

        async def work(share: int) -> None:
            for _ in range(share):
                assert await loop.run_in_executor(threads, post) == 200

        await asyncio.gather(*(work(calls // AT_ONCE) for _ in range(AT_ONCE)))


class _ByHand(asyncio.Protocol):
    def __init__(self) -> None:
        self.done: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self.done is not None
        self.done.set_result(self._parser.get_status_code())

    async def post(self, head: bytes, url: str) -> int:
        body = urlencode(PARAMETERS).encode()
        signature = sign(TOKEN, url, PARAMETERS).encode()
        self._parser = httptools.HttpResponseParser(self)
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(
            b"%sX-Twilio-Signature: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (head, signature, len(body), body)
        )
        return await self.done


async def _by_hand(url: str, calls: int) -> None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    head = (
        b"POST /status HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: x\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
    )

    async def work(share: int) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(_ByHand, "127.0.0.1", port)
        for _ in range(share):
            assert await protocol.post(head, url) == 200
        protocol.transport.close()

    await asyncio.gather(*(work(calls // AT_ONCE) for _ in range(AT_ONCE)))


CANDIDATES: dict[str, Run] = {
    "aiohttp, as WebhookClient": _ours,
    "urllib3, in threads": _urllib3,
    "httptools by hand (the floor)": _by_hand,
}


def _cpu_us(run: Run, url: str) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    uvloop.run(run(url, CALLS))  # type: ignore[arg-type]
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent / CALLS * 1e6


def main() -> None:
    """Print the table."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_sink, args=(theirs,))
    process.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}/status"
        for run in CANDIDATES.values():
            _cpu_us(run, url)  # warm
        spent: dict[str, list[float]] = {name: [] for name in CANDIDATES}
        for _ in range(ROUNDS):
            for name, run in CANDIDATES.items():
                spent[name].append(_cpu_us(run, url))
        floor = statistics.median(spent["httptools by hand (the floor)"])
        print(f"{'CPU us per callback, median of ' + str(ROUNDS):44}{'ours':>8}{'x floor':>9}")
        for name, figures in spent.items():
            median = statistics.median(figures)
            print(f"{name:44}{median:8.1f}{median / floor:9.1f}")
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
