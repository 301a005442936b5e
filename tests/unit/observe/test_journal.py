"""The journal: what is kept is found by what stands in it, bounded in time and size."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import orjson
from testing import until

from gateway.observe.journal import FILE_OCTETS, PENDING_BOUND, Journal, JournalEntry


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
        journal.pdu("bind/1", "out", b"0123456789abcdef number %d" % n)
    found = await journal.find(1, (b"number 2", b"number 4"), 0, 2_000_000)
    assert [(entry.at, entry.name) for entry in found] == [
        (1_000_002.0, "bind/1"),
        (1_000_004.0, "bind/1"),
    ]
    assert await journal.find(1, (b"number",), 1_000_001.5, 1_000_002.5) == [found[0]]
    assert await journal.find(1, (b"number 9",), 0, 2_000_000) == []


async def test_erased_entries_are_gone_from_the_disk(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    journal.pdu("b", "in", b"0123456789abcdef secret one")
    journal.pdu("b", "in", b"0123456789abcdef other two")
    assert await journal.erase(1, (b"secret",), 0, 2_000_000) == 1
    assert await journal.find(1, (b"secret",), 0, 2_000_000) == []
    assert len(await journal.find(1, (b"other",), 0, 2_000_000)) == 1
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


async def test_old_files_go_and_so_do_the_oldest_of_too_many(tmp_path: Path) -> None:
    journal, clock = made(tmp_path, most_octets=250, file_octets=50)
    for n in range(6):
        clock.now += 1
        journal.pdu("b", "out", b"0" * 100 + b" %d" % n)
        journal.flush()
    left = await journal.find(1, (b"0000",), 0, 2_000_000)
    assert [entry.payload[-1:] for entry in left] == [b"4", b"5"]


async def test_keepalives_are_not_kept_and_nothing_is_without_a_folder(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    journal.pdu("b", "out", bytes.fromhex("00000010000000150000000000000001"))
    assert await journal.find(1, (b"\x15",), 0, 2_000_000) == []
    off, _ = made(None)
    off.pdu("b", "out", b"x" * 20)
    assert not off.on
    assert await off.find(1, (b"x",), 0, 2_000_000) == []
    assert await off.erase(1, (b"x",), 0, 2_000_000) == 0


def test_what_the_disk_does_not_take_in_time_is_dropped_and_counted(tmp_path: Path) -> None:
    journal, _ = made(tmp_path)
    for _ in range(PENDING_BOUND + 3):
        journal.pdu("b", "out", b"x" * 20)
    assert journal.dropped == 3


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
    journal.pdu("b", "in", b"0123456789abcdef entry")
    begun, go = [], threading.Event()

    def held(entry: JournalEntry) -> bool:
        begun.append(entry)
        return go.wait()

    searches = [
        asyncio.create_task(journal.find(1, (b"entry",), 0, 2_000_000, held)) for _ in range(20)
    ]
    await until(lambda: bool(begun))
    journal.pdu("b", "in", b"0123456789abcdef entry of another")
    assert len(await journal.find(2, (b"another",), 0, 2_000_000)) == 1
    assert await journal.erase(2, (b"another",), 0, 2_000_000) == 1
    assert len(begun) == 1
    go.set()
    assert [len(found) for found in await asyncio.gather(*searches)] == [1] * 20
