"""What travels between the codec and everyone else: values, no bytes and no I/O.

The two messages that make up nearly all traffic have a class each; every other
PDU is a `Pdu`, whose fields `layouts` describes. None of them is changed after
it was built (they are not frozen only because that would triple the cost of
building one).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smpp.vocabulary import (
    DELIVER_SM,
    ESM_INTERMEDIATE,
    ESM_RECEIPT,
    ESM_TYPE_MASK,
    ESM_UDHI,
    MESSAGE_PAYLOAD,
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
)

# Optional parameters as they came: (tag, value), in their order, unknown ones too.
Tlvs = tuple[tuple[int, bytes], ...]


_LONGEST_RECEIPT = 1_000  # octets: what follows is the text that it quotes
_STAT: Final = re.compile(rb"(?<![0-9a-z_])stat\s{0,8}:")
_DATE: Final = re.compile(rb"date\s{0,8}:\s{0,8}[0-9]{6}")


class SmeAddress(NamedTuple):
    """An SME address with its type of number and numbering plan (SMPP 3.4 §5.2.5-§5.2.9)."""

    ton: int
    npi: int
    value: str


class MultiDestination(NamedTuple):
    """One of submit_multi's destinations: an SME address, or a list's name (§4.5.1.1)."""

    address: SmeAddress | None
    list_name: str = ""


class FailedDestination(NamedTuple):
    """One destination that submit_multi could not serve (SMPP 3.4 §4.5.2.1)."""

    address: SmeAddress
    status: int


@dataclass(slots=True)
class SubmitSm:
    """submit_sm, SMPP 3.4 §4.4.1."""

    source: SmeAddress
    destination: SmeAddress
    short_message: bytes
    data_coding: int = 0
    esm_class: int = 0
    registered_delivery: int = 1
    service_type: str = ""
    protocol_id: int = 0
    priority: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    replace_if_present: int = 0
    sm_default_msg_id: int = 0
    tlvs: Tlvs = ()

    @property
    def udhi(self) -> bool:
        """Whether the payload begins with a user data header."""
        return bool(self.esm_class & ESM_UDHI)

    @property
    def payload(self) -> bytes:
        """The user data: short_message, or message_payload where that is used instead."""
        return self.short_message or tlv(self.tlvs, MESSAGE_PAYLOAD) or b""


class SubmitFrame(NamedTuple):
    """The octets of a submit_sm that are the same whoever gets it and whatever it says."""

    before: bytes  # the destination's address
    between: bytes  # that and sm_length


class FramedSubmit(NamedTuple):
    """A submit_sm as a frame (`codec.submit_frame`) and what is its own."""

    frame: SubmitFrame
    destination: bytes
    short_message: bytes
    tlvs: bytes


@dataclass(slots=True)
class DeliverSm:
    """deliver_sm (SMPP 3.4 §4.6.1), or a data_sm in its shape.

    `sequence`, `command` and `link` are what an answer needs: the number and
    command of the request, and the connection it came on. `number` counts what
    came on that connection: unlike `sequence`, no peer uses it twice. `flaw` says what
    of it could not be read, and was left out.
    """

    source: SmeAddress
    destination: SmeAddress
    short_message: bytes
    data_coding: int = 0
    esm_class: int = 0
    registered_delivery: int = 0
    service_type: str = ""
    protocol_id: int = 0
    priority: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    replace_if_present: int = 0
    sm_default_msg_id: int = 0
    tlvs: Tlvs = ()
    sequence: int = 0
    command: int = DELIVER_SM
    link: int = 0
    number: int = 0
    flaw: str = ""

    @property
    def udhi(self) -> bool:
        """Whether the payload begins with a user data header."""
        return bool(self.esm_class & ESM_UDHI)

    @property
    def payload(self) -> bytes:
        """The user data: short_message, or message_payload where that is used instead."""
        return self.short_message or tlv(self.tlvs, MESSAGE_PAYLOAD) or b""

    @property
    def is_receipt(self) -> bool:
        """Whether this reports on a message we sent, and is no message itself.

        By esm_class (receipt or intermediate notification); by the two receipt
        TLVs; or, for a carrier that marks neither or marks it as something
        else, by a text that has an id, a stat and the digits of a date: nothing
        that a subscriber might type.
        """
        if self.esm_class & ESM_TYPE_MASK in (ESM_RECEIPT, ESM_INTERMEDIATE):
            return True
        # Of UTF-16 every other octet is a NUL; some put one before the text.
        text = self.payload[:_LONGEST_RECEIPT].replace(b"\0", b"").lower()
        if self.tlvs and tlv(self.tlvs, RECEIPTED_MESSAGE_ID) is not None:
            return tlv(self.tlvs, MESSAGE_STATE) is not None or _STAT.search(text) is not None
        return b"id:" in text and _STAT.search(text) is not None and _DATE.search(text) is not None


FieldValue = int | str | bytes | tuple[MultiDestination, ...] | tuple[FailedDestination, ...]


@dataclass(slots=True)
class Pdu:
    """Any other PDU: its header, its mandatory fields by name, its TLVs."""

    command: int
    sequence: int = 0
    status: int = 0
    fields: dict[str, FieldValue] = field(default_factory=dict)
    tlvs: Tlvs = ()
    # What of it could not be read, and was left out.
    flaw: str = ""

    def text(self, name: str) -> str:
        """A field that is a string; empty when the peer left it out."""
        value = self.fields.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """A field that is an integer; zero when the peer left it out."""
        value = self.fields.get(name, 0)
        return value if isinstance(value, int) else 0


def tlv(tlvs: Tlvs, tag: int) -> bytes | None:
    """The first value of `tag`, or None."""
    for found, value in tlvs:
        if found == tag:
            return value
    return None
