"""Messages and octets for property tests, within what SMPP can say."""

from __future__ import annotations

from hypothesis import strategies as st

from smpp import vocabulary as v
from smpp.layouts import LAYOUTS, Field, FieldKind
from smpp.pdu import FailedDestination, MultiDestination, Pdu, SmeAddress, SubmitSm

octet = st.integers(0, 255)
sequence = st.integers(1, 0x7FFFFFFF)


def text(most: int) -> st.SearchStrategy[str]:
    """What a C-octet string can hold: one octet a character, and no NUL."""
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=most)


addresses = st.builds(SmeAddress, octet, octet, text(20))
tlvs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=5).map(tuple)
submits = st.builds(
    SubmitSm,
    addresses,
    addresses,
    st.binary(max_size=254),
    data_coding=octet,
    esm_class=octet,
    registered_delivery=octet,
    service_type=text(5),
    protocol_id=octet,
    priority=octet,
    schedule_delivery_time=text(16),
    validity_period=text(16),
    replace_if_present=octet,
    sm_default_msg_id=octet,
    tlvs=tlvs,
)


def _value(field: Field) -> st.SearchStrategy[object]:
    match field.kind:
        case FieldKind.INTEGER:
            return st.integers(0, 256**field.size - 1)
        case FieldKind.C_OCTETS:
            return text(field.size - 1)
        case FieldKind.SHORT_MESSAGE:
            return st.binary(max_size=254)
        case FieldKind.DESTINATIONS:
            lists = text(20).map(lambda name: MultiDestination(None, name))
            one = addresses.map(MultiDestination) | lists
            return st.lists(one, max_size=6).map(tuple)
        case FieldKind.FAILURES:
            one = st.builds(FailedDestination, addresses, st.integers(0, 0xFFFFFFFF))
            return st.lists(one, max_size=6).map(tuple)


@st.composite
def pdus(draw: st.DrawFn) -> Pdu:
    """Any PDU that has a layout, with every field filled."""
    layout = draw(st.sampled_from(sorted(LAYOUTS.values(), key=lambda one: one.command)))
    fields = {field.name: draw(_value(field)) for field in layout.fields}
    status = draw(st.integers(0, 0xFFFFFFFF)) if layout.command & v.RESPONSE else 0
    return Pdu(layout.command, draw(sequence), status, fields, draw(tlvs) if layout.tlvs else ())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good PDU with some octets changed, cut or added, its length put right again."""
    from smpp import codec

    data = bytearray(codec.encode(draw(pdus())))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(4, len(data) - 1))] = draw(octet)
    if draw(st.booleans()):
        data = data[: draw(st.integers(16, len(data)))]
    data += draw(st.binary(max_size=6))
    data[0:4] = len(data).to_bytes(4, "big")
    return bytes(data)
