"""One readable line per PDU, for logs, demos and Explain.

Numbers are masked unless asked for, texts are never shown: a line may go to a
log (docs/monitoring.md#logs).
"""

from __future__ import annotations

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.concat import split_header
from smpp.pdu import DeliverSm, SubmitSm
from smpp.receipt import parse_receipt

_CODINGS = {0: "gsm7", 1: "ascii", 2: "binary", 3: "latin1", 4: "binary", 8: "ucs2"}


def describe(data: bytes, *, mask: bool = False) -> str:
    """What this PDU says, in one line. Never raises; what is no PDU is shown as hex.

    `submit_sm seq=7 +15550001111 -> +441632960675 gsm7 64 octets`
    """
    if len(data) < codec.HEADER_OCTETS:
        return f"not a PDU: {data.hex()}"
    _, command, status, sequence = HEADER.unpack_from(data)
    line = f"{v.command_name(command)} seq={sequence}"
    if status:
        line += f" {v.status_name(status)}"
    try:
        return line + _body(data, command, mask)
    except CodecError as error:
        return f"{line} unreadable ({error}): {data[16:80].hex()}"


def _body(data: bytes, command: int, mask: bool) -> str:
    if command in (v.SUBMIT_SM, v.DELIVER_SM):
        return _message(codec.decode_deliver(data), mask)
    if command == v.SUBMIT_SM_RESP:
        message_id, tlvs = codec.decode_submit_resp(data)
        return (f" id={message_id}" if message_id else "") + _tlvs(tlvs)
    read = codec.decode(data)
    if command == v.DATA_SM:
        return _message(codec.message_from(read), mask)
    shown = [
        f" {name}={read.text(name)}"
        for name in ("system_id", "system_type", "message_id")
        if read.text(name)
    ]
    return "".join(shown) + _tlvs(read.tlvs)


def _message(message: DeliverSm | SubmitSm, mask: bool) -> str:
    source, destination = message.source.value, message.destination.value
    line = f" {shown_number(source, mask)} -> {shown_number(destination, mask)}"
    if isinstance(message, DeliverSm) and message.is_receipt:
        receipt = parse_receipt(message)
        if receipt is None:
            return line + " receipt, not understood"
        return line + f" receipt id={receipt.message_id} stat={receipt.stat} err={receipt.error}"
    part, text, _ = split_header(message)
    coding = _CODINGS.get(message.data_coding, f"dcs=0x{message.data_coding:02x}")
    line += f" {coding} {len(text)} octets"
    if part is not None:
        line += f" part {part.number}/{part.total} ref {part.reference}"
    return line + _tlvs(message.tlvs)


def _tlvs(tlvs: tuple[tuple[int, bytes], ...]) -> str:
    if not tlvs:
        return ""
    return " tlvs=" + ",".join(v.tlv_name(tag) for tag, _ in tlvs)


def shown_number(value: str, mask: bool) -> str:
    """An address as a log shows it: `+44163296****`, or whole."""
    shown = f"+{value}" if value.isdigit() and len(value) > 6 else value
    if mask and len(shown) > 6:
        return f"{shown[:-4]}****"
    return shown
