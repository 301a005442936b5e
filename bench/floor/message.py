"""A message of the floor, and its row: the same table and columns as the gateway's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import getrandbits
from typing import Any

from gateway.messages.message import Direction, Status
from storage.ids import id_from_bytes

NUMBER, ACCOUNT, CARRIER = 1, 1, 1  # ids of the one sender, account and carrier
VALID_S = 14_400.0


class Message:
    """From the request to its last callback."""

    __slots__ = (
        *("body", "callback", "callbacks_done", "committed", "created_at"),
        *("delivered", "done_at", "id", "recipient", "sender", "sent_at", "sid", "status"),
    )

    def __init__(self, recipient: str, sender: str, body: str, callback: str | None) -> None:
        self.created_at = time.time()
        octets = (int(self.created_at * 1000) << 80 | getrandbits(80)).to_bytes(16, "big")
        self.id = id_from_bytes(octets)
        self.sid = f"SM{octets.hex()}"
        self.recipient = recipient
        self.sender = sender
        self.body = body
        self.callback = callback
        self.status = self.committed = Status.SENDING  # the accept commit is its claim
        self.sent_at = self.done_at = 0.0
        self.callbacks_done = 0
        self.delivered: str | None = None  # the receipt's done date


def insert_row(message: Message) -> tuple[Any, ...]:
    """In the order of `storage.messages.COLUMNS`."""
    created = datetime.fromtimestamp(message.created_at, UTC)
    expires = datetime.fromtimestamp(message.created_at + VALID_S, UTC)
    return (
        *(message.id, ACCOUNT, None, NUMBER, CARRIER, Direction.OUTBOUND_API, message.status),
        *(0, 1, 0, 0, 1, None, 0, None, created, None, None, expires),
        *(message.recipient, message.sender, message.body, None, message.callback),
        *(None, None, None, None, None, 0, None, None),
    )


def update_columns(messages: Sequence[Message]) -> list[list[Any]]:
    """As the arrays of `storage.messages.update`."""
    none = [None] * len(messages)
    return [
        [message.id for message in messages],
        [message.status for message in messages],
        none,
        [message.callbacks_done for message in messages],
        none,
        [0] * len(messages),
        [_moment(message.sent_at) for message in messages],
        [_moment(message.done_at) for message in messages],
        [message.delivered for message in messages],
        none,
    ]


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
