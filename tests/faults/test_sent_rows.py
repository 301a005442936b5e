"""Rows of what a carrier took, and of which nothing else is to be said: a statement of their own.

It must leave the rows as the statement for everything else would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from time import time
from typing import Any

import asyncpg
import pytest
from carriers import StartSmsc
from test_odd_units import Start, draft_of, outcomes
from testing import GatewayUnderTest, Sdk, carrier, free_port

from gateway.messages.lifecycle import AnswerLost, Submitted
from gateway.messages.message import Flag, Message, Status
from gateway.submission.write_behind import SegmentName, WriteBatch
from storage import messages as message_rows
from storage.database import Connection, open_connection

ROWS = "SELECT * FROM messages ORDER BY id"
NAMES = """
SELECT carrier_id, carrier_message_id, message_id, segment, receipt, at
  FROM submissions ORDER BY message_id, segment
"""


async def claimed(gateway: GatewayUnderTest, count: int) -> list[Message]:
    """Messages whose rows say that they are being sent, and nothing more."""
    drafts = [draft_of(gateway) for _ in range(count)]
    assert await outcomes(gateway, [(draft, None) for draft in drafts]) == [None] * count
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE messages SET status = $1, waiting = NULL", Status.SENDING)
    await connection.close()
    messages = [draft.message for draft in drafts]
    for message in messages:
        message.status, message.waiting = Status.SENT, False
        message.sent_at = round(time(), 3)  # the two round microseconds each in its own way
    return messages


def name_of(message: Message, segment: int = 1, name: str = "") -> SegmentName:
    return SegmentName(message, segment, name or f"id {message.sid}", message.sent_at)


@pytest.fixture
async def waiting(start_gateway: Start) -> GatewayUnderTest:
    """A gateway whose carrier is away: it writes nothing by itself."""
    gateway = await start_gateway(free_port())
    await Sdk.provisioned(gateway.base_url)
    return gateway


Batch = Callable[[Sequence[Message]], WriteBatch]
SHAPES: dict[str, tuple[Batch, Batch]] = {
    "what was sent alone": (
        lambda m: WriteBatch([], [], [], [], [name_of(one) for one in m]),
        lambda m: WriteBatch(list(m), [name_of(one) for one in m], [], []),
    ),
    "beside what has ended": (
        lambda m: WriteBatch(m[:2], [], [], [], [name_of(one) for one in m[2:]]),
        lambda m: WriteBatch(list(m), [name_of(one) for one in m[2:]], [], []),
    ),
    "beside what has names": (
        lambda m: WriteBatch(
            m[:2],
            [name_of(m[0]), name_of(m[0], 2, "its second")],
            [],
            [],
            [name_of(one) for one in m[2:]],
        ),
        lambda m: WriteBatch(
            list(m),
            [name_of(m[0]), name_of(m[0], 2, "its second"), *(name_of(one) for one in m[2:])],
            [],
            [],
        ),
    ),
    "beside receipts of parts": (
        lambda m: WriteBatch(
            m[:1], [name_of(m[0])], [(m[0], 1, 2)], [], [name_of(one) for one in m[1:]]
        ),
        lambda m: WriteBatch(list(m), [name_of(one) for one in m], [(m[0], 1, 2)], []),
    ),
    "beside names of others": (
        lambda m: WriteBatch([], [name_of(m[0])], [], [], [name_of(one) for one in m[1:]]),
        lambda m: WriteBatch(m[1:], [name_of(one) for one in m], [], []),
    ),
}


async def written(connection: Connection, batch: WriteBatch) -> tuple[list[Any], list[Any]]:
    """Rows and names after this batch; all is as before afterwards."""
    transaction = connection.transaction()
    await transaction.start()
    await batch.write(connection)
    found = list(await connection.fetch(ROWS)), list(await connection.fetch(NAMES))
    await transaction.rollback()
    return found


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_rows_are_those_of_the_general_statement(
    waiting: GatewayUnderTest, shape: str
) -> None:
    messages = await claimed(waiting, 5)
    short, general = SHAPES[shape]
    connection = await open_connection(waiting.database_url)
    assert await written(connection, short(messages)) == await written(
        connection, general(messages)
    )
    await connection.close()


@pytest.mark.parametrize("ended", [Status.DELIVERED, Status.FAILED, Status.CANCELED])
async def test_a_row_that_has_ended_stays_as_it_is(
    waiting: GatewayUnderTest, ended: Status
) -> None:
    [message] = await claimed(waiting, 1)
    connection = await open_connection(waiting.database_url)
    await connection.execute("UPDATE messages SET status = $1", ended)
    batch = WriteBatch([], [], [], [], [name_of(message)])
    [row] = (await written(connection, batch))[0]
    assert (row["status"], row["sent_at"]) == (ended, None)
    await connection.close()


async def test_one_that_no_table_takes_keeps_no_other_back(waiting: GatewayUnderTest) -> None:
    messages = await claimed(waiting, 5)
    odd = messages[2]
    writer = waiting.pipeline.writer
    for message in messages:
        writer.submitted(name_of(message, name="\ud800" if message is odd else ""))
        writer.moved(message, Submitted())
    await writer.drained()
    connection = await open_connection(waiting.database_url)
    states = {row["id"]: row["status"] for row in await connection.fetch(ROWS)}
    assert states == {
        message.id: Status.SENDING if message is odd else Status.SENT for message in messages
    }
    await connection.close()


async def test_what_more_has_happened_is_written_too(waiting: GatewayUnderTest) -> None:
    """In whichever order: a possible duplicate, a callback, optional parameters of the answer."""
    messages = await claimed(waiting, 5)
    writer = waiting.pipeline.writer
    before, after, told, heard, doubled = messages
    before.flags |= Flag.POSSIBLE_DUPLICATE
    writer.moved(before, AnswerLost())
    writer.moved(before, Submitted())
    writer.moved(after, Submitted())
    after.callbacks_done = 1
    writer.mark(after)
    told.callbacks_done = 1
    writer.mark(told)
    writer.moved(told, Submitted())
    heard.heard(b"\x14\x00\x00\x01x")
    writer.moved(heard, Submitted())
    doubled.flags |= Flag.POSSIBLE_DUPLICATE  # written by nobody yet
    writer.moved(doubled, Submitted())
    for message in messages:
        writer.submitted(name_of(message))
    await writer.drained()
    connection = await open_connection(waiting.database_url)
    rows = [
        (row["flags"], row["callbacks_done"], row["carrier_tlvs"])
        for row in await connection.fetch(ROWS)
    ]
    assert rows == [
        (Flag.POSSIBLE_DUPLICATE, 0, None),
        (0, 1, None),
        (0, 1, None),
        (0, 0, b"\x14\x00\x00\x01x"),
        (Flag.POSSIBLE_DUPLICATE, 0, None),
    ]
    assert await connection.fetchval("SELECT count(*) FROM submissions") == len(messages)
    await connection.close()


async def test_it_is_how_what_a_carrier_takes_is_written(
    start_gateway: Start, start_smsc: StartSmsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    sent = message_rows.sent

    async def counted(
        connection: Connection, columns: Sequence[Sequence[Any]], status: int
    ) -> None:
        taken.append(len(columns[0]))
        await sent(connection, columns, status)

    monkeypatch.setattr(message_rows, "sent", counted)
    smsc = await start_smsc()
    gateway = await start_gateway(smsc.port, carriers=(carrier(smsc.port, registered_delivery=0),))
    sdk = await gateway.sdk()
    for number in range(5):
        message = await sdk.send(to=f"+44163296061{number}")
        await sdk.reaches(message.sid, "sent")
    assert sum(taken) == 5
    connection = await open_connection(gateway.database_url)
    before = await connection.fetch(ROWS)
    for held in gateway.pipeline.runtime.live.values():
        gateway.pipeline.writer.mark(held)
    await gateway.pipeline.writer.drained()
    after = await connection.fetch(ROWS)
    assert [dict(row) | {"sent_at": None} for row in after] == [
        dict(row) | {"sent_at": None} for row in before
    ]
    for row, former in zip(after, before, strict=True):
        assert abs(row["sent_at"] - former["sent_at"]) <= timedelta(microseconds=1)
    await connection.close()
