"""What becomes of a conversation's messages at their recipients: receipts and `onDeliveryUpdated`.

The pipeline says which messages it has committed; their rows are then compared with what the
receipts know. What was not heard of, before a restart or by another process, a slower look at
everything open finds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.conversations import events as names
from gateway.conversations.events import EventWriter, Pairs, iso
from gateway.messages.message import Message, Status
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import Wall
from storage import conversation_messages as message_rows
from storage import conversations as rows
from storage.database import Connection, ConnectionPool, DatabaseUnavailable
from storage.ids import Id
from storage.records import DatedRow

log = logging.getLogger(__name__)

HEARD_BOUND: Final = 10_000  # beyond it everything open is looked at instead
LOOK_EVERY_S: Final = 30.0
PAGE: Final = 500
SHOWN: Final = {
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.UNDELIVERED: "undelivered",
    Status.FAILED: "failed",
    Status.CANCELED: "failed",
    Status.READ: "read",
}


class Deliveries:
    """The stage."""

    def __init__(self, pool: ConnectionPool, events: EventWriter, wall: Wall) -> None:
        self._wall = wall
        self._pool = pool
        self._events = events
        self._heard: set[Id] = set()
        self._all = True
        self._wake = asyncio.Event()
        self._wake.set()

    def heard(self, message: Message) -> None:
        """Something happened to a message of a conversation, and is committed."""
        if len(self._heard) < HEARD_BOUND:
            self._heard.add(message.id)
        else:
            self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                self._all = True
            self._wake.clear()
            heard, everything = self._heard, self._all
            self._heard, self._all = set(), False
            try:
                await self._look(None if everything else list(heard))
            except DatabaseUnavailable as error:
                log.warning("receipts of conversations wait: %s", error, extra=AWAY)
                self._all = True

    async def _look(self, message_ids: list[Id] | None) -> None:
        after = 0
        async with self._pool.acquire() as connection:
            while page := await message_rows.changed(connection, message_ids, after, PAGE):
                for row in page:
                    with self._wall.around(resource=row["message_sid"]):
                        async with connection.transaction():
                            await self._follow(connection, row)
                after = page[-1]["id"]
        self._events.written()

    async def _follow(self, connection: Connection, row: message_rows.ChangedReceiptRow) -> None:
        """Every step that the receipt has not seen, each told."""
        status = SHOWN.get(Status(row["status"]))
        known = row["known"]
        if status is None or status == known:
            return
        skipped = known is None and row["was_sent"] and status != "sent"
        for step in ("sent", status) if skipped else (status,):
            final = step != "sent"
            dates = await message_rows.set_receipt(
                connection,
                row["id"],
                known,
                step,
                row["error_code"] if final else 0,
                open=not final,
            )
            if dates is None:
                return
            known = step
            conversation = await rows.by_id(connection, row["conversation_id"])
            if conversation is not None:
                parameters = _parameters(conversation, row, step, dates, final)
                await self._events.record(
                    connection, conversation, names.DELIVERY_UPDATED, parameters
                )


def _parameters(
    conversation: rows.ConversationRow,
    row: message_rows.ChangedReceiptRow,
    status: str,
    dates: DatedRow,
    final: bool,
) -> Pairs:
    return [
        ("ConversationSid", conversation["sid"]),
        ("MessageSid", row["im"]),
        ("DeliveryReceiptSid", row["sid"]),
        ("ChannelMessageSid", row["message_sid"]),
        ("ParticipantSid", row["participant"]),
        ("Status", status),
        ("ErrorCode", str(row["error_code"] if final else 0)),
        ("DateCreated", iso(dates["created_at"])),
        ("DateUpdated", iso(dates["updated_at"])),
    ]
