"""Deliveries that go to a table and come back: the shapes of `storage.deliveries`."""

from __future__ import annotations

from datetime import datetime

from gateway.channels.smpp.profile import Profile
from gateway.directory.directory import Directory, SenderRecord
from gateway.routing.destination import without_marks
from gateway.routing.incoming import NATIONAL, SUBSCRIBER, SURELY_INTERNATIONAL, read_address
from smpp.codec import decode_tlvs, encode_tlvs
from smpp.pdu import DeliverSm, SmeAddress
from storage.deliveries import TypedDeliveryRow
from storage.ids import Id

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """A text as Postgres takes it: it knows no NUL."""
    return text.replace("\x00", REPLACEMENT)


def number_of(directory: Directory, address: SmeAddress, profile: Profile) -> SenderRecord | None:
    """The number of ours that a carrier's delivery is to.

    Of a number without its country only what the carrier's settings make of it counts, but where it
    can hardly be one. Any other is looked for as it came, too: to be ours is proof enough.
    """
    senders = directory.senders_by_address
    country, prefix = profile.inbound_country, profile.inbound_prefix
    record = senders.get(read_address(*address, country=country, prefix=prefix).value)
    if record is None:
        record = senders.get(address.value)
    digits = without_marks(address.value).lstrip("+")
    sure = address.ton not in (NATIONAL, SUBSCRIBER) or len(digits) >= SURELY_INTERNATIONAL
    if record is None and sure:
        record = senders.get("+" + digits) or senders.get("+" + digits.removeprefix("00"))
    return record


def may_deliver(
    directory: Directory, carrier_id: int, profile: Profile, record: SenderRecord
) -> bool:
    """Whether a message to this number may come from this carrier."""
    of_number = record.sender.carrier_id
    if of_number == carrier_id or profile.delivers_for is None:
        return True
    if not profile.delivers_for:
        return False
    return record.sender.address in profile.delivers_for or any(
        carrier.id == of_number and carrier.name in profile.delivers_for
        for carrier in directory.carriers.values()
    )


def kept_row(
    carrier_id: int,
    at: datetime | None,
    reason: str,
    carrier_message_id: str | None,
    delivery: DeliverSm,
    message_id: Id | None = None,
) -> tuple[object, ...]:
    """A delivery to be kept, in the order of KEPT_COLUMNS; of a message, where that is known."""
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
        message_id,
    )


def delivery_of(row: TypedDeliveryRow) -> DeliverSm:
    """A stored delivery, as far as it was stored."""
    return DeliverSm(
        SmeAddress(row["source_ton"], row["source_npi"], row["source"]),
        SmeAddress(row["destination_ton"], row["destination_npi"], row["destination"]),
        row["payload"],
        data_coding=row["data_coding"],
        esm_class=row["esm_class"],
        tlvs=decode_tlvs(row["tlvs"], 0),
    )
