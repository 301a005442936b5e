"""The journal: what is kept is found by what stands in it, bounded in time and size."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import orjson
from testing import until

from gateway.observe.journal import (
    FILE_OCTETS,
    HEAD,
    IN,
    MOST_FOUND,
    OUT,
    PENDING_OCTETS,
    Journal,
    JournalEntry,
)
from smpp.codec import HEADER

KEEPALIVE = HEADER.pack(16, 0x15, 0, 1)


def pdu(command: int, body: bytes) -> bytes:
    return HEADER.pack(16 + len(body), command, 0, 1) + body


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def made(folder: Path | None, **limits: float) -> tuple[Journal, Clock]:
    clock = Clock()
    keep_s = limits.get("keep_s", 3600.0)
    most = int(limits.get("most_octets", 10_000_000))
    file = int(limits.get("file_octets", FILE_OCTETS))
    return Journal(folder, clock, keep_s=keep_s, most_octets=most, file_octets=file), clock


async def test_entries_are_found_by_octets_and_time(tmp_path: Path) -> None:
    journal, clock = made(tmp_path)
    for n in range(5):
        clock.now = 1_000_000.0 + n
        journal.pdus("bind/1", "out", b"0123456789abcdef number %d" % n)
    found = await journal.find(1, (b"number 2", b"number 4"), 0, 2_000_000)
    assert [(entry.at, entry.name) for entry in found] == [
        (1_000_002.0, "bind/1"),
        (1_000_004.0, "bind/1"),
    ]
    assert await journal.find(1, (b"number",), 1_000_001.5, 1_000_002.5) == [found[0]]
    assert await journal.find(1, (b"number 9",), 0, 2_000_000) == []


async def test_erased_entries_are_gone_from_the_disk(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    journal.pdus("b", "in", b"0123456789abcdef secret one")
    journal.pdus("b", "in", b"0123456789abcdef other two")
    assert await journal.erase(1, (b"secret",), 0, 2_000_000) == 1
    assert await journal.find(1, (b"secret",), 0, 2_000_000) == []
    assert len(await journal.find(1, (b"other",), 0, 2_000_000)) == 1
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


async def test_what_came_at_once_is_found_pdu_by_pdu_in_its_order(tmp_path: Path) -> None:
    journal, clock = made(tmp_path)
    journal.pdus("b", "in", pdu(4, b"to 44790 long") + pdu(5, b"other") + pdu(4, b"to 44790"))
    clock.now += 1
    journal.pdus("b", "out", pdu(4, b"to 44790 later"))
    found = await journal.find(1, (b"44790",), 0, 2_000_000)
    assert [(entry.at, entry.payload[16:]) for entry in found] == [
        (1_000_000.0, b"to 44790 long"),
        (1_000_000.0, b"to 44790"),
        (1_000_001.0, b"to 44790 later"),
    ]
    assert sorted(set(found)) == found
    # What stands across two PDUs stands in neither.
    assert await journal.find(1, (b"long\0\0",), 0, 2_000_000) == []


async def test_a_pdu_is_erased_in_its_place_and_its_neighbours_stay(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    around = pdu(4, b"first 44790"), pdu(5, b"last 44790")
    journal.pdus("b", "in", around[0] + pdu(4, b"secret") + around[1])
    journal.call({"sid": "SM1", "to": "secret"})
    journal.flush()
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert await journal.erase(1, (b"secret",), 0, 2_000_000) == 2
    assert await journal.erase(1, (b"secret",), 0, 2_000_000) == 0
    found = await journal.find(1, (b"44790", b"SM1", b"\0\0\0\0"), 0, 2_000_000)
    assert tuple(entry.payload for entry in found) == around
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret" not in kept
    assert b"SM1" not in kept
    assert len(kept) == size


async def test_the_most_that_is_found_counts_pdus(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    for _ in range(2):
        journal.pdus("b", "in", pdu(4, b"44790") * (MOST_FOUND - 1))
    assert len(await journal.find(1, (b"44790",), 0, 2_000_000)) == MOST_FOUND


async def test_files_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """There each PDU was a record of its own, and an erased record had kind 0 and zeros."""
    journal, clock = made(tmp_path)
    octets = b""
    for kind, payload in ((OUT, pdu(4, b"a 44790")), (0, bytes(24)), (IN, pdu(5, b"b 44790"))):
        octets += HEAD.pack(clock.now, kind, 1, len(payload)) + b"b" + payload
    (tmp_path / "000001000000000-0.journal").write_bytes(octets)
    found = await journal.find(1, (b"44790", b"\0\0\0\0\0"), 0, 2_000_000)
    assert [(entry.kind, entry.name, entry.payload) for entry in found] == [
        (OUT, "b", pdu(4, b"a 44790")),
        (IN, "b", pdu(5, b"b 44790")),
    ]


async def test_old_files_go_and_so_do_the_oldest_of_too_many(tmp_path: Path) -> None:
    journal, clock = made(tmp_path, most_octets=250, file_octets=50)
    for n in range(6):
        clock.now += 1
        journal.pdus("b", "out", b"0" * 100 + b" %d" % n)
        journal.flush()
    left = await journal.find(1, (b"0000",), 0, 2_000_000)
    assert [entry.payload[-1:] for entry in left] == [b"4", b"5"]


async def test_keepalives_are_not_shown_and_alone_not_kept(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    journal.pdus("b", "out", KEEPALIVE)
    journal.flush()
    assert list(tmp_path.iterdir()) == []
    journal.pdus("b", "out", KEEPALIVE + pdu(4, b"hello") + KEEPALIVE)
    assert await journal.find(1, (KEEPALIVE,), 0, 2_000_000) == []
    [entry] = await journal.find(1, (b"hello", KEEPALIVE), 0, 2_000_000)
    assert entry.payload == pdu(4, b"hello")


async def test_nothing_is_kept_without_a_folder() -> None:
    off, _ = made(None)
    off.pdus("b", "out", b"x" * 20)
    assert not off.on
    assert await off.find(1, (b"x",), 0, 2_000_000) == []
    assert await off.erase(1, (b"x",), 0, 2_000_000) == 0


def test_what_the_disk_does_not_take_in_time_is_dropped_and_counted(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    large = pdu(4, bytes(PENDING_OCTETS // 4))
    for _ in range(3):
        journal.pdus("b", "out", large)
    journal.pdus("b", "out", large + pdu(4, b"small"))
    assert journal.dropped == 2
    journal.pdus("b", "out", pdu(4, b"small"))
    assert journal.dropped == 2
    journal.flush()
    journal.pdus("b", "out", large)
    assert journal.dropped == 2


async def test_a_call_is_kept_whatever_the_app_answered(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    journal.call({"sid": "SM1", "reason": "to ftp://a/\udcff", "status": 302})
    journal.call({"sid": "SM1", "reason": "ü", "status": 200})
    kept = [orjson.loads(entry.payload) for entry in await journal.find(1, (b"SM1",), 0, 2_000_000)]
    assert kept == [
        {"sid": "SM1", "reason": "to ftp://a/?", "status": 302},
        {"sid": "SM1", "reason": "ü", "status": 200},
    ]


async def test_searches_of_an_account_hold_up_neither_anothers_nor_what_is_written(
    tmp_path: Path,
) -> None:
    journal, _ = made(tmp_path)
    journal.pdus("b", "in", b"0123456789abcdef entry")
    begun, go = [], threading.Event()

    def held(entry: JournalEntry) -> bool:
        begun.append(entry)
        return go.wait()

    searches = [
        asyncio.create_task(journal.find(1, (b"entry",), 0, 2_000_000, held)) for _ in range(20)
    ]
    await until(lambda: bool(begun))
    journal.pdus("b", "in", b"0123456789abcdef entry of another")
    assert len(await journal.find(2, (b"another",), 0, 2_000_000)) == 1
    assert await journal.erase(2, (b"another",), 0, 2_000_000) == 1
    assert len(begun) == 1
    go.set()
    assert [len(found) for found in await asyncio.gather(*searches)] == [1] * 20
