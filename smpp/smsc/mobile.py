"""What subscribers send: a text as the deliver_sm bodies that bring it, whole or in parts."""

from __future__ import annotations

from typing import Literal, get_args

from smpp import codec
from smpp import vocabulary as v
from smpp.alphabet import encode_gsm7, is_gsm7
from smpp.concat import sar_tlvs, udh8, udh16
from smpp.pdu import SmeAddress, SubmitSm, Tlvs

Mode = Literal["udh8", "udh16", "sar", "payload"]
MODES: tuple[Mode, ...] = get_args(Mode)

_SEPTETS = {"udh8": 153, "udh16": 152, "sar": 153}
_OCTETS = {"udh8": 134, "udh16": 132, "sar": 134}


def address(value: str) -> SmeAddress:
    """A number or name with the type of number that carriers give it."""
    value = value.removeprefix("+")
    if not value.isdigit():
        return SmeAddress(v.TON_ALPHANUMERIC, v.NPI_UNKNOWN, value)
    if len(value) <= 6:
        return SmeAddress(v.TON_NETWORK_SPECIFIC, v.NPI_UNKNOWN, value)
    return SmeAddress(v.TON_INTERNATIONAL, v.NPI_ISDN, value)


def bodies(source: str, destination: str, text: str, mode: str, reference: int) -> list[bytes]:
    """The deliver_sm bodies (without headers) of one message.

    Raises ValueError for a mode that is none, or a text of over 255 parts.
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    sender, recipient = address(source), address(destination)
    coding = v.DataCoding.DEFAULT if is_gsm7(text) else v.DataCoding.UCS2
    octets = encode_gsm7(text) if is_gsm7(text) else text.encode("utf-16-be", "surrogatepass")
    single = 160 if coding == v.DataCoding.DEFAULT else 140
    if mode == "payload" and len(octets) > single:
        return [_body(sender, recipient, b"", coding, 0, ((v.MESSAGE_PAYLOAD, octets),))]
    if len(octets) <= single:
        return [_body(sender, recipient, octets, coding, 0, ())]
    size = (_SEPTETS if coding == v.DataCoding.DEFAULT else _OCTETS)[mode]
    pieces = _cut(octets, size, wide=coding == v.DataCoding.UCS2)
    total = len(pieces)
    if total > 255:
        raise ValueError(f"{total} parts; a long message has at most 255")
    made = []
    for number, piece in enumerate(pieces, 1):
        if mode == "sar":
            tlvs = sar_tlvs(reference, total, number)
            made.append(_body(sender, recipient, piece, coding, 0, tlvs))
        else:
            header = (udh8 if mode == "udh8" else udh16)(reference, total, number)
            made.append(_body(sender, recipient, header + piece, coding, v.ESM_UDHI, ()))
    return made


def _body(
    sender: SmeAddress,
    recipient: SmeAddress,
    octets: bytes,
    coding: int,
    esm_class: int,
    tlvs: Tlvs,
) -> bytes:
    message = SubmitSm(sender, recipient, octets, coding, esm_class, 0, tlvs=tlvs)
    return codec.encode_deliver(message, 0)[codec.HEADER_OCTETS :]


def _cut(octets: bytes, size: int, *, wide: bool) -> list[bytes]:
    """Pieces of at most `size`; no surrogate pair and no escape pair is cut in two."""
    pieces = []
    start = 0
    while start < len(octets):
        end = start + size
        if end < len(octets):
            if wide:
                if 0xD8 <= octets[end - 2] <= 0xDB:
                    end -= 2
            elif octets[end - 1] == 0x1B:
                end -= 1
        pieces.append(octets[start:end])
        start = end
    return pieces
