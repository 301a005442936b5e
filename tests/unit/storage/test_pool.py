"""What the database does to a connection, by the names that callers may catch."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest
from testing import WAIT_S

from storage.pool import DatabaseUnavailable, open_connection


def message(kind: bytes, severity: bytes, code: bytes) -> bytes:
    """An ErrorResponse or a NoticeResponse."""
    fields = b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0Mgoing down\0\0"
    return kind + (len(fields) + 4).to_bytes(4, "big") + fields


async def test_a_connection_whose_end_was_announced_counts_as_unavailable(postgres: str) -> None:
    """The server says goodbye, and its socket is not closed yet when the next statement comes."""
    server = urlsplit(postgres)
    folder = parse_qs(server.query).get("host")
    to_client: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = (
            await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.{server.port or 5432}")
            if folder
            else await asyncio.open_connection(server.hostname, server.port)
        )
        to_client.append(writer)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(copy(reader, upstream[1]), copy(upstream[0], writer))

    between = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = between.sockets[0].getsockname()[1]
    who = server.netloc.rpartition("@")[0]
    url = server._replace(netloc=f"{who}@127.0.0.1:{port}", query="sslmode=disable")
    connection = await open_connection(urlunsplit(url))
    try:
        assert await connection.fetchval("SELECT 1") == 1
        read = asyncio.Event()
        connection.add_log_listener(lambda *_: read.set())
        # The notice comes after it, and tells that it was read.
        to_client[-1].write(message(b"E", b"FATAL", b"57P01") + message(b"N", b"LOG", b"00000"))
        await asyncio.wait_for(read.wait(), WAIT_S)
        with pytest.raises(DatabaseUnavailable):
            await connection.fetchval("SELECT 1")
    finally:
        connection.terminate()
        between.close()
