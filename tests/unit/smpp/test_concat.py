"""Parts of long messages: read in every form, joined in every order, bounded."""

from __future__ import annotations

import pytest

from smpp import vocabulary as v
from smpp.concat import Part, Reassembler, sar_tlvs, split_header, udh8, udh16
from smpp.pdu import Address, DeliverSm


def part(text: bytes, *, esm_class: int = 0x40, tlvs=(), sender: str = "447700900123") -> DeliverSm:
    return DeliverSm(
        Address(1, 1, sender), Address(1, 1, "15550001111"), text, 0, esm_class, tlvs=tlvs
    )


def eight(number: int, total: int = 3, *, reference: int = 7, text: bytes = b"") -> DeliverSm:
    return part(udh8(reference, total, number) + (text or b"part%d" % number))


ODD_SAR = (
    (v.SAR_MSG_REF_NUM, b"\7"),
    (v.SAR_TOTAL_SEGMENTS, b"\0\2"),
    (v.SAR_SEGMENT_SEQNUM, b"\1"),
)


@pytest.mark.parametrize(
    ("message", "expected", "text"),
    [
        (part(b"\x05\0\x03\x07\x02\x01hi"), Part(7, 2, 1), b"hi"),
        (part(b"\x06\x08\x04\x01\x07\x02\x01hi"), Part(0x107, 2, 1), b"hi"),
        (part(b"hi", esm_class=0, tlvs=sar_tlvs(0x107, 2, 1)), Part(0x107, 2, 1), b"hi"),
        # other elements before it: ports, a shift table
        (part(b"\x0b\x05\x04\0\x50\0\x50\0\x03\x07\x02\x01hi"), Part(7, 2, 1), b"hi"),
        (part(b"\x08\x24\x01\x02\0\x03\x07\x02\x01hi"), Part(7, 2, 1), b"hi"),
        # a header without concatenation
        (part(b"\x06\x05\x04\0\x50\0\x50hi"), None, b"hi"),
        # single-part header; part beyond its total; of none
        (part(b"\x05\0\x03\x07\x01\x01hi"), None, b"hi"),
        (part(b"\x05\0\x03\x07\x02\x03hi"), None, b"hi"),
        (part(b"\x05\0\x03\x07\x02\x00hi"), None, b"hi"),
        (part(b"\x05\0\x03\x07\x00\x00hi"), None, b"hi"),
        # headers that lie about their length
        (part(b""), None, b""),
        (part(b"\x40hi"), None, b"\x40hi"),
        (part(b"\x05\0\xff\x07\x02\x01hi"), None, b"hi"),
        (part(b"\x01\0hi"), None, b"hi"),
        (part(b"\x00hi"), None, b"hi"),
        # sar TLVs of other sizes, or not all of them
        (part(b"hi", esm_class=0, tlvs=ODD_SAR), Part(7, 2, 1), b"hi"),
        (part(b"hi", esm_class=0, tlvs=sar_tlvs(7, 2, 1)[:2]), None, b"hi"),
        # the text in the TLV, header and all
        (part(b"", tlvs=((v.MESSAGE_PAYLOAD, b"\x05\0\x03\x07\x02\x01hi"),)), Part(7, 2, 1), b"hi"),
    ],
)  # fmt: skip
def test_headers_are_read_or_left_alone(message, expected, text):
    content = split_header(message)
    assert content.part == expected
    assert content.text == text


def test_builders_and_reader_agree():
    assert split_header(part(udh8(0x1FF, 3, 2))).part == Part(0xFF, 3, 2)
    assert split_header(part(udh16(0x1FF, 3, 2))).part == Part(0x1FF, 3, 2)
    assert udh8(1, 2, 1)[0] + 1 == len(udh8(1, 2, 1))
    assert udh16(1, 2, 1)[0] + 1 == len(udh16(1, 2, 1))


def test_parts_in_any_order_become_one_message():
    reassembler = Reassembler()
    assert reassembler.add(eight(3), 0.0) == []
    assert reassembler.add(eight(1), 1.0) == []
    [whole] = reassembler.add(eight(2), 2.0)
    assert [piece.text for piece in whole.pieces] == [b"part1", b"part2", b"part3"]
    assert whole.total == 3
    assert whole.missing == ()
    assert len(reassembler) == 0


def test_a_message_without_parts_is_ready_at_once():
    [whole] = Reassembler().add(part(b"hi", esm_class=0), 0.0)
    assert whole.pieces[0].text == b"hi"
    assert whole.total == 1


def test_messages_of_other_senders_references_or_totals_stay_apart():
    reassembler = Reassembler()
    for one in (
        eight(1, 2),
        eight(1, 2, reference=8),
        eight(1, 3),
        part(udh8(7, 2, 1) + b"x", sender="447700900999"),
    ):
        assert reassembler.add(one, 0.0) == []
    assert len(reassembler) == 4


def test_a_part_sent_again_is_known_and_replaces_the_first():
    reassembler = Reassembler()
    assert not reassembler.is_duplicate(eight(1, 2))
    reassembler.add(eight(1, 2), 0.0)
    again = eight(1, 2)
    assert reassembler.is_duplicate(again)
    assert reassembler.add(again, 1.0) == []
    [whole] = reassembler.add(eight(2, 2), 2.0)
    assert whole.pieces[0].delivery is again


def test_what_is_missing_after_the_timeout_is_named():
    reassembler = Reassembler(timeout_s=60.0)
    reassembler.add(eight(1), 0.0)
    reassembler.add(eight(3), 50.0)
    reassembler.add(eight(2, reference=9), 30.0)
    assert reassembler.deadline() == 60.0
    assert reassembler.expire(59.9) == []
    [whole] = reassembler.expire(60.0)
    assert [piece.text for piece in whole.pieces] == [b"part1", b"part3"]
    assert whole.missing == (2,)
    assert reassembler.deadline() == 90.0
    assert len(reassembler) == 1


def test_one_message_too_many_gives_up_the_oldest():
    reassembler = Reassembler(limit=2)
    for reference in (1, 2):
        reassembler.add(eight(1, reference=reference), 0.0)
    [whole] = reassembler.add(eight(1, reference=3, text=b"newest"), 1.0)
    assert whole.missing == (2, 3)
    assert len(reassembler) == 2
    assert reassembler.deadline() == 60.0


def test_nothing_open_has_no_deadline():
    assert Reassembler().deadline() == float("inf")
    with pytest.raises(ValueError, match="limit"):
        Reassembler(limit=0)
