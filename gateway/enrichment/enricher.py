"""The stage between acceptance and routing, for the messages that need something from outside.

A few workers, not all of them for one account, take one message at a time, fetch what it needs,
store it, and hand the message on to the assigner, which chooses its sender as for one that has just
come. Later mail of the account to the same recipient is handed on after it. Until then it is
`accepted` (`queued` where it has a plain From), can be canceled, and expires. What a crash
interrupts says so in its row (`Flag.AWAITS_MEDIA`), and is handed to this stage again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, Final

from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft, Phase
from gateway.acceptance.pending_enrichment import AddressPair, key_of
from gateway.enrichment.media_fetch import MOST_OCTETS, Fetcher, File, Unusable
from gateway.enrichment.media_links import LIFE_S, media_urls, new_code
from gateway.enrichment.number_lookup import NumberLookup
from gateway.messages.lifecycle import Lifecycle, Refused
from gateway.messages.message import Flag, Message, Status
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import BROKEN, EXPIRED
from gateway.webhooks.connections import Connections
from storage import media as media_rows
from storage.database import DatabaseUnavailable, UniqueViolation

log = logging.getLogger(__name__)

TRIES: Final = 3
EXPIRY_EVERY_S: Final = 1.0
RETRY_S: Final = 0.5  # while the database is away


class Enricher:
    """Owns what is stored and waits for something from outside."""

    def __init__(
        self,
        runtime: Runtime,
        fetcher: Fetcher,
        assigner: Assigner,
        lifecycle: Lifecycle,
        connections: Connections,
        *,
        link_base: str,
        pause_s: float,
        lookup: NumberLookup | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._pool = runtime.pool
        self._router = assigner.router
        self._assigner = assigner
        self._lifecycle = lifecycle
        self._alerts = runtime.alerts
        self._clock = runtime.clock
        self._random = runtime.random
        self._link_base = link_base
        self._wall = runtime.walls.of("gathering")
        self._pause_s = pause_s
        self._lookup = lookup
        self._connections = connections
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: dict[int, deque[Draft]] = {}  # by account
        self._asked: set[int] = set()  # accounts that wait for a connection
        # Under the key of one that waits or is worked on: those that go after it.
        self._behind: dict[AddressPair, deque[Draft]] = {}
        self.gathered = 0

    @property
    def waiting(self) -> Sequence[Draft]:
        """The drafts that no worker has begun with."""
        return list(chain.from_iterable(self._waiting.values()))

    def hold(self, draft: Draft) -> None:
        """Take a draft that is committed and needs something, or goes after one that does."""
        behind = self._behind.get(key_of(draft))
        if behind is not None:
            behind.append(draft)
            return
        self._behind[key_of(draft)] = deque()
        self._next(draft)

    def _next(self, draft: Draft) -> None:
        account_id = draft.message.account_id
        self._waiting.setdefault(account_id, deque()).append(draft)
        self._staff(account_id)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._tasks = group
            group.create_task(self._expire(), name="gathering expiry")
            for account_id in list(self._waiting):
                self._staff(account_id)
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None  # what is held from now on waits for the next start

    def _staff(self, account_id: int) -> None:
        """Begin one more worker for what the account has waiting, if there is a connection."""
        if self._tasks is None or account_id not in self._waiting or account_id in self._asked:
            return
        if self._connections.enter(account_id):
            self._tasks.create_task(self._work(account_id), name="gathering")
        else:
            self._asked.add(account_id)
            self._connections.wait(account_id, partial(self._granted, account_id))

    def _granted(self, account_id: int) -> bool:
        """There is a connection for the account; whether it still needs it."""
        self._asked.discard(account_id)
        if self._tasks is None or account_id not in self._waiting:
            return False
        self._tasks.create_task(self._work(account_id), name="gathering")
        return True

    async def _work(self, account_id: int) -> None:
        """Do what the account has waiting, until others need the connection."""
        begun = False
        try:
            while waiting := self._waiting.get(account_id):
                if begun and self._connections.wanted(account_id):
                    break
                begun = True
                draft = waiting.popleft()
                if waiting:
                    self._staff(account_id)
                else:
                    del self._waiting[account_id]
                await self._do(draft)
        finally:
            self._connections.leave(account_id)
        self._staff(account_id)

    async def _do(self, draft: Draft) -> None:
        try:
            async with asyncio.timeout(self._left_s(draft.message)) as patience:
                ready = await self._gather(draft)
        except TimeoutError as error:
            ready = False
            if patience.expired():
                self._fail(draft.message, EXPIRED, "")
            else:
                await self._wait_for_the_database(draft, error)
                return
        except Unusable as unusable:
            self._fail(draft.message, unusable.code, str(unusable))
            ready = False
        except DatabaseUnavailable as error:
            await self._wait_for_the_database(draft, error)
            return
        except Exception as error:
            self._wall.tell(described(error), draft.message)
            self._fail(draft.message, BROKEN, "")
            ready = False
        self.gathered += 1
        if ready:
            draft.phase = Phase.READY
            self._assigner.admit((draft,))
        else:
            self._router.awaited.end(draft)
        self._follow(key_of(draft))

    def _left_s(self, message: Message) -> float:
        """Until its validity ends: nobody waits longer for what it needs."""
        return max(0.0, message.valid_until - self._clock.wall())

    async def _wait_for_the_database(self, draft: Draft, error: Exception) -> None:
        log.error("database: %s; what waits for its media goes on waiting", error, extra=AWAY)
        await asyncio.sleep(RETRY_S)
        self._next(draft)

    async def _expire(self) -> None:
        """Fail those that became too old while they wait for a worker, or behind another."""
        while True:
            await asyncio.sleep(EXPIRY_EVERY_S)
            now = self._clock.wall()
            for draft in (*self.waiting, *chain.from_iterable(self._behind.values())):
                if draft.message.valid_until <= now and not draft.message.status.final:
                    self._fail(draft.message, EXPIRED, "")

    def _follow(self, key: AddressPair) -> None:
        """The first of this key is done with: the next one's turn has come."""
        behind = self._behind[key]
        if behind:
            self._next(behind.popleft())
        else:
            del self._behind[key]

    async def _gather(self, draft: Draft) -> bool:
        """Get all that this message needs. False: it waits no more. Raises Unusable."""
        message = draft.message
        if draft.awaits_media and not await self._fetch_media(message):
            return False
        if self._lookup is not None and self._router.awaited.asks_carrier(draft):
            draft.network = await self._lookup.carrier(message.recipient)
        if message.status.final:  # canceled meanwhile
            return False
        if self._clock.wall() >= message.valid_until:
            self._fail(message, EXPIRED, "")
            return False
        return True

    async def _fetch_media(self, message: Message) -> bool:
        """Fetch and store them. False: the message waits no more. Raises Unusable."""
        files: list[File] = []
        room = MOST_OCTETS
        for url in media_urls(message):
            if message.status is not Status.ACCEPTED:
                return False
            file = await self._fetch(url, room, message.account_id)
            room -= len(file.octets)
            files.append(file)
        while True:
            try:
                return await self._store(message, files)
            except UniqueViolation:
                continue  # a code that is taken, once in a blue moon

    async def _fetch(self, url: str, room: int, account_id: int) -> File:
        for attempt in range(1, TRIES + 1):
            try:
                return await self._fetcher.file(url, room, account_id)
            except Unusable as unusable:
                if not unusable.again or attempt == TRIES:
                    raise
            await asyncio.sleep(self._pause_s * attempt)
        raise AssertionError("the last try returns or raises")

    async def _store(self, message: Message, files: list[File]) -> bool:
        until = datetime.fromtimestamp(self._clock.wall() + LIFE_S, UTC)
        codes = [new_code(self._random) for _ in files]
        rows = [
            (
                f"ME{self._random.getrandbits(128):032x}",
                message.id,
                message.account_id,
                position,
                file.content_type,
                file.octets,
                code,
                until,
            )
            for position, (file, code) in enumerate(zip(files, codes, strict=True))
        ]
        base = self._link_base
        extras: dict[str, Any] = {
            **(message.extras or {}),
            "links": [base + code for code in codes],
        }
        flags = message.flags & ~Flag.AWAITS_MEDIA
        async with self._pool.acquire() as connection:
            kept = await media_rows.keep(connection, message.id, int(flags), extras, rows)
        if kept:
            message.flags, message.extras = flags, extras
        return kept

    def _fail(self, message: Message, code: int, why: str) -> None:
        if not self._lifecycle.apply(message, Refused(code)):
            return  # canceled meanwhile
        if why:
            self._alerts.alert(
                code, why, level="error", resource=message.sid, account_id=message.account_id
            )
