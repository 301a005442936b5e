"""Two processes on one database: what one knows to be final, the other does not undo."""

from __future__ import annotations

import asyncpg
import pytest
from testing import GatewayUnderTest, Sdk

from gateway.messages.message import Flag, Status
from storage import media as media_rows
from storage import messages as message_rows
from storage.database import open_connection
from storage.ids import id_from_hex


async def test_a_row_that_is_final_goes_back_for_nobody(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    [message] = gateway.pipeline.runtime.live.values()
    writer = gateway.pipeline.writer
    # As a process that has not heard of the receipt, and of one more callback.
    message.status, message.done_at = Status.SENT, 0.0
    writer.mark(message)
    await writer.drained()
    assert (await sdk.fetch(sid)).status == "delivered"
    connection = await asyncpg.connect(gateway.database_url)
    assert await connection.fetchval("SELECT done_at FROM messages") is not None
    await connection.close()


FORGET = Flag.FORGET_TEXT | Flag.FORGET_RECIPIENT


async def late_write(gateway: GatewayUnderTest, row: int, memory: int) -> int:
    """The flags of a row, after a write of somebody who has others in memory."""
    [message] = gateway.pipeline.runtime.live.values()
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE messages SET flags = $1", row)
    message.flags = memory
    gateway.pipeline.writer.mark(message)
    await gateway.pipeline.writer.drained()
    flags: int = await connection.fetchval("SELECT flags FROM messages")
    await connection.close()
    return flags


@pytest.mark.parametrize(
    ("row", "memory", "left"),
    [
        (Flag.POSSIBLE_DUPLICATE, 0, Flag.POSSIBLE_DUPLICATE),  # another sent it again
        (0, Flag.POSSIBLE_DUPLICATE, Flag.POSSIBLE_DUPLICATE),
        (0, FORGET, 0),  # done in the row, and not to be done again
        (0, Flag.AWAITS_MEDIA, 0),  # another has fetched them
        (Flag.AWAITS_MEDIA, 0, 0),
        (0, Flag.CONVERTED, Flag.CONVERTED),
        (5 << 16, 2 << 16, 2 << 16),  # a number, not bits
        (Flag.POSSIBLE_DUPLICATE | 5 << 16, FORGET | 2 << 16, Flag.POSSIBLE_DUPLICATE | 2 << 16),
    ],
)
async def test_a_late_write_takes_no_mark_away_and_sets_none_that_was_ended(
    sdk: Sdk, gateway: GatewayUnderTest, row: int, memory: int, left: int
) -> None:
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    assert await late_write(gateway, row, memory) == left


def test_the_marks_that_storage_knows_are_those_of_the_gateway() -> None:
    assert message_rows.STAYING == Flag.POSSIBLE_DUPLICATE | Flag.ERASED
    assert message_rows.ENDING == FORGET | Flag.AWAITS_MEDIA
    assert [status for status in Status if status.final] == [
        status for status in Status if status >= message_rows.ENDED
    ]


@pytest.mark.parametrize("late", [Status.UNDELIVERED, Status.FAILED])
async def test_what_has_ended_keeps_its_end(
    sdk: Sdk, gateway: GatewayUnderTest, late: Status
) -> None:
    """Another process gave it up, and did not hear that the carrier had it."""
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    [message] = gateway.pipeline.runtime.live.values()
    message.status, message.error_code = late, 30410
    gateway.pipeline.writer.mark(message)
    await gateway.pipeline.writer.drained()
    found = await sdk.fetch(sid)
    assert (found.status, found.error_code) == ("delivered", None)


async def test_media_that_are_kept_take_no_mark_away(sdk: Sdk, gateway: GatewayUnderTest) -> None:
    """The other statement that writes flags from memory."""
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    connection = await open_connection(gateway.database_url)
    both = Flag.POSSIBLE_DUPLICATE | Flag.AWAITS_MEDIA | Flag.MEDIA
    await connection.execute("UPDATE messages SET waiting = 0, flags = $1", both)
    assert await media_rows.keep(connection, id_from_hex(sid[2:]), Flag.MEDIA, {}, [])
    left = Flag.POSSIBLE_DUPLICATE | Flag.MEDIA
    assert await connection.fetchval("SELECT flags FROM messages") == left
    await connection.close()
