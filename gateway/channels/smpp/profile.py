"""How a message is put into submit_sm for one carrier
(docs/spec/messaging-services.md#smpp-encoding)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, Self

from gateway.channels.smpp.result_codes import ErrorCodes
from gateway.channels.smpp.settings import CarrierSettings
from gateway.channels.smpp.tlvs import PRESETS, parse_tag, parse_value
from gateway.content.encoding import Content, Encoding, encode
from gateway.content.references import concatenation_reference, message_reference
from gateway.content.segments import (
    PART_SEPTETS_16,
    PART_UNITS_16,
    split_septets,
    split_units,
)
from smpp.alphabet import decode_gsm7, encode_gsm7, pack
from smpp.codec import CodecError, encode_tlvs, submit_frame
from smpp.concat import sar_tlvs, udh8, udh16
from smpp.pdu import FramedSubmit, SmeAddress, SubmitFrame, SubmitSm, Tlvs
from smpp.receipt import IdForm
from smpp.vocabulary import (
    ESM_UDHI,
    MESSAGE_PAYLOAD,
    USER_MESSAGE_REFERENCE,
    DataCoding,
)

SHORT_MESSAGE_OCTETS: Final = 254  # SMPP 3.4 §5.2.21
SHORTEST_VALIDITY_S: Final = 60.0
DEFAULT_CODING: Final = int(DataCoding.DEFAULT)
UCS2_CODING: Final = int(DataCoding.UCS2)
RECEIPT_BITS: Final = 0x03  # of registered_delivery, SMPP 3.4 §5.2.17
SINGLE_SHIFT, LOCKING_SHIFT = 0x24, 0x25  # UDH elements, 3GPP TS 23.040 §9.2.3.24.15-16
MOST_FRAMES: Final = 4096
_REFERENCE_TLV: Final = USER_MESSAGE_REFERENCE.to_bytes(2, "big") + b"\0\x02"  # with its length
# What data_coding 0 means where it is not GSM-7.
CHARSETS: Final = {"latin1": "latin-1", "ascii": "ascii", "utf8": "utf-8"}


class Outgoing(Protocol):
    """What a connector needs to know of a message."""

    recipient: str
    sender_address: str | None
    content: Content | None
    segments: int
    reference: int
    answered: int
    valid_until: float
    tlvs: Tlvs

    @property
    def media(self) -> tuple[str, ...] | None:
        """Of an MMS, the links to its media; None for an SMS."""


# The setting `receipt_id_form`: how the id of a receipt becomes the id of the response.
ID_FORMS = {
    "as_is": IdForm.RAW,
    "folded": IdForm.FOLDED,
    "stripped": IdForm.STRIPPED,
    "hex_to_decimal": IdForm.HEX_TO_DECIMAL,
    "decimal_to_hex": IdForm.DECIMAL_TO_HEX,
    "padded": IdForm.PADDED,
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A carrier's ways. The defaults are what most carriers take."""

    long_code: tuple[int, int] = (1, 1)
    short_code: tuple[int, int] = (3, 0)
    alphanumeric: tuple[int, int] = (5, 0)
    destinations: tuple[int, int] = (1, 1)
    leading_plus: bool = False
    alphabet: str = "gsm7"
    national_tables: tuple[int, ...] = ()
    concatenation: str = "udh8"
    service_type: str = ""
    propagate_validity: str = "none"
    registered_delivery: int = 1
    receipts: str = "all"
    user_message_reference: bool = True
    # Sent with every message.
    tlvs: Tlvs = ()
    # Tags that a message may bring along; others it brings are not for this carrier.
    message_tlvs: frozenset[int] = frozenset()
    callback_tlvs: frozenset[int] = frozenset()
    # Holds the link of one of an MMS's media; there is one for each.
    mms_tlv: int = 0x1510
    receipt_id_form: IdForm | None = None  # None: learnt
    receipt_pattern: re.Pattern[bytes] | None = None
    error_codes: ErrorCodes = field(default_factory=dict)
    receipt_utc_offset_minutes: int = 0
    text_terminator: str = "learn"
    inbound_country: str = ""
    inbound_prefix: str = ""
    # Carriers and numbers besides its own that it may deliver for; None: any.
    delivers_for: frozenset[str] | None = frozenset()
    # What all messages of one part have in common, by sender and encoding.
    frames: dict[tuple[str, Encoding], SubmitFrame] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(cls, settings: CarrierSettings) -> Self:
        """The profile that a carrier's settings describe."""
        allowed = {parse_tag(tag) for tag in settings.message_tlvs}
        for preset in settings.presets:
            allowed.update(PRESETS[preset])
        pattern = settings.receipt_pattern
        return cls(
            long_code=(settings.long_code.ton, settings.long_code.npi),
            short_code=(settings.short_code.ton, settings.short_code.npi),
            alphanumeric=(settings.alphanumeric.ton, settings.alphanumeric.npi),
            destinations=(settings.destination.ton, settings.destination.npi),
            leading_plus=settings.leading_plus,
            alphabet=settings.default_alphabet,
            national_tables=settings.national_tables,
            concatenation=settings.concatenation,
            service_type=settings.service_type,
            propagate_validity=settings.propagate_validity,
            registered_delivery=settings.registered_delivery,
            receipts=settings.receipts,
            user_message_reference=settings.user_message_reference,
            tlvs=tuple((parse_tag(tag), parse_value(text)) for tag, text in settings.tlvs.items()),
            message_tlvs=frozenset(allowed),
            callback_tlvs=frozenset(parse_tag(tag) for tag in settings.callback_tlvs),
            mms_tlv=parse_tag(settings.mms_tlv),
            receipt_id_form=ID_FORMS.get(settings.receipt_id_form),
            receipt_pattern=re.compile(pattern.encode()) if pattern is not None else None,
            error_codes=settings.error_codes,
            receipt_utc_offset_minutes=settings.receipt_utc_offset_minutes,
            text_terminator=settings.text_terminator,
            inbound_country=settings.inbound_country or "",
            inbound_prefix=settings.inbound_prefix or "",
            delivers_for=_besides_its_own(settings.delivers_for),
        )

    # Texts --------------------------------------------------------------------------------

    def fit(self, content: Content) -> Content:
        """`content` as this carrier can take it: the same, or encoded or cut in another way.

        A text that the carrier's default alphabet lacks goes as UCS-2; one outside GSM-7 may
        go in a national table; parts with a 16-bit reference are shorter. The same text gives
        the same parts every time.
        """
        if content.encoding is Encoding.UCS2:
            if self.national_tables:
                content = encode(content.text, national_tables=self.national_tables)
        else:
            charset = CHARSETS.get(self.alphabet)
            if charset is not None and not _encodes(content.text, charset):
                content = Content(content.text, Encoding.UCS2, split_units(content.text))
        if self.concatenation == "udh16" and len(content.parts) > 1:
            return _cut_for_16_bits(content)
        return content

    def receipt_parts(self, segments: int) -> int:
        """The parts whose receipts will come, as a bit mask: bit i is segment i.

        `delivered` needs a positive receipt of each of them; 0 where none is asked for.
        """
        if not self.registered_delivery & RECEIPT_BITS:
            return 0
        if self.receipts == "first" or (self.concatenation == "payload" and segments > 1):
            return 1
        if self.receipts == "last":
            return 1 << (segments - 1)
        return (1 << segments) - 1

    def answered_parts(self, answered: int, segments: int) -> int:
        """The segments that recorded answers stand for (bit masks).

        Where the carrier does the cutting one answer, recorded for the first, is for all.
        """
        if answered and self.concatenation == "payload":
            return (1 << segments) - 1
        return answered

    # Addresses ----------------------------------------------------------------------------

    def source(self, sender: str) -> SmeAddress:
        """TON and NPI by the kind of sender: number, short code, alphanumeric."""
        if sender.startswith("+"):
            return SmeAddress(*self.long_code, sender if self.leading_plus else sender[1:])
        if sender.isdigit():
            return SmeAddress(*self.short_code, sender)
        return SmeAddress(*self.alphanumeric, sender)

    def destination(self, recipient: str) -> SmeAddress:
        if not self.leading_plus:
            recipient = recipient.lstrip("+")
        return SmeAddress(*self.destinations, recipient)

    # The PDUs -----------------------------------------------------------------------------

    def written(
        self, message: Outgoing, wall: float
    ) -> Sequence[tuple[SubmitSm | FramedSubmit, int]]:
        """As `submits`. Nearly every message is one part that needs no header: its octets are made
        out of those that all of its sender's have.
        """
        content, sender = message.content, message.sender_address
        assert content is not None
        assert sender is not None
        if (
            message.segments > 1
            or self.alphabet != "gsm7"
            or content.single
            or content.locking
            or self.propagate_validity != "none"
            or message.media is not None
        ):
            return self.submits(message, wall)
        if message.answered:
            return []
        key = sender, content.encoding
        frame = self.frames.get(key)
        if frame is None:
            if len(self.frames) >= MOST_FRAMES:
                self.frames.clear()
            [(submit, _)] = self.submits(message, wall)
            frame = self.frames[key] = submit_frame(submit)
        recipient = message.recipient if self.leading_plus else message.recipient.lstrip("+")
        try:
            to = recipient.encode("latin-1")
        except UnicodeEncodeError as error:
            raise CodecError(str(error)) from error
        return [(FramedSubmit(frame, to, content.parts[0], self._tlv_octets(message)), 1)]

    def _tlv_octets(self, message: Outgoing) -> bytes:
        if self.tlvs or message.tlvs or not self.user_message_reference:
            return encode_tlvs(self._tlvs_of(message))
        return _REFERENCE_TLV + message_reference(message.reference).to_bytes(2, "big")

    def submits(self, message: Outgoing, wall: float) -> list[tuple[SubmitSm, int]]:
        """The submit_sm of every part not yet answered, in order, each with its segments.

        Segments are a bit mask; one PDU carries several where the carrier does the cutting
        (`payload`). `wall` is the time now, for the validity period.
        """
        content, segments, sender = message.content, message.segments, message.sender_address
        assert content is not None
        assert sender is not None
        source, destination = self.source(sender), self.destination(message.recipient)
        validity = ""
        if self.propagate_validity != "none":
            validity = self.validity_period(message.valid_until, wall)
        tlvs = self._tlvs_of(message)
        if message.media is not None:
            return [] if message.answered else [(self._mms(message, validity, tlvs), 1)]
        wanted, reference = self.receipt_parts(segments), concatenation_reference(message.reference)
        if segments > 1 and self.concatenation == "payload":
            whole = content._replace(parts=(b"".join(content.parts),))
            parts = [(0, whole.parts[0], (1 << segments) - 1)]
        else:
            parts = [
                (index, content.parts[index], 1 << index)
                for index in range(segments)
                if not message.answered >> index & 1
            ]
        submits = []
        for index, payload, mask in parts:
            header, more = self._header(content, reference, segments, index)
            octets, data_coding = self._coded(payload, content, len(header))
            octets = header + octets
            registered = self.registered_delivery
            if not mask & wanted:
                registered &= ~RECEIPT_BITS
            pdu_tlvs = tlvs + more
            if mask & (mask - 1) or len(octets) > SHORT_MESSAGE_OCTETS:
                pdu_tlvs += ((MESSAGE_PAYLOAD, octets),)
                octets = b""
            submits.append(
                (
                    SubmitSm(
                        source,
                        destination,
                        octets,
                        data_coding=data_coding,
                        esm_class=ESM_UDHI if header else 0,
                        registered_delivery=registered,
                        service_type=self.service_type,
                        validity_period=validity,
                        tlvs=pdu_tlvs,
                    ),
                    mask,
                )
            )
        return submits

    def _mms(self, message: Outgoing, validity: str, tlvs: Tlvs) -> SubmitSm:
        """An MMS as one submit_sm: its text whole, and a parameter for each link to its media.

        One without media has the parameter once, empty: that is what tells it from an SMS.
        """
        content = message.content
        assert content is not None
        octets, data_coding = self._coded(content.parts[0], content, 0)
        links = message.media or ("",)
        tlvs = (*tlvs, *((self.mms_tlv, link.encode()) for link in links))
        if len(octets) > SHORT_MESSAGE_OCTETS:
            tlvs, octets = (*tlvs, (MESSAGE_PAYLOAD, octets)), b""
        return SubmitSm(
            self.source(message.sender_address or ""),
            self.destination(message.recipient),
            octets,
            data_coding=data_coding,
            registered_delivery=self.registered_delivery,
            service_type=self.service_type,
            validity_period=validity,
            tlvs=tlvs,
        )

    def validity_period(self, valid_until: float, wall: float) -> str:
        """What is left of a message's life, for the carrier
        (docs/spec/messaging-services.md#validity-period)."""
        left = max(valid_until - wall, SHORTEST_VALIDITY_S)
        if self.propagate_validity == "absolute":  # UTC; SMPP 3.4 §7.1.1.1
            return f"{datetime.fromtimestamp(wall + left, UTC):%y%m%d%H%M%S}000+"
        length = timedelta(seconds=int(left))
        hours, rest = divmod(length.seconds, 3600)
        return f"0000{length.days:02d}{hours:02d}{rest // 60:02d}{rest % 60:02d}000R"

    def _header(
        self, content: Content, reference: int, segments: int, index: int
    ) -> tuple[bytes, Tlvs]:
        """The user data header of a part, empty where it needs none, and the TLVs instead."""
        header = b""
        tlvs: Tlvs = ()
        if segments > 1:
            if self.concatenation == "udh8":
                header = udh8(reference, segments, index + 1)
            elif self.concatenation == "udh16" and (content.single or content.locking):
                header = udh8(reference, segments, index + 1)  # what it was cut for
            elif self.concatenation == "udh16":
                header = udh16(reference, segments, index + 1)
            elif self.concatenation == "sar":
                tlvs = sar_tlvs(reference, segments, index + 1)
        if content.single or content.locking:
            elements = header[1:]
            if content.single:
                elements += bytes((SINGLE_SHIFT, 1, content.single))
            if content.locking:
                elements += bytes((LOCKING_SHIFT, 1, content.locking))
            header = bytes((len(elements),)) + elements
        return header, tlvs

    def _coded(self, payload: bytes, content: Content, header_octets: int) -> tuple[bytes, int]:
        """The octets of a part behind its header, and their data_coding."""
        if content.encoding is Encoding.UCS2:
            return payload, UCS2_CODING
        if self.alphabet == "gsm7":
            return payload, DEFAULT_CODING
        if self.alphabet == "packed":
            # The first septet begins on a septet border behind the header (TS 23.040
            # docs/spec/messaging-services.md#inbound-webhook-request); seven spare bits at the end
            # would be read as `@`, so CR fills them.
            fill = -header_octets * 8 % 7
            if (len(payload) * 7 + fill) % 8 == 1:
                payload += b"\r"
            return pack(payload, fill), DEFAULT_CODING
        text = decode_gsm7(payload)
        try:
            return text.encode(CHARSETS[self.alphabet]), DEFAULT_CODING
        except UnicodeEncodeError:  # it was cut before the carrier's alphabet was changed
            return text.encode("utf-16-be"), UCS2_CODING

    def _tlvs_of(self, message: Outgoing) -> Tlvs:
        tlvs = self.tlvs
        if message.tlvs:
            own = tuple(tlv for tlv in message.tlvs if tlv[0] in self.message_tlvs)
            given = {tag for tag, _ in own}
            tlvs = (*(tlv for tlv in tlvs if tlv[0] not in given), *own)
        if not self.user_message_reference:
            return tlvs
        reference = (
            USER_MESSAGE_REFERENCE,
            message_reference(message.reference).to_bytes(2, "big"),
        )
        return (*tlvs, reference) if tlvs else (reference,)


def _besides_its_own(whose: str | tuple[str, ...]) -> frozenset[str] | None:
    if isinstance(whose, str):
        return None if whose == "any" else frozenset()
    return frozenset(whose)


def _cut_for_16_bits(content: Content) -> Content:
    """Cut anew, for a header of seven octets; national tables keep the 8-bit reference."""
    if content.single or content.locking:
        return content
    if content.encoding is Encoding.UCS2:
        parts = split_units(content.text, PART_UNITS_16)
    else:
        parts = split_septets(encode_gsm7(content.text), part=PART_SEPTETS_16)
    return content._replace(parts=parts, counted=len(content.parts))


def _encodes(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
