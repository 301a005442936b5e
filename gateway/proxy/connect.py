"""A proxy that takes CONNECT for `*.twilio.com`, and brings it to the gateway instead.

It relays octets between the app and our own TLS listener, and nowhere else: any other target, and
any other method, is refused. So an app moves over by `HTTPS_PROXY` and a trusted certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from gateway.observe.peer_faults import caused_by_peer
from gateway.proxy.authority import is_ours

log = logging.getLogger(__name__)

HEAD_LIMIT: Final = 8 * 1024  # octets of the request
HEAD_TIMEOUT_S: Final = 10.0
IDLE_S: Final = 600.0  # a tunnel without a word is closed
CHUNK: Final = 64 * 1024
MOST_TUNNELS: Final = 2_000
PORT: Final = "443"

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


def _refusal(status: str, text: str) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


class ConnectProxy:
    """Listens for an app's CONNECT requests; `target` is our TLS listener."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self.refused = 0

    async def start(self, host: str, port: int, *, shared: bool = False) -> int:
        """Listen, `shared` with other workers; the port. Raises OSError when it can't be had."""
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=HEAD_LIMIT, reuse_port=shared or None
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            refusal = await self._tunnel(reader, writer)
            if refusal:
                self.refused += 1
                writer.write(refusal)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # one of the two sides went away
        finally:
            self._tunnels.discard(task)
            writer.close()

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Serve one request; what to answer when it is refused."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _refusal("431 Request Header Fields Too Large", "the request is too long")
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _refusal("400 Bad Request", "this is not an HTTP request")
        if words[0] != "CONNECT":
            return _refusal("405 Method Not Allowed", "only CONNECT is served here")
        host, _, port = words[1].rpartition(":")
        if not is_ours(host) or port != PORT:
            log.warning(
                "CONNECT to %s was refused", words[1][:100], extra=caused_by_peer("CONNECT refused")
            )
            return _refusal(
                "403 Forbidden", "this proxy leads to the gateway, for *.twilio.com:443 alone"
            )
        if len(self._tunnels) > MOST_TUNNELS:
            return _refusal("503 Service Unavailable", "too many connections")
        inner_reader, inner_writer = await asyncio.open_connection(*self._target)
        writer.write(ESTABLISHED)
        try:
            await _both_ways(reader, writer, inner_reader, inner_writer)
        finally:
            inner_writer.close()
        return None


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    """Relay until both directions have ended, or nothing was said for long."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_relay(reader, inner_writer))
        tasks.create_task(_relay(inner_reader, writer))


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        while True:
            async with asyncio.timeout(IDLE_S):
                data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
