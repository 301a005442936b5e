"""Parts of long messages: read in every form, joined in every order, bounded."""

from __future__ import annotations

import pytest

from smpp import vocabulary as v
from smpp.concat import Part, Reassembler, sar_tlvs, split_header, udh8, udh16
from smpp.pdu import DeliverSm, SmeAddress


def part(text: bytes, *, esm_class: int = 0x40, tlvs=(), sender: str = "447700900123") -> DeliverSm:
    return DeliverSm(
        SmeAddress(1, 1, sender), SmeAddress(1, 1, "15550001111"), text, 0, esm_class, tlvs=tlvs
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


def test_a_part_that_is_here_already_begins_a_second_message():
    reassembler = Reassembler()
    first, again = eight(1, 2), eight(1, 2)
    assert reassembler.add(first, 0.0) == reassembler.add(again, 1.0) == []
    [whole] = reassembler.add(eight(2, 2), 2.0)
    assert whole.pieces[0].delivery is first
    assert (len(reassembler), reassembler.deadline()) == (1, 62.0)
    [whole] = reassembler.add(eight(2, 2), 3.0)
    assert whole.pieces[0].delivery is again
    assert (len(reassembler), reassembler.octets) == (0, 0)


@pytest.mark.parametrize(
    ("came", "told", "late"),
    [
        ("1A 1A 2B 2B", ["AB", "AB"], []),
        ("1A 2B 1A 2B", ["AB", "AB"], []),
        ("1A 1A 2B 2C", ["AB", "AC"], []),
        ("2B 2B 1A 1C", ["AB", "CB"], []),
        ("1A 1A 1A 2B 2B 2B", ["AB", "AB", "AB"], []),
        ("1A 1A 2B", ["AB"], ["A?"]),
        ("1A 1A", [], ["A?", "A?"]),
        ("1A 1C 1A 2B 2B 2B", ["AB", "CB", "AB"], []),
    ],
)
def test_parts_of_the_same_octets_are_as_many_messages_as_came(came, told, late):
    parts = [(int(one[0]), one[1].encode()) for one in came.split()]
    at_once, expired, left = under_one_key(*parts)
    assert at_once == [(text.encode(), False) for text in told]
    assert expired == [(text.rstrip("?").encode(), True) for text in late]
    assert left == 0


def test_parts_of_equal_messages_stay_together_when_their_time_is_over():
    at_once, late, _ = under_one_key((1, b"A"), (1, b"A"), (2, b"B"), total=3)
    assert (at_once, late) == ([], [(b"AB", True), (b"A", True)])


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


def texts(wholes):
    """Each message's parts as one text, and whether something is missing."""
    return [
        (b"".join(piece.text for piece in whole.pieces), bool(whole.missing)) for whole in wholes
    ]


def under_one_key(*parts: tuple[int, bytes], total: int = 2, build=udh8):
    """What comes of these parts under one reference, at once and after the timeout."""
    reassembler = Reassembler()
    ready = []
    for number, text in parts:
        ready += reassembler.add(part(build(7, total, number) + text), 0.0)
    return texts(ready), texts(reassembler.expire(60.0)), len(reassembler)


@pytest.mark.parametrize("build", [udh8, udh16])
def test_two_messages_under_one_reference_are_never_mixed(build):
    at_once, late, _ = under_one_key((1, b"A1"), (1, b"B1"), (2, b"A2"), (2, b"B2"), build=build)
    assert at_once == [(b"A1A2", False), (b"B1B2", False)]
    assert late == []


def test_three_messages_of_three_parts_under_one_reference_are_three():
    parts = [(number, b"%c%d" % (name, number)) for number in (1, 2, 3) for name in b"ABC"]
    at_once, late, left = under_one_key(*parts, total=3)
    assert at_once == [(b"A1A2A3", False), (b"B1B2B3", False), (b"C1C2C3", False)]
    assert (late, left) == ([], 0)


def test_a_part_that_may_be_either_messages_is_told_by_itself_and_marked():
    at_once, late, left = under_one_key((1, b"A1"), (1, b"B1"), (2, b"?2"))
    assert at_once == []
    assert sorted(late) == [(b"?2", True), (b"A1", True), (b"B1", True)]
    assert left == 0


def test_two_messages_under_one_reference_in_two_codings_are_told_apart_by_them():
    reassembler = Reassembler()
    ready = []
    for number, text, coding in ((1, b"A1", 0), (1, b"B1", 8), (2, b"B2", 8), (2, b"A2", 0)):
        one = part(udh8(7, 2, number) + text)
        one.data_coding = coding
        ready += reassembler.add(one, 0.0)
    assert texts(ready) == [(b"A1A2", False), (b"B1B2", False)]


def test_the_tokens_of_all_parts_come_back():
    reassembler = Reassembler()
    reassembler.add(eight(1, 2), 0.0, token="first")
    [whole] = reassembler.add(eight(2, 2), 0.0, token="second")
    assert [piece.token for piece in whole.pieces] == ["first", "second"]


def test_equal_parts_without_end_are_given_up():
    reassembler = Reassembler()
    ready = []
    for _ in range(100):
        ready += reassembler.add(eight(1, 2), 0.0)
    assert len(ready) >= 80
    assert reassembler.octets <= 17 * 600


def test_one_source_spelt_in_two_ways_is_one_message():
    reassembler = Reassembler()
    reassembler.add(eight(1, 2), 0.0, pair=("+447700900123", "+15550001111"))
    plus = part(udh8(7, 2, 2) + b"end", sender="+447700900123")
    [whole] = reassembler.add(plus, 0.0, pair=("+447700900123", "+15550001111"))
    assert whole.missing == ()


def test_more_messages_under_one_reference_than_can_be_are_given_up():
    reassembler = Reassembler()
    ready = []
    for number in range(100):
        ready += reassembler.add(eight(1, 2, text=b"%d" % number), 0.0)
    assert len(ready) >= 80
    assert all(one.missing == (2,) for one in ready)


def test_a_flood_of_first_parts_gives_up_the_floods_own():
    reassembler = Reassembler(most_octets=100_000, most_octets_each=25_000)
    reassembler.add(eight(1, 2, reference=1, text=b"mine"), 0.0, pair="mine", holder="tenant")
    given_up = []
    for number in range(300):
        forged = part(udh8(number & 0xFF, 2, 1) + bytes(5_000))
        given_up += reassembler.add(forged, 0.0, pair=f"flood {number}", holder="flood")
    assert reassembler.octets <= 26_000
    assert len(given_up) > 290
    [whole] = reassembler.add(
        eight(2, 2, reference=1, text=b"too"), 0.0, pair="mine", holder="tenant"
    )
    assert texts([whole]) == [(b"minetoo", False)]


def test_all_holders_together_are_bounded_and_the_one_with_most_gives_up_first():
    reassembler = Reassembler(most_octets=50_000, most_octets_each=25_000)
    reassembler.add(eight(1, 2, text=b"small"), 0.0, pair="small", holder="small")
    for number in range(100):
        forged = part(udh8(number, 2, 1) + bytes(5_000))
        reassembler.add(forged, 0.0, pair=f"flood {number}", holder=f"flood {number % 10}")
    assert reassembler.octets <= 50_000
    [whole] = reassembler.add(eight(2, 2, text=b"!"), 0.0, pair="small", holder="small")
    assert texts([whole]) == [(b"small!", False)]


def test_a_message_larger_than_a_holder_may_have_open_is_told_as_far_as_it_came():
    reassembler = Reassembler(most_octets_each=10_000)
    ready = []
    for number in (1, 2, 3):
        ready += reassembler.add(part(udh8(7, 3, number) + bytes(6_000)), 0.0)
    assert [one.missing for one in ready] == [(3,)]


def test_references_of_another_width_are_of_another_message():
    """One says 7 in eight bits, the other in sixteen, the third in parameters: three messages."""
    parts = Reassembler(timeout_s=60.0)

    def numbered(number: int):
        return (
            part(udh8(7, 2, number) + b"a%d" % number),
            part(udh16(7, 2, number) + b"b%d" % number),
            part(b"c%d" % number, esm_class=0, tlvs=sar_tlvs(7, 2, number)),
        )

    firsts, seconds = numbered(1), numbered(2)
    told = [whole for delivery in (*firsts, *reversed(seconds)) for whole in parts.add(delivery, 0)]
    texts = [b"".join(piece.text for piece in whole.pieces) for whole in told]
    assert texts == [b"c1c2", b"b1b2", b"a1a2"]
