"""Between a message in memory and its row: the one place that knows both shapes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.content.encoding import Encoding, encode, whole
from gateway.messages.message import Direction, Flag, Message, Status
from smpp.codec import decode_tlvs, encode_tlvs
from storage.messages import WAITS, FlaggedRow, MessageRow
from storage.times import utc_of


def moment(seconds: float) -> datetime | None:
    """A column's time; 0.0 is NULL."""
    return utc_of(seconds) if seconds else None


def seconds(value: datetime | None) -> float:
    return value.timestamp() if value else 0.0


def insert_row(message: Message) -> tuple[Any, ...]:
    """The row of a message just accepted, in the order of `storage.messages.COLUMNS`."""
    body = message.content.text if message.content else message.submitted_body
    segments = message.segments if message.status > Status.SCHEDULED else 0
    return (
        message.id,
        message.account_id,
        message.service_id,
        message.sender_id or None,
        message.carrier_id or None,
        message.direction,
        message.status,
        message.encoding if segments else None,
        segments,  # of a sender's carrier: 0 until one is chosen
        message.flags,
        message.priority,
        message.reference or None,
        message.error_code or None,
        message.callbacks_done,
        WAITS if message.waiting else None,
        moment(message.queued_at),
        moment(message.sent_at),
        moment(message.done_at),
        moment(message.valid_until),
        message.recipient,
        message.sender_address,
        body,
        message.submitted_body if body != message.submitted_body else None,
        message.callback_url,
        message.done_date,
        encode_tlvs(message.tlvs) or None,
        message.handling or None,
        moment(message.send_at),
        message.extras,
        message.rule if message.rule >= 0 else None,
        message.operation_id,
        message.price,
    )


def update_columns(messages: Sequence[Message]) -> list[list[Any]]:
    """The present state of many messages, as the arrays of `storage.messages.update`."""
    return [
        [message.id for message in messages],
        [message.status for message in messages],
        [message.error_code or None for message in messages],
        [message.callbacks_done for message in messages],
        [WAITS if message.waiting else None for message in messages],
        [message.flags for message in messages],
        [moment(message.sent_at) for message in messages],
        [moment(message.done_at) for message in messages],
        [message.done_date for message in messages],
        [message.carrier_tlvs or None for message in messages],
    ]


def only_sent(message: Message) -> bool:
    """Whether its row needs no more than that its one segment was taken.

    True of what was claimed and then `sent`, if nothing else befell it: the bits of `flags` that
    are set after the insert would have to be written.
    """
    return (
        message.status is Status.SENT
        and message.segments == 1
        and not message.carrier_tlvs
        and not message.flags & (Flag.POSSIBLE_DUPLICATE | Flag.UNBILLED)
    )


def assign_columns(messages: Sequence[Message]) -> list[list[Any]]:
    """What choosing a sender decided, as the arrays of `storage.messages.assign`.

    The text only where this is when it is decided; null keeps what is there.
    """
    texts = [_decided_text(message) for message in messages]
    return [
        [message.id for message in messages],
        [message.sender_id or None for message in messages],
        [message.carrier_id or None for message in messages],
        [message.sender_address for message in messages],
        [message.reference or None for message in messages],
        [message.segments for message in messages],
        [message.encoding for message in messages],
        [message.status for message in messages],
        [message.error_code or None for message in messages],
        [WAITS if message.waiting else None for message in messages],
        [moment(message.queued_at) for message in messages],
        [moment(message.done_at) for message in messages],
        [message.rule if message.rule >= 0 else None for message in messages],
        [message.flags for message in messages],
        texts,
        [
            message.submitted_body if text is not None and text != message.submitted_body else None
            for message, text in zip(messages, texts, strict=True)
        ],
        [message.price for message in messages],
    ]


def _decided_text(message: Message) -> str | None:
    if not message.flags & Flag.CONVERTED:
        return None
    return message.content.text if message.content is not None else message.text


def sid_of_row(row: FlaggedRow) -> str:
    return f"{'MM' if row['flags'] & Flag.MEDIA else 'SM'}{row['id'].hex}"


def from_row(row: MessageRow) -> Message:
    """The message that a row describes, with its text encoded again.

    Encoding is a function of the sent text, so the segments are those of the first time.
    """
    message = Message(
        row["id"],
        row["account_id"],
        row["recipient"],
        row["submitted_body"] if row["submitted_body"] is not None else row["body"],
        service_id=row["service_id"],
        direction=Direction(row["direction"]),
        callback_url=row["callback_url"],
        valid_until=seconds(row["expires_at"]),
        tlvs=decode_tlvs(row["tlvs"] or b"", 0),
        extras=row["extras"],
        flags=row["flags"],
    )
    message.sender_id = row["sender_id"] or 0
    message.carrier_id = row["carrier_id"] or 0
    message.sender_address = row["sender"]
    message.price = row["price"]
    message.status = message.committed = Status(row["status"])
    if row["segments"]:
        message.segments = row["segments"]
        assert row["encoding"] is not None, "what has segments has their encoding"
        message.encoding = Encoding(row["encoding"])
        if message.status < Status.SENT:
            message.content = (whole if message.as_mms else encode)(row["body"])
    message.priority = row["priority"]
    message.reference = row["reference"] or 0
    message.error_code = row["error_code"] or 0
    message.waiting = row["waiting"] is not None
    message.queued_at = seconds(row["queued_at"])
    message.sent_at = seconds(row["sent_at"])
    message.done_at = seconds(row["done_at"])
    message.done_date = row["done_date"]
    message.callbacks_done = row["callbacks_done"]
    message.carrier_tlvs = row["carrier_tlvs"] or b""
    message.handling = row["handling"] or 0
    if message.status is Status.SCHEDULED:
        message.send_at = seconds(row["send_at"])
    return message
