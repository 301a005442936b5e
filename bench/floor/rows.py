"""The rows of a batch, as the octets of one binary COPY: what all share is rendered once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Final

from bench.floor.message import Message
from gateway.messages.message import Direction, Status
from storage.database import Connection
from storage.messages import COLUMNS

VALID_S: Final = 14_400.0
EPOCH_S: Final = 946_684_800.0  # 2000-01-01: from it Postgres counts microseconds
# The format's signature, no flags, no extension; and what ends it.
BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END: Final = b"\xff\xff"
NULL: Final = b"\xff\xff\xff\xff"
COUNT: Final = Struct("!h")
LENGTH: Final = Struct("!i")
MOMENT: Final = Struct("!iq")

OWN: Final = ("id", "queued_at", "expires_at", "recipient", "sender", "body", "callback_url")
# Of every message; whatever is neither here nor its own is null. The one account, sender and
# carrier have the id 1.
SAME: Final = {
    "account_id": 1,
    "sender_id": 1,
    "carrier_id": 1,
    "direction": Direction.OUTBOUND_API,
    "status": Status.SENDING,
    "encoding": 0,
    "segments": 1,
    "flags": 0,
    "priority": 0,
    "reference": 1,
    "callbacks_done": 0,
}
LENGTHS: Final = """
SELECT attname, attlen FROM pg_attribute WHERE attrelid = 'messages'::regclass AND attnum > 0
"""


class Rows:
    """Renders rows and copies them into `messages`."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        """`lengths` are the octets of each column's type, by its name."""
        between = [COUNT.pack(len(COLUMNS))]
        for name in COLUMNS:
            if name in OWN:
                between.append(b"")
            elif name in SAME:
                length = lengths[name]
                between[-1] += LENGTH.pack(length) + SAME[name].to_bytes(length, "big")
            else:
                between[-1] += NULL
        self._row = b"%b".join(octets.replace(b"%", b"%%") for octets in between)

    @classmethod
    async def of(cls, connection: Connection) -> Rows:
        """By the columns as this database has them."""
        return cls({row[0]: row[1] for row in await connection.fetch(LENGTHS)})

    def octets(self, messages: Iterable[Message]) -> bytearray:
        """What COPY takes; as a bytearray, since asyncpg takes bytes for the name of a file."""
        row = self._row
        rendered = [
            row
            % (
                b"\0\0\0\x10" + message.id.bytes,
                _moment(message.created_at),
                _moment(message.created_at + VALID_S),
                _text(message.recipient),
                _text(message.sender),
                _text(message.body.encode()),
                NULL if message.callback is None else _text(message.callback),
            )
            for message in messages
        ]
        return bytearray().join((BEGIN, *rendered, END))

    async def insert(self, connection: Connection, messages: Iterable[Message]) -> None:
        """Write them in one COPY; committed on return."""
        await connection.copy_to_table(
            "messages", source=self.octets(messages), columns=COLUMNS, format="binary"
        )


def _text(octets: bytes) -> bytes:
    return LENGTH.pack(len(octets)) + octets


def _moment(seconds: float) -> bytes:
    return MOMENT.pack(8, int((seconds - EPOCH_S) * 1e6))
