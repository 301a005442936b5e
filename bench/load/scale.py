"""What grows: memory with a long queue, and the cost of a message beside everything that is there.

Two gateways on one server, each with a database of its own. The small one has four senders, a
thousand queued messages, and nothing stored. The large one has thousands of senders, a million
queued, ten million stored. The queued ones wait for senders that are slow by their own rate; what
is measured goes through others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import aiohttp
import asyncpg

from bench.load.measure import Run, carry
from bench.load.processes import resident_mb
from bench.load.requests import BODY
from bench.load.rows import SERVICE, Row
from bench.load.sides import NUMBER, Tandem
from bench.load.stage import POLL_S, READY_S, SILENT, BenchError, Stage
from gateway.loadtest.generator import Generator, Plan
from gateway.loadtest.sends import RECIPIENTS, BulkSends, LoadMessage, Recipients
from storage.database import open_connection
from storage.migrate import migrate
from storage.partitions import ensure_partitions

POOL: Final = 400  # senders of one service
SLOW: Final = 4  # senders that the queue waits for …
SLOW_S: Final = 30_000  # … so long: within the ten hours of its bound
BULK: Final = 1_000
FILL_S: Final = 1_800.0
STORED_BATCH: Final = 250_000

# Final messages of today, each with an id of its own time, as the accept batch would make it.
STORED: Final = """
INSERT INTO messages (id, account_id, service_id, sender_id, carrier_id, direction, status,
                      encoding, segments, reference, callbacks_done, queued_at, sent_at,
                      done_at, expires_at, recipient, sender, body)
SELECT (lpad(to_hex($1::bigint + i * $2::bigint / $4), 12, '0')
        || substr(md5(i::text), 1, 20))::uuid,
       1, 1, 1 + i % 4, 1, 1, 5, 0, 1, i % 65536, 0, now(), now(), now(), now() + '10 hours',
       '+4477' || lpad(i::text, 8, '0'), '+447700900102', $5
  FROM generate_series($3::bigint, least($3 + 249999, $4 - 1)) AS i
"""

# Registered one by one over the API, thousands of senders take minutes: each change is a version of
# the configuration of its own, and read whole. So the rest are made like the first, at once.
SERVICES: Final = """
INSERT INTO services (sid, account_id, friendly_name, settings)
SELECT 'MG' || md5('bench' || pool), account_id, 'pool ' || pool, settings
  FROM services, generate_series(1, $2::int - 1) AS pool WHERE sid = $1
"""
SENDERS: Final = """
WITH made AS (
    INSERT INTO senders (sid, account_id, carrier_id, kind, address, country, friendly_name, sms)
    SELECT 'PN' || md5('bench' || at), s.account_id, s.carrier_id, s.kind,
           '+' || (ltrim(s.address, '+')::bigint + at), s.country, s.friendly_name, s.sms
      FROM senders AS s, generate_series($2::int, $3::int) AS at WHERE s.address = $1
    RETURNING id, ltrim(address, '+')::bigint - ltrim($1, '+')::bigint AS at
)
INSERT INTO service_senders (service_id, sender_id)
SELECT services.id, made.id
  FROM made JOIN services ON services.sid = 'MG' || md5('bench' || (made.at - 1) / $4::int)
