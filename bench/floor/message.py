"""A message of the floor, and what is read of its row: the table and columns are the gateway's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from random import getrandbits
from typing import Any

from gateway.messages.message import Status
from storage.ids import id_from_bytes


class Message:
    """From the request to its last callback. What goes out as it came in is kept as octets."""

    __slots__ = (
        *("body", "callback", "callbacks_done", "committed", "created_at"),
        *("delivered", "done_at", "id", "recipient", "sender", "sent_at", "sid", "status"),
    )

    def __init__(self, recipient: bytes, sender: bytes, body: str, callback: bytes | None) -> None:
        self.created_at = time.time()
        octets = (int(self.created_at * 1000) << 80 | getrandbits(80)).to_bytes(16, "big")
        self.id = id_from_bytes(octets)
        self.sid = b"SM" + octets.hex().encode()
        self.recipient = recipient
        self.sender = sender
        self.body = body
        self.callback = callback
        self.status = self.committed = Status.SENDING  # the accept commit is its claim
        self.sent_at = self.done_at = 0.0
        self.callbacks_done = 0
        self.delivered: str | None = None  # the receipt's done date


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


@lru_cache(maxsize=4)
def date_of(second: int) -> bytes:
    """A second as an answer and a callback show it."""
    return formatdate(second, usegmt=True).encode()
