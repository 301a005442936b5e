"""The other workers of this gateway: what is asked of them, and how their questions are answered.

Each kind of frame has one owner, which registers its answer here and asks through here; what the
octets of a frame mean is the owner's. The committed row is what is handed over; what is said about
it is a bell (docs/workers.md#workers). Whoever asks names the version of the configuration that it
knows: one who knows less reads it first.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from gateway.cluster.placement import Ownership
from gateway.cluster.transport import (
    FrameHandler,
    FrameKind,
    Links,
    OnReply,
    PeerFailure,
    SendReply,
    Unanswered,
)
from gateway.directory.directory import Directory
from gateway.observe.outage_log import AWAY
from storage.database import DatabaseUnavailable
from storage.ids import Id, id_from_bytes

log = logging.getLogger(__name__)

VERSION: Final = struct.Struct(">Q")
ID_OCTETS: Final = 16


class Peers:
    """Asks and answers; without a folder this process is alone, and nothing is another's."""

    def __init__(
        self, directory: Directory, ownership: Ownership, folder: Path | None = None
    ) -> None:
        """`folder`: where each worker has its socket."""
        self._directory = directory
        self._ownership = ownership
        self._answers: dict[FrameKind, FrameHandler] = {}
        self.links: Links | None = None
        if folder is not None:
            self.links = Links(folder, ownership.share, self._answers)
        # Reads the configuration.
        self.read: Callable[[], Awaitable[None]] = _nothing
        self._tasks: set[asyncio.Task[None]] = set()

    def owner(self, service_id: int | None, sender_id: int | None) -> int | None:
        """The worker that has a message of this service or sender; None: this one."""
        if self.links is None:
            return None
        slot = self._ownership.of(service_id, sender_id)
        return slot if slot != self._ownership.share.slot else None

    # Answering ----------------------------------------------------------------------------

    def on(self, kind: FrameKind, answer: FrameHandler) -> None:
        """Questions of this kind are answered so, at once or later."""
        self._answers[kind] = answer

    def on_work(self, kind: FrameKind, work: Callable[[bytes], Awaitable[bytes]]) -> None:
        """… with what this returns. The question fails where it raises."""

        def answer(payload: bytes, reply: SendReply) -> None:
            async def worked() -> None:
                reply(await work(payload))

            self._task(worked(), reply)

        self._answers[kind] = answer

    def at_version(self, version: int, work: Callable[[], None], failed: SendReply) -> None:
        """Do this with a configuration that is not older; `failed` hears None where none is."""
        if version <= self._directory.version:
            work()
            return

        async def read() -> None:
            await self.read()
            work()

        self._task(read(), failed)

    def _task(self, work: Coroutine[Any, Any, None], failed: SendReply) -> None:
        async def guarded() -> None:
            try:
                await work
            except DatabaseUnavailable as error:
                log.warning("a question of another worker: %s", error, extra=AWAY)
                failed(None)
            except Exception:
                log.exception("a question of another worker")
                failed(None)

        task = asyncio.create_task(guarded(), name="question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Asking -------------------------------------------------------------------------------

    def ask(
        self, slot: int, kind: FrameKind, payload: bytes, answered: OnReply, *, patient: bool = True
    ) -> None:
        """See `Links.ask`."""
        assert self.links is not None, "there is nobody else"
        self.links.ask(slot, kind, payload, answered, patient=patient)

    def tell(self, slot: int, kind: FrameKind, payload: bytes) -> None:
        """Ask, whatever the answer is: a worker that starts again finds it in its rows."""
        self.ask(slot, kind, payload, _ignored)

    def tell_all(self, kind: FrameKind, payload: bytes) -> None:
        """Tell all that are there now."""
        if self.links is not None:
            for slot in self.links.others:
                self.links.ask(slot, kind, payload, _ignored, patient=False)

    async def question(self, slot: int, kind: FrameKind, payload: bytes = b"") -> bytes:
        """The reply. Raises Unanswered."""
        assert self.links is not None, "there is nobody else"
        return await self.links.question(slot, kind, payload)

    async def ask_all(self, kind: FrameKind, payload: bytes, most_s: float) -> dict[int, bytes]:
        """The replies of those that give one in time, by slot."""
        links = self.links
        if links is None:
            return {}

        async def asked(slot: int) -> bytes | None:
            try:
                async with asyncio.timeout(most_s):
                    return await links.question(slot, kind, payload, patient=False)
            except (Unanswered, TimeoutError):
                return None

        replies = await asyncio.gather(*map(asked, links.others))
        return {
            slot: reply
            for slot, reply in zip(links.others, replies, strict=True)
            if reply is not None
        }


def pack_ids(number: int, ids: Iterable[Id]) -> bytes:
    """A version, or an account, and messages."""
    return VERSION.pack(number) + b"".join(id.bytes for id in ids)


def unpack_ids(payload: bytes) -> tuple[int, Iterator[Id]]:
    (number,) = VERSION.unpack_from(payload)
    starts = range(VERSION.size, len(payload), ID_OCTETS)
    return number, (id_from_bytes(payload[at : at + ID_OCTETS]) for at in starts)


def _ignored(reply: bytes | PeerFailure) -> None:
    """Nothing follows from it."""


async def _nothing() -> None:
    """Nothing is read before the pipeline is there."""
