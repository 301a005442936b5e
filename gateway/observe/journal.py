"""What went over the wire, kept for some hours: every PDU, every call of a webhook.

Diagnosis, not truth: records are gathered in memory and written every second, so a crash loses the
last of them; nothing waits for them. A file is a run of records (time, kind, name length, payload
length, name, payload), closed when it is full; files go when they are too old or when all are too
many.

A record is what a session read or wrote at once, with all its PDUs, or one call of a webhook. Only
who reads it looks for the entries in it: a message's are found by its recipient's digits and its
SID, which stand in the octets themselves, so that keeping them costs an append per read or write
and nothing else. An entry that is erased is zeros but for its length: the next is found by it.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateway.runtime.clock import Clock
from gateway.runtime.fair_turns import FairTurns
from smpp.codec import HEADER_OCTETS
from smpp.framing import pieces

log = logging.getLogger(__name__)

FLUSH_S: Final = 1.0
FILE_OCTETS: Final = 32 * 1024 * 1024
PENDING_OCTETS: Final = FILE_OCTETS  # in memory; beyond it the newest are dropped, and counted
MOST_FOUND: Final = 1_000
READERS: Final = 2  # searches under way, each of another account
HEAD: Final = struct.Struct("<dBBI")  # time, kind, octets of the name, octets of the payload
LENGTH_OCTETS: Final = 4  # of a PDU, before its command

OUT, IN, CALL = 1, 2, 3
KEEPALIVES: Final = (b"\x00\x00\x00\x15", b"\x80\x00\x00\x15")  # enquire_link and its answer
PASSED_OVER: Final = (b"\x00\x00\x00\x00", *KEEPALIVES)  # the first of an entry that was erased


class JournalEntry(NamedTuple):
    """A PDU on a bind, or (as JSON) a webhook that was called. Entries sort as they came."""

    at: float
    place: int  # octets before it in its file: those of one read or write have one time
    kind: int
    name: str  # of the bind
    payload: bytes


class Journal:
    """One process's files under `folder`; without a folder it keeps nothing."""

    def __init__(
        self,
        folder: Path | None,
        clock: Clock,
        *,
        keep_s: float,
        most_octets: int,
        file_octets: int = FILE_OCTETS,
        writer: int = 0,
    ) -> None:
        """`writer` tells the files of several processes with one folder apart."""
        self._writer = writer
        self._folder = folder
        self._clock = clock
        self._keep_s = keep_s
        self._most_octets = most_octets
        self._file_octets = file_octets
        self._pending: deque[bytes] = deque()
        # Octets, ever: each is counted by one thread alone.
        self._gathered = self._taken = 0
        self._file: Path | None = None
        self._size = 0
        self.dropped = 0
        # Threads of its own: a search goes through up to `most_octets`, and whoever asks for many
        # must hold up neither what is written nor what else waits for a thread.
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="journal writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="journal reader")
        self._turns = FairTurns(READERS, 1)

    @property
    def on(self) -> bool:
        return self._folder is not None

    def pdus(self, name: str, direction: str, octets: bytes) -> None:
        """Whole PDUs went `out` or came `in` on a bind at once.

        Those that keep it alive are never shown, and alone not kept either.
        """
        if len(octets) == HEADER_OCTETS and octets[4:8] in KEEPALIVES:
            return
        self._add(OUT if direction == "out" else IN, name.encode()[:255], octets)

    def call(self, facts: dict[str, object]) -> None:
        """A webhook was called; `sid` is the message's."""
        if self._folder is None:
            return
        try:
            payload = orjson.dumps(facts)
        except TypeError:  # a text from outside holds what is no character
            payload = orjson.dumps({name: _kept(fact) for name, fact in facts.items()})
        self._add(CALL, b"", payload)

    def _add(self, kind: int, name: bytes, payload: bytes) -> None:
        if self._folder is None:
            return
        octets = HEAD.size + len(name) + len(payload)
        if self._gathered - self._taken + octets > PENDING_OCTETS:
            self.dropped += sum(1 for _ in pieces(payload))
            return
        self._gathered += octets
        head = HEAD.pack(self._clock.wall(), kind, len(name), len(payload))
        self._pending.append(b"".join((head, name, payload)))

    async def run(self) -> None:
        """Write what gathers, until cancelled; then the rest."""
        if self._folder is None:
            await asyncio.Event().wait()
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self._flushed()
        finally:
            self._writing.shutdown()
            self._reading.shutdown(wait=False)
            self.flush()

    async def _flushed(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writing, self.flush)

    def flush(self) -> None:
        """Write what has gathered, and let old files go. Logs what the disk does not take."""
        assert self._folder is not None
        data = b"".join(self._pending.popleft() for _ in range(len(self._pending)))
        self._taken += len(data)
        try:
            if data:
                self._append(self._folder, data)
            self._prune(self._folder)
        except OSError as error:
            log.warning("the journal of PDUs was not written: %s", error)

    def _append(self, folder: Path, data: bytes) -> None:
        if self._file is None or self._size >= self._file_octets:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = folder / f"{int(self._clock.wall() * 1000):015d}-{self._writer}.journal"
            self._size = 0
        # Texts and numbers stand in it: nobody else's to read.
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as out:
            out.write(data)
        self._size += len(data)

    def _prune(self, folder: Path) -> None:
        files = sorted(folder.glob("*.journal"))
        total = sum(file.stat().st_size for file in files)
        for file in files:
            stat = file.stat()
            if file == self._file or (
                total <= self._most_octets and stat.st_mtime > self._clock.wall() - self._keep_s
            ):
                continue
            total -= stat.st_size
            file.unlink()

    # Reading ------------------------------------------------------------------------------

    async def find(
        self,
        account_id: int,
        needles: Iterable[bytes],
        since: float,
        until: float,
        wanted: Callable[[JournalEntry], bool] = lambda entry: True,
    ) -> list[JournalEntry]:
        """Entries between two moments in which one of `needles` stands, by time; at most 1,000.

        For an account: its searches are made one after the other.
        """
        if self._folder is None:
            return []
        async with self._turns.one(account_id):
            await self._flushed()
            found = await asyncio.get_running_loop().run_in_executor(
                self._reading, self._find, self._folder, tuple(needles), since, until, wanted
            )
        return sorted(found, key=lambda entry: entry.at)  # those of several processes

    def _find(
        self,
        folder: Path,
        needles: tuple[bytes, ...],
        since: float,
        until: float,
        wanted: Callable[[JournalEntry], bool],
    ) -> list[JournalEntry]:
        found: list[JournalEntry] = []
        for file in _between(sorted(folder.glob("*.journal")), since, until):
            for entry in _scan(file, needles, since, until):
                if wanted(entry):
                    found.append(entry)
                if len(found) >= MOST_FOUND:
                    return found
        return found

    async def erase(
        self, account_id: int, needles: Iterable[bytes], since: float, until: float
    ) -> int:
        """Overwrite such entries, and leave what else is in their records; return how many.

        A text that was redacted is gone here too.
        """
        if self._folder is None:
            return 0
        async with self._turns.one(account_id):
            await self._flushed()
            return await asyncio.get_running_loop().run_in_executor(
                self._reading, self._erase, self._folder, tuple(needles), since, until
            )

    def _erase(self, folder: Path, needles: tuple[bytes, ...], since: float, until: float) -> int:
        erased = 0
        for file in _between(sorted(folder.glob("*.journal")), since, until):
            entries = list(_scan(file, needles, since, until))
            with file.open("r+b") as out:
                for _, place, _, _, payload in entries:
                    length = int.from_bytes(payload[:LENGTH_OCTETS], "big")
                    kept = LENGTH_OCTETS if length == len(payload) else 0
                    out.seek(place + kept)
                    out.write(bytes(len(payload) - kept))
            erased += len(entries)
        return erased