"""
CONFIGURED: Final = "UPDATE config_version SET version = version + 1"


@dataclass(frozen=True, slots=True)
class Size:
    queued: int
    senders: int
    stored: int

    def __str__(self) -> str:
        return f"{self.queued:,} queued, {self.senders:,} senders, {self.stored:,} stored"


SMALL: Final = Size(1_000, 4, 0)
PROMISED: Final = Size(1_000_000, 4_000, 10_000_000)  # less than that shows nothing


@dataclass(frozen=True, slots=True)
class Scaled:
    """What came of both rows."""

    size: Size
    idle_mb: float  # of the large gateway, before anything was queued
    queued_mb: float
    small: list[Run]
    large: list[Run]

    def document(self) -> dict[str, Any]:
        return {
            "size": str(self.size),
            "idle_mb": self.idle_mb,
            "queued_mb": self.queued_mb,
            "small": [run.document() for run in self.small],
            "large": [run.document() for run in self.large],
        }


async def measure(
    stage: Stage, size: Size, rounds: int, count: int, random: Random, *, growth: bool
) -> Scaled:
    """Fill the large gateway and weigh it; with `growth`, then compare it with the small one."""
    large = Scale(stage, "large", size)
    await large.start()
    idle_mb = resident_mb(large.tandem.pid)
    await large.queue(random)
    queued_mb = resident_mb(large.tandem.pid)
    print(
        f"large: {idle_mb:.0f} MB idle, {queued_mb:.0f} MB with {size.queued:,} queued", flush=True
    )
    if not growth:
        return Scaled(size, idle_mb, queued_mb, [], [])
    small = Scale(stage, "small", SMALL)
    await small.start()
    await small.queue(random)
    runs: dict[str, list[Run]] = {"small": [], "large": []}
    row: Row = replace(SERVICE, name="growth")
    for turn in range(rounds + 1):  # the first warms up
        for scale in (small, large) if turn % 2 else (large, small):
            run = await carry(scale.tandem, stage, row, count, 64, random)
            assert run is not None
            print(f"round {turn}  growth  {scale.name:<6}{run.cpu_us:>7.0f} us", flush=True)
            if turn:
                runs[scale.name].append(run)
    return Scaled(size, idle_mb, queued_mb, runs["small"], runs["large"])


class Scale:
    """One gateway of this size."""

    def __init__(self, stage: Stage, name: str, size: Size) -> None:
        self.name = name
        self.tandem = Tandem(stage, name)
        self._stage = stage
        self._size = size
        self._slow_service = ""

    async def start(self) -> None:
        size, tandem = self._size, self.tandem
        if size.stored:
            tandem.database_url = await self._stage.database(f"bench_{self.name}")
            await store(tandem.database_url, size.stored)
        first = min(size.senders, POOL)
        await tandem.start(pool=[number(at) for at in range(1, first + 1)])
        async with tandem.session() as session:
            slow = [number(at) for at in range(size.senders + 1, size.senders + 1 + SLOW)]
            rate = size.queued / SLOW_S / SLOW
            self._slow_service = await tandem.pool(session, "slow", slow, SmsMps=f"{rate:.4f}")
            if size.senders > first:
                await self._add_pools(session, first)

    async def _add_pools(self, session: aiohttp.ClientSession, first: int) -> None:
        senders, tandem = self._size.senders, self.tandem
        pools = -(-senders // POOL)
        connection = await open_connection(tandem.database_url)
        try:
            async with connection.transaction():
                await connection.execute(SERVICES, tandem.service_sid, pools)
                await connection.execute(SENDERS, NUMBER, first + 1, senders, POOL)
                await connection.execute(CONFIGURED)
            last = await connection.fetchval("SELECT 'MG' || md5('bench' || $1::int)", pools - 1)
        finally:
            await connection.close()
        async with asyncio.timeout(READY_S):  # it looks for changes every few seconds
            while True:
                async with session.get(f"/messaging/v1/Services/{last}") as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(POLL_S)

    async def queue(self, random: Random) -> None:
        """Let the queued messages be accepted, all of them."""
        tandem, queued = self.tandem, self._size.queued
        sends = BulkSends(
            *(tandem.base_url, tandem.account_sid, tandem.token),
            LoadMessage(BODY, None, self._slow_service),
            Recipients(SILENT, random.randrange(RECIPIENTS)),
            min(BULK, queued),
        )
        plan = Plan(queued, 4, timeout_s=120.0, most_s=FILL_S)
        result = await Generator(tandem.base_url, plan, sends).run()
        if result.accepted < queued:
            raise BenchError(f"{self.name}: only {result.accepted:,} accepted: {result.refused}")


def number(at: int) -> str:
    """The numbers are those after NUMBER, which is in no service."""
    return f"+{int(NUMBER) + at}"


async def store(url: str, stored: int) -> None:
    """Fill an empty database with final messages of today."""
    connection = await open_connection(url)
    try:
        await migrate(connection)
        now = datetime.now(UTC)
        await ensure_partitions(connection, now.date())
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        start_ms, length_ms = (
            int(x * 1000) for x in (midnight.timestamp(), (now - midnight).seconds)
        )
        for at in range(0, stored, STORED_BATCH):
            await connection.execute(
                STORED, start_ms, max(length_ms, 1), at, stored, BODY, timeout=FILL_S
            )
        await connection.execute("VACUUM (ANALYZE) messages", timeout=FILL_S)
        await connection.execute("CHECKPOINT", timeout=FILL_S)
    except (asyncpg.PostgresError, TimeoutError) as error:
        raise BenchError(f"the stored messages can't be made: {error!r}") from None
    finally:
        await connection.close()
