"""How a message is put into submit_sm for one carrier (messaging-services §4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.content.encoding import Content, Encoding
from smpp.concat import udh8
from smpp.pdu import Address, SubmitSm
from smpp.vocabulary import USER_MESSAGE_REFERENCE

TON_UNKNOWN, TON_INTERNATIONAL, TON_NETWORK_SPECIFIC, TON_ALPHANUMERIC = 0, 1, 3, 5
NPI_UNKNOWN, NPI_ISDN = 0, 1
DATA_CODING = {Encoding.GSM7: 0x00, Encoding.UCS2: 0x08}
ESM_UDHI = 0x40
FINAL_RECEIPT_WANTED = 0x01


class Outgoing(Protocol):
    """What a connector needs to know of a message."""

    recipient: str
    sender: str | None
    content: Content | None
    segments: int
    reference: int
    answered: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A carrier's ways. The defaults are what most carriers take."""

    user_message_reference: bool = True

    def source(self, sender: str) -> Address:
        """TON and NPI by the kind of sender: number, short code, alphanumeric."""
        if sender.startswith("+"):
            return Address(TON_INTERNATIONAL, NPI_ISDN, sender[1:])
        if sender.isdigit():
            return Address(TON_NETWORK_SPECIFIC, NPI_UNKNOWN, sender)
        return Address(TON_ALPHANUMERIC, NPI_UNKNOWN, sender)

    def destination(self, recipient: str) -> Address:
        return Address(TON_INTERNATIONAL, NPI_ISDN, recipient.lstrip("+"))

    def submit(self, message: Outgoing, segment: int) -> SubmitSm:
        """The submit_sm of one segment, counted from 0."""
        assert message.content is not None
        assert message.sender is not None
        payload = message.content.parts[segment]
        esm_class = 0
        if message.segments > 1:
            esm_class = ESM_UDHI
            payload = udh8(message.reference & 0xFF, message.segments, segment + 1) + payload
        return SubmitSm(
            self.source(message.sender),
            self.destination(message.recipient),
            payload,
            data_coding=DATA_CODING[message.content.encoding],
            esm_class=esm_class,
            registered_delivery=FINAL_RECEIPT_WANTED,
            tlvs=((USER_MESSAGE_REFERENCE, message.reference.to_bytes(2, "big")),)
            if self.user_message_reference
            else (),
        )
