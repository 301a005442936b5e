"""The upkeep of sticky mappings beside the hot path
(docs/spec/messaging-services.md#sticky-sender).

How many each sender has is counted when the process starts and kept up as they are made and lost;
what one process makes another does not count, so two processes share out evenly only what each
itself assigns. Mappings that nobody uses any more are deleted in small portions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from gateway.messages.message import Message
from gateway.observe.outage_log import AWAY
from gateway.routing.sender_load import SenderLoads
from storage import recipients as recipient_rows
from storage.database import ConnectionPool, DatabaseUnavailable
from storage.ids import Id

log = logging.getLogger(__name__)

EVERY_S = 3600.0
PORTION = 10_000  # mappings deleted in one statement
UNUSED_BOUND = 10_000  # beyond it a mapping whose message never went stays, which harms little


class StickyUpkeep:
    """One stage: counts once, then sweeps."""

    def __init__(self, pool: ConnectionPool, loads: SenderLoads) -> None:
        self._pool = pool
        self._loads = loads
        self._unused: list[tuple[int, str, Id]] = []
        self._wake = asyncio.Event()

    async def count(self) -> None:
        """Tell every sender's standing how many mappings are stored."""
        async with self._pool.acquire() as connection:
            for sender_id, mappings in (await recipient_rows.counts(connection)).items():
                self._loads.set_mappings(sender_id, mappings)

    def unused(self, message: Message) -> None:
        """A message failed before it was submitted: a mapping made for it alone is dropped."""
        if message.service_id is not None and len(self._unused) < UNUSED_BOUND:
            self._unused.append((message.service_id, message.recipient, message.id))
            self._wake.set()

    def sweep_soon(self) -> None:
        """A sender left a pool."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                await self._drop_unused()
                while await self._drop_stale() == PORTION:
                    pass
            except DatabaseUnavailable as error:
                log.warning("mappings not swept: %s", error, extra=AWAY)
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _drop_unused(self) -> None:
        while self._unused:
            batch, self._unused = self._unused, []
            try:
                async with self._pool.acquire() as connection:
                    self._lost(await recipient_rows.drop_unused(connection, batch))
            except DatabaseUnavailable:
                self._unused = batch + self._unused
                raise

    async def _drop_stale(self) -> int:
        senders = await recipient_rows.drop_stale(self._pool, PORTION)
        self._lost(senders)
        return len(senders)

    def _lost(self, senders: list[int]) -> None:
        for sender_id, count in Counter(senders).items():
            self._loads.mapped(sender_id, -count)
