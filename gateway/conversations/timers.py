"""Conversations that nobody speaks in become inactive, and then closed
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from typing import Final

from gateway.conversations import events as names
from gateway.conversations.events import EventWriter
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import Wall
from storage import conversations as rows
from storage.database import Connection, ConnectionPool, DatabaseUnavailable

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
PAGE: Final = 500
LONGEST_DAYS: Final = 3_650
_DURATION: Final = re.compile(
    r"P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?", re.ASCII
)


def interval_of(text: str | None) -> timedelta | None:
    """An ISO 8601 duration such as PT1H30M; None for none, or of no length. Raises ValueError."""
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(f"{text[:40]} is no ISO 8601 duration")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if length > timedelta(days=LONGEST_DAYS):
        raise ValueError(f"{text[:40]} is longer than {LONGEST_DAYS} days")
    return length or None


async def keep_time(pool: ConnectionPool, events: EventWriter, wall: Wall) -> None:
    """The stage: move what is due, a page at a time."""
    while True:
        moved = 0
        try:
            moved = await _sweep(pool, events, wall)
        except DatabaseUnavailable as error:
            log.warning("timers of conversations wait: %s", error, extra=AWAY)
        if moved < PAGE:
            await asyncio.sleep(EVERY_S)


async def _sweep(pool: ConnectionPool, events: EventWriter, wall: Wall) -> int:
    moved = 0
    async with pool.acquire() as connection:
        due = await rows.due(connection, PAGE)
        for conversation_id in due:
            with wall.around(resource=f"conversation {conversation_id}"):
                async with connection.transaction():
                    await _move(connection, events, conversation_id)
                moved += 1
    if due:
        events.written()
    return moved  # what can't be moved is looked at again, after a pause


async def _move(connection: Connection, events: EventWriter, conversation_id: int) -> None:
    before = await rows.locked(connection, conversation_id)
    state = await rows.due_now(connection, conversation_id)
    if before is None or state is None:
        return  # somebody spoke in it meanwhile
    await rows.set_state(connection, conversation_id, state)
    after = await rows.by_id(connection, conversation_id)
    if after is not None:
        parameters = names.of_state(after, before["state"], "TIMER")
        await events.record(connection, after, names.STATE_UPDATED, parameters)
