"""What the database does to a connection, by the names that callers may catch."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest
from testing import WAIT_S

from storage.database import Database, DatabaseUnavailable, open_connection


def message(kind: bytes, severity: bytes, code: bytes) -> bytes:
    """An ErrorResponse or a NoticeResponse."""
    fields = b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0Mgoing down\0\0"
    return kind + (len(fields) + 4).to_bytes(4, "big") + fields


@asynccontextmanager
async def tcp(url: str) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """The URL of a server on a Unix socket by TCP, and what leads to its clients."""
    server = urlsplit(url)
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
    by_tcp = server._replace(netloc=f"{who}@127.0.0.1:{port}", query="sslmode=disable")
    try:
        yield urlunsplit(by_tcp), to_client
    finally:
        between.close()


async def test_a_connection_whose_end_was_announced_counts_as_unavailable(postgres: str) -> None:
    """The server says goodbye, and its socket is not closed yet when the next statement comes."""
    async with tcp(postgres) as (url, to_client):
        connection = await open_connection(url)
        try:
            assert await connection.fetchval("SELECT 1") == 1
            read = asyncio.Event()
            connection.add_log_listener(lambda *_: read.set())
            # The notice comes after it, and tells that it was read.
            end, notice = message(b"E", b"FATAL", b"57P01"), message(b"N", b"LOG", b"00000")
            to_client[-1].write(end + notice)
            await asyncio.wait_for(read.wait(), WAIT_S)
            with pytest.raises(DatabaseUnavailable):
                await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()


SETTINGS = """
SELECT name, setting FROM pg_settings
 WHERE source = 'client' AND (name LIKE 'tcp_%' OR name = 'application_name')
"""


@pytest.mark.parametrize("stage", ["accept", "pool"])
async def test_every_session_says_whose_it_is_and_asks_to_be_noticed_when_it_is_gone(
    postgres: str, stage: str
) -> None:
    """Also one of the pool that was used before, whose settings are put back then."""
    async with tcp(postgres) as (url, _):
        database = Database(url, 42, lambda: True)
        if stage == "pool":
            pool = await database.open_pool(most=1)
            async with pool.acquire() as connection:
                await connection.execute("SET tcp_user_timeout = 0")
            async with pool.acquire() as connection:
                found = dict(await connection.fetch(SETTINGS))
                own = connection._con._transport.get_extra_info("socket")
                options = read_options(own)
            pool.terminate()
        else:
            single = await database.open(stage)
            found = dict(await single.fetch(SETTINGS))
            options = read_options(single._transport.get_extra_info("socket"))
            single.terminate()
        assert found.keys() == {
            "application_name",
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_keepalives_count",
            "tcp_user_timeout",
        }
        assert found["application_name"] == f"tandem/42/{stage}"
        assert options == (1, 2, 4_000)


def read_options(own: socket.socket) -> tuple[int, int, int]:
    """Whether probes are sent, after how many idle seconds, and the milliseconds of patience."""
    return (
        own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )


@pytest.mark.parametrize("stage", ["accept", "pool"])
async def test_a_server_that_takes_connections_and_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The driver would wait for a minute."""
    monkeypatch.setattr("storage.database.CONNECT_S", 0.1)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(f"postgresql://nobody@127.0.0.1:{port}/none", 1, lambda: True)
    opening: asyncio.Future[Any] = asyncio.ensure_future(
        database.open(stage) if stage == "accept" else database.open_pool()
    )
    await asyncio.wait((opening,), timeout=30)
    assert opening.done()
    assert isinstance(opening.exception(), DatabaseUnavailable)
    server.close()


async def test_a_statement_of_a_hot_stage_that_hangs_is_given_up(postgres: str) -> None:
    connection = await Database(postgres, 1, lambda: True).open("accept", command_s=0.1)
    with pytest.raises(DatabaseUnavailable):
        await connection.execute("SELECT pg_sleep(600)")
    connection.terminate()