def _between(files: list[Path], since: float, until: float) -> Iterator[Path]:
    """Files that may hold entries of the time: one's name is the moment of its first."""
    following: dict[str, float] = {}  # by writer: when its next file begins
    found = []
    for file in reversed(files):
        began, _, writer = file.stem.partition("-")
        begins = int(began) / 1000
        if begins - 2 * FLUSH_S <= until and following.get(writer, float("inf")) >= since:
            found.append(file)
        following[writer] = begins
    yield from reversed(found)


def _scan(
    file: Path, needles: tuple[bytes, ...], since: float, until: float
) -> Iterator[JournalEntry]:
    """Entries of one file in which a needle stands, in its order."""
    try:
        size = file.stat().st_size
    except FileNotFoundError:  # pruned in the meantime
        return
    if not size:
        return
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not any(data.find(needle) >= 0 for needle in needles):
            return
        at = 0
        while at + HEAD.size <= len(data):
            moment, kind, name_length, length = HEAD.unpack_from(data, at)
            start = at + HEAD.size + name_length
            if since <= moment <= until:
                octets = data[start : start + length]
                if any(needle in octets for needle in needles):
                    name = data[at + HEAD.size : start].decode()
                    for begin, end in pieces(octets):
                        payload = octets[begin:end]
                        if payload[4:8] not in PASSED_OVER and any(
                            needle in payload for needle in needles
                        ):
                            yield JournalEntry(moment, start + begin, kind, name, payload)
            at = start + length


def _kept(fact: object) -> object:
    """A fact as JSON takes it."""
    return fact.encode("utf-8", "replace").decode() if isinstance(fact, str) else fact
