"""Bytes <-> PDU.

Two ways through: `decode` and `encode` walk `layouts` and know every PDU; the
three PDUs that are nearly all traffic (submit_sm, its response, deliver_sm)
are also written out by hand here, five to ten times as fast. Both give the
same bytes.

Rules of the house:

- Nothing but `CodecError` is raised, whatever the bytes. It carries the
  command_status to answer with.
- No loop here can run longer than the PDU is long, and nothing is allocated
  that is not a slice of it: lengths on the wire are checked, never trusted.
- Reading is tolerant, writing is strict. Unknown tags, statuses, TON, NPI and
  data_coding pass through; text over its size limit is read; a response with
  its body missing or cut is still a response (SMPP 3.4 §4.4.2 drops the body on
  errors, some carriers send it all the same); up to three stray octets at the
  end are ignored. A message whose mandatory part is whole is never refused for
  what comes behind it, unless that is its text: it has a `flaw`.
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct
from struct import error as _StructError
from typing import Final

from smpp import vocabulary as v
from smpp.layouts import LAYOUTS, Field, FieldKind
from smpp.pdu import (
    DeliverSm,
    FailedDestination,
    FieldValue,
    FramedSubmit,
    MultiDestination,
    Pdu,
    SmeAddress,
    SubmitFrame,
    SubmitSm,
    Tlvs,
    tlv,
)

# command_length, command_id, command_status, sequence_number (SMPP 3.4 §3.2).
HEADER: Final = Struct("!IIII")

HEADER_OCTETS: Final = 16
MAX_SEQUENCE: Final = 0x7FFFFFFF
MAX_SHORT_MESSAGE: Final = 254

_TLV: Final = Struct("!HH")
_THREE: Final = Struct("!BBB")
_FIVE: Final = Struct("!BBBBB")


class CodecError(ValueError):
    """These octets are no PDU, or this PDU has no octets.

    `status` is the command_status that tells the peer why.
    """

    def __init__(self, reason: str, status: int = v.ESME_RINVCMDLEN) -> None:
        super().__init__(reason)
        self.status = status


# The hot three, by hand ------------------------------------------------------


def encode_submit(
    message: SubmitSm | DeliverSm, sequence: int, command: int = v.SUBMIT_SM
) -> bytes:
    """The submit_sm (or deliver_sm) that says `message`.

    Raises CodecError for what does not fit its field: text with a NUL, an
    address over 20 characters, a short_message over 254 octets.
    """
    source = message.source
    destination = message.destination
    text = message.short_message
    service_type = message.service_type
    schedule = message.schedule_delivery_time
    validity = message.validity_period
    if len(text) > MAX_SHORT_MESSAGE:
        raise CodecError(f"short_message of {len(text)} octets", v.ESME_RINVMSGLEN)
    if len(source[2]) > 20 or len(destination[2]) > 20:
        raise CodecError("address over 20 characters")
    if "\0" in source[2] or "\0" in destination[2]:
        raise CodecError("NUL in an address")
    if service_type or schedule or validity:
        if "\0" in f"{service_type}{schedule}{validity}":
            raise CodecError("NUL in a text field")
        if len(service_type) > 5 or len(schedule) > 16 or len(validity) > 16:
            raise CodecError("service_type over 5 or time over 16 characters")
    try:
        body = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b" % (
            service_type.encode("latin-1"),
            source[0],
            source[1],
            source[2].encode("latin-1"),
            destination[0],
            destination[1],
            destination[2].encode("latin-1"),
            message.esm_class,
            message.protocol_id,
            message.priority,
            schedule.encode("latin-1"),
            validity.encode("latin-1"),
            message.registered_delivery,
            message.replace_if_present,
            message.data_coding,
            message.sm_default_msg_id,
            len(text),
            text,
        )
        if message.tlvs:
            body += encode_tlvs(message.tlvs)
        return HEADER.pack(16 + len(body), command, 0, sequence) + body
    except (OverflowError, UnicodeEncodeError, TypeError, _StructError) as error:
        raise CodecError(str(error)) from error


def submit_frame(message: SubmitSm) -> SubmitFrame:
    """What all messages like this one have in common. Raises CodecError, as `encode_submit`."""
    ton, npi, _ = message.destination
    bare = replace(message, destination=SmeAddress(ton, npi, ""), short_message=b"", tlvs=())
    pdu = encode_submit(bare, 0)
    # Two texts that end in NUL, two pairs of TON and NPI.
    at = HEADER_OCTETS + len(message.service_type) + 1 + 2 + len(message.source.value) + 1 + 2
    return SubmitFrame(pdu[HEADER_OCTETS:at], pdu[at:-1])


def encode_framed(message: FramedSubmit, sequence: int) -> bytes:
    """The same octets as `encode_submit`, for as little as that can be had. Raises CodecError."""
    (before, between), destination, text, tlvs = message
    if len(text) > MAX_SHORT_MESSAGE:
        raise CodecError(f"short_message of {len(text)} octets", v.ESME_RINVMSGLEN)
    if len(destination) > 20 or b"\0" in destination:
        raise CodecError("an address over 20 characters, or a NUL in it")
    length = 17 + len(before) + len(destination) + len(between) + len(text) + len(tlvs)
    return b"%b%b%b%b%c%b%b" % (
        HEADER.pack(length, v.SUBMIT_SM, 0, sequence),
        before,
        destination,
        between,
        len(text),
        text,
        tlvs,
    )


def encode_deliver(message: SubmitSm | DeliverSm, sequence: int) -> bytes:
    """The deliver_sm that says `message`; as `encode_submit`."""
    return encode_submit(message, sequence, v.DELIVER_SM)


def decode_deliver(pdu: bytes) -> DeliverSm:
    """Read a whole deliver_sm. Raises CodecError."""
    message, end = _mandatory(pdu)
    if end < len(pdu):
        message.tlvs, message.flaw = _message_tlvs(pdu, end, message)
    return message


def _mandatory(pdu: bytes) -> tuple[DeliverSm, int]:
    """The message without its optional parameters, and where they begin."""
    try:
        end = pdu.index(0, 16)
        service_type = pdu[16:end].decode("latin-1") if end > 16 else ""
        ton, npi = pdu[end + 1], pdu[end + 2]
        start = end + 3
        end = pdu.index(0, start)
        source = SmeAddress(ton, npi, pdu[start:end].decode("latin-1"))
        ton, npi = pdu[end + 1], pdu[end + 2]
        start = end + 3
        end = pdu.index(0, start)
        destination = SmeAddress(ton, npi, pdu[start:end].decode("latin-1"))
        esm_class, protocol_id, priority = _THREE.unpack_from(pdu, end + 1)
        start = end + 4
        end = pdu.index(0, start)
        schedule = pdu[start:end].decode("latin-1") if end > start else ""
        start = end + 1
        end = pdu.index(0, start)
        validity = pdu[start:end].decode("latin-1") if end > start else ""
        registered, replace, coding, default_id, length = _FIVE.unpack_from(pdu, end + 1)
        sequence = HEADER.unpack_from(pdu)[3]
    except (ValueError, IndexError, _StructError) as error:
        raise CodecError("cut short in its mandatory fields") from error
    start = end + 6
    end = start + length
    if end > len(pdu):
        raise CodecError(f"sm_length {length} beyond the PDU", v.ESME_RINVMSGLEN)
    message = DeliverSm(
        source,
        destination,
        pdu[start:end],
        coding,
        esm_class,
        registered,
        service_type,
        protocol_id,
        priority,
        schedule,
        validity,
        replace,
        default_id,
        (),
        sequence,
    )
    return message, end


def decode_submit(pdu: bytes) -> SubmitSm:
    """Read a whole submit_sm: the same fields as deliver_sm. Raises CodecError."""
    m, end = _mandatory(pdu)
    return SubmitSm(
        m.source,
        m.destination,
        m.short_message,
        m.data_coding,
        m.esm_class,
        m.registered_delivery,
        m.service_type,
        m.protocol_id,
        m.priority,
        m.schedule_delivery_time,
        m.validity_period,
        m.replace_if_present,
        m.sm_default_msg_id,
        decode_tlvs(pdu, end) if end < len(pdu) else (),
    )


def encode_submit_resp(
    sequence: int, message_id: bytes = b"", status: int = 0, command: int = v.SUBMIT_SM_RESP
) -> bytes:
    """submit_sm_resp, or with `command` deliver_sm_resp (whose id is always empty, §4.6.2)."""
    return HEADER.pack(17 + len(message_id), command, status, sequence) + message_id + b"\0"


def decode_submit_resp(pdu: bytes) -> tuple[str, Tlvs]:
    """The message id and TLVs of a whole submit_sm_resp; never raises.

    An error response without a body has neither. One whose TLVs are damaged
    keeps those before the damage: the outcome is in the header, and throwing
    that away would leave the message in doubt.
    """
    length = len(pdu)
    if length <= 17:
        return "", ()
    end = pdu.find(0, 16)
    if end < 0:
        return pdu[16:].decode("latin-1"), ()
    message_id = pdu[16:end].decode("latin-1")
    if end + 1 == length:
        return message_id, ()
    return message_id, decode_tlvs(pdu, end + 1, tolerant=True)


# Optional parameters ---------------------------------------------------------


def encode_tlvs(tlvs: Tlvs) -> bytes:
    """Tag, length, value of each, in order. Raises CodecError if one does not fit."""
    try:
        return b"".join([_TLV.pack(tag, len(value)) + value for tag, value in tlvs])
    except (_StructError, TypeError) as error:
        raise CodecError(f"optional parameter: {error}", v.ESME_RINVOPTPARSTREAM) from error


def decode_tlvs(pdu: bytes, start: int, *, tolerant: bool = False) -> Tlvs:
    """The optional parameters from `start` to the end, in order.

    Up to three octets that cannot be a TLV are ignored. A value that ends
    beyond the PDU raises CodecError, or ends the list if `tolerant`.
    """
    tlvs, cut = _tlvs_at(pdu, start)
    if cut is not None and not tolerant:
        raise CodecError(_beyond(pdu, cut), v.ESME_RINVOPTPARSTREAM)
    return tlvs


def _message_tlvs(pdu: bytes, start: int, message: DeliverSm) -> tuple[Tlvs, str]:
    """The optional parameters of a message, as far as they go, and what was left out.

    Raises CodecError where that is the text: nobody would know that it is not all. What is in
    short_message is all.
    """
    tlvs, cut = _tlvs_at(pdu, start)
    if cut is None:
        return tlvs, ""
    is_text = _TLV.unpack_from(pdu, cut)[0] == v.MESSAGE_PAYLOAD
    if is_text and not message.short_message and tlv(tlvs, v.MESSAGE_PAYLOAD) is None:
        raise CodecError(_beyond(pdu, cut), v.ESME_RINVOPTPARSTREAM)
    return tlvs, _beyond(pdu, cut)


def _tlvs_at(pdu: bytes, start: int) -> tuple[Tlvs, int | None]:
    """The optional parameters that are whole, and where one begins that is not."""
    tlvs: list[tuple[int, bytes]] = []
    end = len(pdu)
    while end - start >= 4:
        tag, length = _TLV.unpack_from(pdu, start)
        value = start + 4
        if value + length > end:
            return tuple(tlvs), start
        start = value + length
        tlvs.append((tag, pdu[value:start]))
    return tuple(tlvs), None


def _beyond(pdu: bytes, at: int) -> str:
    tag, length = _TLV.unpack_from(pdu, at)
    return f"TLV {v.tlv_name(tag)} of {length} octets beyond the PDU"


# Every PDU, by its layout ----------------------------------------------------


def encode(pdu: Pdu) -> bytes:
    """The octets of any PDU. Fields that are missing are zero or empty. Raises CodecError."""
    layout = LAYOUTS.get(pdu.command)
    if layout is None:
        raise CodecError(f"no layout for command {v.command_name(pdu.command)}", v.ESME_RINVCMDID)
    parts = []
    for field in layout.fields:
        value = pdu.fields.get(field.name)
        try:
            parts.append(_ENCODERS[field.kind](field, value))
        except (OverflowError, UnicodeEncodeError, TypeError, AttributeError, ValueError) as error:
            raise CodecError(f"{layout.name}.{field.name}: {error}") from error
    body = b"".join(parts) + encode_tlvs(pdu.tlvs)
    try:
        return HEADER.pack(16 + len(body), pdu.command, pdu.status, pdu.sequence) + body
    except _StructError as error:
        raise CodecError(f"{layout.name} header: {error}") from error


def decode(data: bytes) -> Pdu:
    """Read one whole PDU, header and all. Raises CodecError.

    Responses are read as far as they go: what is missing stays out of `fields`.
    """
    if len(data) < HEADER_OCTETS:
        raise CodecError(f"{len(data)} octets are no header")
    length, command, status, sequence = HEADER.unpack_from(data)
    if length != len(data):
        raise CodecError(f"command_length {length} of a PDU of {len(data)} octets")
    layout = LAYOUTS.get(command)
    if layout is None:
        raise CodecError(f"unknown command 0x{command:08x}", v.ESME_RINVCMDID)
    fields: dict[str, FieldValue] = {}
    at = HEADER_OCTETS
    tolerant = layout.is_response
    try:
        for field in layout.fields:
            if tolerant and at >= length:
                break
            value, at = _DECODERS[field.kind](field, data, at)
            fields[field.name] = value
    except CodecError as error:
        if tolerant:
            return Pdu(command, sequence, status, fields)
        raise CodecError(f"{layout.name}: {error}", error.status) from error
    if length - at < 4:
        return Pdu(command, sequence, status, fields)
    if command in (v.DELIVER_SM, v.DATA_SM):
        pdu = Pdu(command, sequence, status, fields)
        pdu.tlvs, pdu.flaw = _message_tlvs(data, at, message_from(pdu))
        return pdu
    tlvs = decode_tlvs(data, at, tolerant=tolerant)
    return Pdu(command, sequence, status, fields, tlvs)


def message_from(pdu: Pdu) -> DeliverSm:
    """A deliver_sm or data_sm read by its layout, in the shape the rest works with."""
    return DeliverSm(
        _address_of(pdu, "source_addr", "source_addr"),
        _address_of(pdu, "dest_addr", "destination_addr"),
        _octets(pdu.fields.get("short_message")),
        pdu.number("data_coding"),
        pdu.number("esm_class"),
        pdu.number("registered_delivery"),
        pdu.text("service_type"),
        pdu.number("protocol_id"),
        pdu.number("priority_flag"),
        pdu.text("schedule_delivery_time"),
        pdu.text("validity_period"),
        pdu.number("replace_if_present_flag"),
        pdu.number("sm_default_msg_id"),
        pdu.tlvs,
        pdu.sequence,
        pdu.command,
        flaw=pdu.flaw,
    )


def _address_of(pdu: Pdu, prefix: str, name: str) -> SmeAddress:
    return SmeAddress(pdu.number(f"{prefix}_ton"), pdu.number(f"{prefix}_npi"), pdu.text(name))


def _octets(value: FieldValue | None) -> bytes:
    return value if isinstance(value, bytes) else b""


# One encoder and one decoder per kind of field -------------------------------


def _encode_integer(field: Field, value: FieldValue | None) -> bytes:
    if value is None:
        return bytes(field.size)
    if not isinstance(value, int):
        raise TypeError(f"not an integer: {value!r}")
    return value.to_bytes(field.size, "big")


def _encode_text(field: Field, value: FieldValue | None) -> bytes:
    if value is None:
        return b"\0"
    if not isinstance(value, str):
        raise TypeError(f"not text: {value!r}")
    most = field.longest or field.size
    if len(value) >= most or "\0" in value:
        raise ValueError(f"over {most - 1} characters, or a NUL in it")
    return value.encode("latin-1") + b"\0"


def _encode_message(field: Field, value: FieldValue | None) -> bytes:
    octets = b"" if value is None else value
    if not isinstance(octets, bytes):
        raise TypeError(f"not octets: {value!r}")
    if len(octets) > field.size:
        raise ValueError(f"{len(octets)} octets")
    return bytes((len(octets),)) + octets


def _encode_address(address: SmeAddress) -> bytes:
    value = address.value.encode("latin-1")
    if len(value) > 20 or b"\0" in value:
        raise ValueError("address over 20 characters, or a NUL in it")
    return bytes((address.ton, address.npi)) + value + b"\0"


def _encode_destinations(field: Field, value: FieldValue | None) -> bytes:
    destinations = value if isinstance(value, tuple) else ()
    if len(destinations) > field.size:
        raise ValueError(f"{len(destinations)} destinations")
    parts = [bytes((len(destinations),))]
    for destination in destinations:
        if not isinstance(destination, MultiDestination):
            raise TypeError(f"not a destination: {destination!r}")
        if destination.address is not None:
            parts.append(b"\x01" + _encode_address(destination.address))
        else:
            name = destination.list_name.encode("latin-1")
            if len(name) > 20 or b"\0" in name:
                raise ValueError("list name over 20 characters, or a NUL in it")
            parts.append(b"\x02" + name + b"\0")
    return b"".join(parts)


def _encode_failures(field: Field, value: FieldValue | None) -> bytes:
    failures = value if isinstance(value, tuple) else ()
    if len(failures) > field.size:
        raise ValueError(f"{len(failures)} failures")
    parts = [bytes((len(failures),))]
    for failure in failures:
        if not isinstance(failure, FailedDestination):
            raise TypeError(f"not a failure: {failure!r}")
        parts.append(_encode_address(failure.address) + failure.status.to_bytes(4, "big"))
    return b"".join(parts)


def _integer_at(data: bytes, at: int, size: int = 1) -> tuple[int, int]:
    end = at + size
    if end > len(data):
        raise CodecError("cut short in its mandatory fields")
    return int.from_bytes(data[at:end], "big"), end


def _text_at(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(0, at)
    if end < 0:
        raise CodecError("text without its NUL")
    return data[at:end].decode("latin-1"), end + 1


def _address_at(data: bytes, at: int) -> tuple[SmeAddress, int]:
    ton, at = _integer_at(data, at)
    npi, at = _integer_at(data, at)
    value, at = _text_at(data, at)
    return SmeAddress(ton, npi, value), at


def _decode_integer(field: Field, data: bytes, at: int) -> tuple[FieldValue, int]:
    return _integer_at(data, at, field.size)


def _decode_text(field: Field, data: bytes, at: int) -> tuple[FieldValue, int]:
    return _text_at(data, at)


def _decode_message(field: Field, data: bytes, at: int) -> tuple[FieldValue, int]:
    length, at = _integer_at(data, at)
    end = at + length
    if end > len(data):
        raise CodecError(f"sm_length {length} beyond the PDU", v.ESME_RINVMSGLEN)
    return data[at:end], end


def _decode_destinations(field: Field, data: bytes, at: int) -> tuple[FieldValue, int]:
    count, at = _integer_at(data, at)
    destinations = []
    for _ in range(count):
        flag, at = _integer_at(data, at)
        if flag == 1:
            address, at = _address_at(data, at)
            destinations.append(MultiDestination(address))
        elif flag == 2:
            name, at = _text_at(data, at)
            destinations.append(MultiDestination(None, name))
        else:
            raise CodecError(f"dest_flag {flag}")
    return tuple(destinations), at


def _decode_failures(field: Field, data: bytes, at: int) -> tuple[FieldValue, int]:
    count, at = _integer_at(data, at)
    failures = []
    for _ in range(count):
        address, at = _address_at(data, at)
        status, at = _integer_at(data, at, 4)
        failures.append(FailedDestination(address, status))
    return tuple(failures), at


_ENCODERS = {
    FieldKind.INTEGER: _encode_integer,
    FieldKind.C_OCTETS: _encode_text,
    FieldKind.SHORT_MESSAGE: _encode_message,
    FieldKind.DESTINATIONS: _encode_destinations,
    FieldKind.FAILURES: _encode_failures,
}
_DECODERS = {
    FieldKind.INTEGER: _decode_integer,
    FieldKind.C_OCTETS: _decode_text,
    FieldKind.SHORT_MESSAGE: _decode_message,
    FieldKind.DESTINATIONS: _decode_destinations,
    FieldKind.FAILURES: _decode_failures,
}
