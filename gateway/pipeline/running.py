"""How the stages of a pipeline begin, and how they end without leaving anything half done."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.backlog.recovery import Recovered
from gateway.backlog.retention import keep_forgetting
from gateway.pipeline.assembly import Pipeline
from storage import messages as message_rows
from storage.ids import id_at

log = logging.getLogger(__name__)

GOODBYE_S: Final = 1.0  # for an unbind, and for the last batch of the write-behind
MOST_AHEAD_S: Final = 86_400.0  # a clock that was wrong by more than this: its ids are not followed


async def start(pipeline: Pipeline) -> Recovered:
    """Load the configuration, take up what a former run left, open every stage."""
    await pipeline.housekeeping.prepare()
    async with pipeline.runtime.pool.acquire() as connection:
        most = id_at(pipeline.runtime.clock.wall() + MOST_AHEAD_S)
        newest = await message_rows.newest(connection, most)
    if newest is not None:  # a clock that was set back meanwhile must not change the order
        pipeline.runtime.next_id.follow(newest)
        pipeline.router.references.begin(pipeline.runtime.next_id.now())
    await pipeline.connectors.adopt_file(pipeline.runtime.pool)
    await pipeline.configuration.begin()
    await pipeline.mappings.count()
    pipeline.submitter.connect(pipeline.connectors.by_id)
    reading = await pipeline.runtime.database.open("recovery")
    try:
        recovered = await pipeline.recovery.run(reading)
    finally:
        await reading.close()
    forgetting = keep_forgetting(
        pipeline.runtime.pool,
        callbacks_end_s=pipeline.settings.webhooks.retry_for_s,
        deletions_s=pipeline.settings.journal.keep_hours * 3600,
    )
    for name, work in {
        "writer": pipeline.writer.run(),
        "alerts": pipeline.runtime.alerts.run(),
        "journal": pipeline.runtime.journal.run(),
        "receipts": pipeline.receipts.run(),
        "submitter": pipeline.submitter.run(),
        "spill": pipeline.overflow.run(),
        "acceptor": pipeline.acceptor.run(),
        "assigner": pipeline.assigner.run(),
        "scheduler": pipeline.scheduler.run(),
        "retention": forgetting,
        "mappings": pipeline.mappings.run(),
        "configuration": pipeline.configuration.run(),
        "partitions": pipeline.housekeeping.run(),
        "adoption": pipeline.takeover.run(),
        "carriers": pipeline.connectors.run(),
    }.items():
        pipeline.stages.start(name, work)
    return recovered


async def stop(pipeline: Pipeline, drain_s: float) -> None:
    """Take nothing new, wait for answers under way, write everything, close.

    In `drain_s` seconds all in all, and a little for the last goodbyes.
    """
    if pipeline.stages.one_ended:
        drain_s = 0.0
    now = asyncio.get_running_loop().time
    until = now() + drain_s
    try:
        async with asyncio.timeout_at(until):
            await pipeline.acceptor.close()
    except TimeoutError:
        log.error("stopping with %d sends not answered", pipeline.acceptor.backlog)
    try:
        async with asyncio.timeout_at(until + GOODBYE_S):  # a deaf carrier answers no unbind
            await pipeline.connectors.close(max(0.0, until - now()))
    except TimeoutError:
        log.warning("stopping with a carrier that does not answer to unbind")
    try:
        async with asyncio.timeout_at(max(until, now() + GOODBYE_S)):
            await pipeline.writer.drained()
            await pipeline.events.inbound.drained()
    except TimeoutError:
        log.error(
            "stopping with %d events not written; a restart repeats them", pipeline.writer.pending
        )
    await pipeline.stages.cancel()
