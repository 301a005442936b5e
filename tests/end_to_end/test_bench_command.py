"""`tandem bench`, as one runs it, on a gateway and a simulator."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from testing import ACCOUNT_SID, AUTH_TOKEN, NUMBERS, Receiver, Sdk, until

from gateway.commands.main import main
from gateway.loadtest.generator import Generator, LoadError, Plan
from gateway.loadtest.sends import LoadMessage, Recipients, SingleSends
from smpp.smsc import Smsc


@pytest.fixture
async def control(smsc: Smsc) -> str:
    return f"http://127.0.0.1:{smsc.control_port}"


async def bench(command: Command, sdk: Sdk, folder: Path, *options: str) -> tuple[int, Any]:
    """Its exit status, and its result."""
    file = folder / "result.json"
    who = ("--account", ACCOUNT_SID, "--token", AUTH_TOKEN, "--json", str(file), "--seed", "1")
    status = await command.run("bench", sdk.base_url, *who, *options)
    return status, json.loads(file.read_text()) if file.exists() else None


async def test_every_accepted_message_of_a_load_is_in_the_ledger(
    command: Command, sdk: Sdk, folder: Path, control: str
):
    options = ("--messaging-service", sdk.service_sid, "--count", "300", "--connections", "8")
    status, result = await bench(command, sdk, folder, *options, "--ledger", control)
    assert status == 0, command.said
    assert result["accepted"] == result["messages"] == 300
    assert result["ledger"]["accepted"] == 300
    assert result["ledger"]["missing"] == result["ledger"]["doubled"] == []
    assert sum(count for _, count in result["latency_us_buckets"]) == 300
    assert "300 of 300 accepted found" in command.said


async def test_the_sids_of_what_was_accepted_are_written(command: Command, sdk: Sdk, folder: Path):
    file = folder / "accepted"
    options = ("--from", NUMBERS[0], "--count", "50", "--accepted", str(file))
    status, _ = await bench(command, sdk, folder, *options)
    assert status == 0, command.said
    sids = file.read_text().splitlines()
    assert len(set(sids)) == 50
    assert (await sdk.fetch(sids[0])).sid == sids[0]
    status, _ = await bench(command, sdk, folder, *options, "--bulk", "10")
    assert status == 2
    assert "--accepted" in command.said


async def test_a_rate_and_callbacks(command: Command, sdk: Sdk, folder: Path, control: str):
    async with Receiver() as receiver:
        status, result = await bench(
            *(command, sdk, folder, "--from", NUMBERS[0], "--status-callback", receiver.url),
            *("--rate", "400", "--count", "100", "--arrivals", "even", "--ledger", control),
        )
        assert status == 0, command.said
        assert result["accepted"] == 100
        await until(lambda: len(receiver.statuses) == 100)
        await receiver.has(list(receiver.statuses))


async def test_bulk_requests_count_their_messages(
    command: Command, sdk: Sdk, folder: Path, control: str
):
    options = ("--messaging-service", sdk.service_sid, "--bulk", "100", "--count", "250")
    status, result = await bench(command, sdk, folder, *options, "--ledger", control)
    assert status == 0, command.said
    assert (result["requests"], result["accepted"]) == (3, 250)
    assert result["ledger"]["missing"] == []


async def test_what_is_refused_is_told_and_is_the_exit_status(
    command: Command, sdk: Sdk, folder: Path
):
    status, result = await bench(command, sdk, folder, "--from", "+447700900999", "--count", "20")
    assert status == 1
    assert result["accepted"] == 0
    assert result["refused"] == {"400/21659": 20}
    assert "20 with 400 (21659)" in command.said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --from or --messaging-service"),
        (("--from", "+447700900101", "--rate", "fast"), "--rate"),
        (("--from", "+447700900101", "--bulk", "0"), "--bulk"),
        (("--from", "+447700900101", "--recipients", "+44x"), "--recipients"),
        (("--from", "+447700900101", "--ledger", "http://127.0.0.1:1"), "ledger"),
        (("--from", "+447700900101"), "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_run_says_why(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
):
    who = ("--account", ACCOUNT_SID, "--token", AUTH_TOKEN)
    assert main(["bench", "http://127.0.0.1:1", *who, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tandem bench: ")
    assert words in said


async def test_a_gateway_that_stops_answering_ends_the_load():
    """Connections taken, nothing said: each request is given up, and the run ends by itself."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        sends = SingleSends(url, "AC1", "t", LoadMessage("x", "+447700900101"), Recipients())
        result = await Generator(url, Plan(5, 2, timeout_s=0.1), sends).run()
    assert result.answered == 0
    assert result.unanswered == result.requests == 5


async def test_answers_in_pieces_and_connections_that_close_are_understood():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"HTTP/1.1 201 Cre", b"ated\r\nconnection: close\r\nContent-Len", b"gth: 2"):
            writer.write(piece)
            await writer.drain()
        writer.write(b"\r\n\r\n{")
        await writer.drain()
        writer.write(b"}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sends = SingleSends(url, "AC1", "t", LoadMessage("x", "+447700900101"), Recipients())
    result = await Generator(url, Plan(6, 2), sends).run()
    server.close()
    await server.wait_closed()
    assert (result.accepted, result.unanswered) == (6, 0)


async def test_a_gateway_that_is_gone_ends_the_load():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sends = SingleSends(url, "AC1", "t", LoadMessage("x", "+447700900101"), Recipients())
    result = await Generator(url, Plan(100, 1, timeout_s=0.1), sends).run()
    assert result.gone
    assert result.accepted == 1
    assert not result.clean


def test_a_url_that_is_none_is_refused():
    sends = SingleSends("ftp://x", "AC1", "t", LoadMessage("x", "+1"), Recipients())
    with pytest.raises(LoadError, match="not an http"):
        Generator("ftp://x", Plan(1), sends)
