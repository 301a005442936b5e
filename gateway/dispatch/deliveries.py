"""Deliveries that go to a table and come back: the shapes of `storage.deliveries`."""

from __future__ import annotations

from datetime import datetime

from smpp.codec import decode_tlvs, encode_tlvs
from smpp.pdu import Address, DeliverSm
from storage.pool import Row

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """A text as Postgres takes it: it knows no NUL."""
    return text.replace("\x00", REPLACEMENT)


def kept_row(
    carrier_id: int,
    at: datetime | None,
    reason: str,
    carrier_message_id: str | None,
    delivery: DeliverSm,
) -> tuple[object, ...]:
    """A delivery to be kept, in the order of KEPT_COLUMNS."""
    return (
        carrier_id,
        at,
        reason,
        storable(carrier_message_id) if carrier_message_id is not None else None,
        storable(delivery.source.value),
        storable(delivery.destination.value),
        delivery.esm_class,
        delivery.data_coding,
        delivery.short_message,
        encode_tlvs(delivery.tlvs),
    )


def delivery_of(row: Row) -> DeliverSm:
    """A stored delivery, as far as it was stored: kept ones have no types of number."""
    typed = "source_ton" in row
    return DeliverSm(
        Address(
            row["source_ton"] if typed else 0, row["source_npi"] if typed else 0, row["source"]
        ),
        Address(
            row["destination_ton"] if typed else 0,
            row["destination_npi"] if typed else 0,
            row["destination"],
        ),
        row["payload"],
        data_coding=row["data_coding"],
        esm_class=row["esm_class"],
        tlvs=decode_tlvs(row["tlvs"], 0),
    )
