"""What a message looks like on the wire, carrier by carrier
(docs/spec/messaging-services.md#smpp-encoding, docs/spec/messaging-services.md#validity-period)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.settings import CarrierSettings
from gateway.content import national
from gateway.content.encoding import Content, Encoding, encode, whole
from smpp.alphabet import decode_text, unpack
from smpp.concat import split_header
from smpp.pdu import SmeAddress, SubmitSm, Tlvs, tlv
from smpp.vocabulary import (
    ESM_UDHI,
    MESSAGE_PAYLOAD,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    USER_MESSAGE_REFERENCE,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


def profile(**options: Any) -> Profile:
    """The profile of a carrier with these options."""
    return Profile.of(
        CarrierSettings(name="one", hosts=("smsc.example:2775",), system_id="me", **options)
    )


@dataclass
class Outgoing:
    content: Content | None
    segments: int
    recipient: str = "+441632960675"
    sender_address: str | None = "+447700900101"
    reference: int = 0x1234
    answered: int = 0
    valid_until: float = NOW + 36_000
    tlvs: Tlvs = field(default=())
    media: tuple[str, ...] | None = None


def message(text: str, ways: Profile, **changes: Any) -> Outgoing:
    content = ways.fit(encode(text))
    return Outgoing(content, len(content.parts), **changes)


def submits(text: str, ways: Profile, **changes: Any) -> list[SubmitSm]:
    return [submit for submit, _ in ways.submits(message(text, ways, **changes), NOW)]


# Addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "address"),
    [
        ("+447700900101", SmeAddress(1, 1, "447700900101")),
        ("78901", SmeAddress(3, 0, "78901")),
        ("Tandem", SmeAddress(5, 0, "Tandem")),
        ("4ever", SmeAddress(5, 0, "4ever")),
    ],
)
def test_the_kind_of_sender_decides_ton_and_npi(sender: str, address: SmeAddress) -> None:
    [submit] = submits("hi", profile(), sender_address=sender)
    assert submit.source == address
    assert submit.destination == SmeAddress(1, 1, "441632960675")


def test_ton_and_npi_follow_the_settings() -> None:
    ways = profile(
        long_code={"ton": 2, "npi": 8},
        short_code={"ton": 6, "npi": 1},
        alphanumeric={"ton": 0, "npi": 1},
        destination={"ton": 0, "npi": 0},
    )
    found = [
        submits("hi", ways, sender_address=sender)[0].source[:2]
        for sender in ("+4477", "789", "Abc")
    ]
    assert found == [(2, 8), (6, 1), (0, 1)]
    assert submits("hi", ways)[0].destination == SmeAddress(0, 0, "441632960675")


def test_a_leading_plus_is_kept_where_the_carrier_wants_it() -> None:
    [submit] = submits("hi", profile(leading_plus=True))
    assert submit.source.value == "+447700900101"
    assert submit.destination.value == "+441632960675"
    [submit] = submits("hi", profile(leading_plus=True), sender_address="78901")
    assert submit.source.value == "78901"


# Alphabets ---------------------------------------------------------------------------------

TEXTS = ["hello", "@£$_ Grüße [x] {y}", "x" * 7, "x" * 8, "a" * 160, "€" * 80, "Ω" * 5]


@pytest.mark.parametrize("alphabet", ["gsm7", "packed", "latin1", "ascii"])
@pytest.mark.parametrize("text", [*TEXTS, "日本語", "é" * 353, "[" * 400])
def test_what_arrives_is_what_was_sent_whatever_data_coding_0_means(
    alphabet: str, text: str
) -> None:
    received = ""
    for submit in submits(text, profile(default_alphabet=alphabet)):
        assert len(submit.short_message) <= 254
        _, octets, header = split_header(submit)
        fill = -(len(header) + 1) * 8 % 7 if header else 0
        received += decode_text(submit.data_coding, octets, alphabet, fill_bits=fill)
    assert received == text


def test_a_text_that_the_alphabet_lacks_goes_as_ucs2_with_its_own_segments() -> None:
    text = "€" + "x" * 80
    assert message(text, profile()).segments == 1
    for alphabet in ("latin1", "ascii"):
        outgoing = message(text, profile(default_alphabet=alphabet))
        assert outgoing.segments == 2
        assert outgoing.content is not None
        assert outgoing.content.encoding is Encoding.UCS2
    assert {s.data_coding for s in submits(text, profile(default_alphabet="latin1"))} == {8}
    # Latin-1 has it, ASCII has not.
    assert [s.data_coding for s in submits("é", profile(default_alphabet="latin1"))] == [0]
    assert [s.data_coding for s in submits("é", profile(default_alphabet="ascii"))] == [8]


def test_a_packed_part_begins_on_a_septet_border_behind_its_header() -> None:
    for mode, octets, fill in (("udh8", 6, 1), ("udh16", 7, 0)):
        ways = profile(default_alphabet="packed", concatenation=mode)
        first, _ = submits("a" * 200, ways)
        assert len(first.short_message) == 140
        septets = 153 if mode == "udh8" else 152
        assert unpack(first.short_message[octets:], 160, fill) == b"a" * septets


def test_what_was_cut_before_the_alphabet_changed_still_arrives_right() -> None:
    outgoing = message("€" * 200, profile())
    ways = profile(default_alphabet="ascii")
    received = ""
    for submit, _ in ways.submits(outgoing, NOW):
        _, octets, _ = split_header(submit)
        received += decode_text(submit.data_coding, octets)
    assert received == "€" * 200


def test_national_tables_announce_themselves_in_the_header() -> None:
    text = "ığş" * 40  # Turkish: 120 characters, two segments as UCS-2
    ways = profile(national_tables=(1,))
    outgoing = message(text, ways)
    assert outgoing.segments == 1
    [(submit, _)] = ways.submits(outgoing, NOW)
    assert submit.esm_class == ESM_UDHI
    assert submit.data_coding == 0
    _, octets, header = split_header(submit)
    elements = {header[at]: header[at + 2] for at in range(0, len(header), 3)}
    locking, single = elements.get(0x25, 0), elements.get(0x24, 0)
    assert 1 in (locking, single)
    assert national.decode(octets, locking, single) == text
    assert [s.data_coding for s in submits(text, profile())] == [8, 8]


def test_national_tables_and_concatenation_share_one_header() -> None:
    text = "ığş" * 100
    ways = profile(national_tables=(1,))
    received = ""
    parts = submits(text, ways)
    assert len(parts) > 1
    for number, submit in enumerate(parts, start=1):
        part, octets, header = split_header(submit)
        assert part is not None
        assert (part.total, part.number) == (len(parts), number)
        assert len(submit.short_message) <= 160
        elements = header[5:]
        kinds = {elements[at]: elements[at + 2] for at in range(0, len(elements), 3)}
        received += national.decode(octets, kinds.get(0x25, 0), kinds.get(0x24, 0))
    assert received == text


# Long messages -----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "parts"), [("x" * 304, 2), ("x" * 305, 3), ("日" * 132, 2)])
def test_parts_with_a_16_bit_reference_fit_140_octets_too(text: str, parts: int) -> None:
    ways = profile(concatenation="udh16", default_alphabet="packed")
    assert message(text, ways).segments == parts
    assert max(len(submit.short_message) for submit in submits(text, ways)) <= 140
    assert message("日" * 133, ways).segments == 3
    assert message("x" * 306, profile()).segments == 2


def test_each_way_of_concatenation() -> None:
    text = "x" * 200
    first, second = submits(text, profile(concatenation="udh8"))
    assert first.short_message[:6] == bytes((5, 0, 3, 0x34, 2, 1))
    assert second.short_message[:6] == bytes((5, 0, 3, 0x34, 2, 2))
    first, second = submits(text, profile(concatenation="udh16"))
    assert first.short_message[:7] == bytes((6, 8, 4, 0x12, 0x34, 2, 1))
    assert first.esm_class == second.esm_class == ESM_UDHI

    first, second = submits(text, profile(concatenation="sar"))
    assert first.esm_class == 0
    assert first.short_message == b"x" * 153
    assert tlv(second.tlvs, SAR_MSG_REF_NUM) == b"\x12\x34"
    assert tlv(second.tlvs, SAR_TOTAL_SEGMENTS) == b"\x02"
    assert tlv(second.tlvs, SAR_SEGMENT_SEQNUM) == b"\x02"

    outgoing = message(text, profile())
    [(whole, segments)] = profile(concatenation="payload").submits(outgoing, NOW)
    assert whole.short_message == b""
    assert tlv(whole.tlvs, MESSAGE_PAYLOAD) == b"x" * 200
    assert segments == 0b11


@pytest.mark.parametrize("mode", ["udh8", "udh16", "sar", "payload"])
def test_a_short_message_needs_none_of_it(mode: str) -> None:
    [submit] = submits("hello", profile(concatenation=mode))
    assert submit.short_message == b"hello"
    assert submit.esm_class == 0
    assert [tag for tag, _ in submit.tlvs] == [USER_MESSAGE_REFERENCE]


def test_only_what_is_not_answered_is_sent_again() -> None:
    ways = profile()
    outgoing = message("x" * 400, ways, answered=0b101)
    [(submit, segments)] = ways.submits(outgoing, NOW)
    assert segments == 0b010
    assert submit.short_message[5] == 2


# Validity ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "period"),
    [
        (36_000, "000000100000000R"),
        (61, "000000000101000R"),
        (60, "000000000100000R"),
        (59, "000000000100000R"),
        (0, "000000000100000R"),
        (90_061, "000001010101000R"),
    ],
)
def test_a_relative_validity_period_is_what_is_left_but_a_minute_at_least(
    left: float, period: str
) -> None:
    [submit] = submits("hi", profile(propagate_validity="relative"), valid_until=NOW + left)
    assert submit.validity_period == period


def test_an_absolute_validity_period_is_in_utc() -> None:
    [submit] = submits("hi", profile(propagate_validity="absolute"))
    assert submit.validity_period == "260301220000000+"


def test_every_segment_carries_the_same_validity_and_none_by_default() -> None:
    periods = {
        s.validity_period for s in submits("x" * 400, profile(propagate_validity="relative"))
    }
    assert periods == {"000000100000000R"}
    assert {s.validity_period for s in submits("x" * 400, profile())} == {""}
    assert {s.schedule_delivery_time for s in submits("x" * 400, profile())} == {""}


# Receipts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "asked", "mask"),
    [
        ({}, [1, 1, 1], 0b111),
        ({"receipts": "first"}, [1, 0, 0], 0b001),
        ({"receipts": "last"}, [0, 0, 1], 0b100),
        ({"receipts": "last", "registered_delivery": 17}, [16, 16, 17], 0b100),
        ({"registered_delivery": 0}, [0, 0, 0], 0),
        ({"concatenation": "payload"}, [1], 0b001),
        ({"concatenation": "payload", "receipts": "last"}, [1], 0b001),
    ],
)
def test_the_parts_that_ask_for_a_receipt(
    options: dict[str, Any], asked: list[int], mask: int
) -> None:
    ways = profile(**options)
    assert [s.registered_delivery for s in submits("x" * 400, ways)] == asked
    assert ways.receipt_parts(3) == mask
    assert ways.receipt_parts(1) == (1 if mask else 0)


def test_one_answer_stands_for_all_parts_only_where_the_carrier_cuts() -> None:
    assert profile(concatenation="payload").answered_parts(0b001, 3) == 0b111
    assert profile(concatenation="payload").answered_parts(0, 3) == 0
    assert profile().answered_parts(0b001, 3) == 0b001


# TLVs --------------------------------------------------------------------------------------


def test_the_carriers_own_tlvs_go_with_every_part() -> None:
    ways = profile(tlvs={"0x1400": "1101", "dest_addr_subunit": "0x01"}, service_type="CMT")
    for submit in submits("x" * 200, ways):
        assert tlv(submit.tlvs, 0x1400) == b"1101"
        assert tlv(submit.tlvs, 0x0005) == b"\x01"
        assert submit.service_type == "CMT"


def test_a_messages_own_tlvs_win_over_the_carriers_and_foreign_ones_stay_behind() -> None:
    ways = profile(tlvs={"0x1400": "always"}, presets=("india_dlt",), message_tlvs=("0x1500",))
    [submit] = submits(
        "hi", ways, tlvs=((0x1400, b"mine"), (0x1500, b"too"), (0x1600, b"not allowed"))
    )
    assert [value for tag, value in submit.tlvs if tag == 0x1400] == [b"mine"]
    assert tlv(submit.tlvs, 0x1500) == b"too"
    assert tlv(submit.tlvs, 0x1600) is None


def test_the_user_message_reference_may_be_left_out() -> None:
    assert submits("hi", profile(user_message_reference=False))[0].tlvs == ()


# MMS ---------------------------------------------------------------------------------------


def mms(text: str, ways: Profile, *links: str, **changes: Any) -> SubmitSm:
    [(submit, segments)] = ways.submits(Outgoing(whole(text), 1, media=links, **changes), NOW)
    assert segments == 1
    return submit


def test_an_mms_is_one_submit_with_a_parameter_for_each_link() -> None:
    submit = mms("hi", profile(mms_tlv="0x2001"), "https://a/1", "https://a/2")
    assert submit.short_message == b"hi"
    assert [value for tag, value in submit.tlvs if tag == 0x2001] == [
        b"https://a/1",
        b"https://a/2",
    ]
    assert profile().submits(Outgoing(whole("hi"), 1, media=(), answered=1), NOW) == []


def test_the_text_of_an_mms_is_not_cut() -> None:
    for text in ("x" * 255, "é€漢" * 100):
        submit = mms(text, profile(), "https://a/1")
        assert submit.short_message == b""
        assert decode_text(submit.data_coding, tlv(submit.tlvs, MESSAGE_PAYLOAD) or b"") == text
    assert mms("x" * 254, profile(), "https://a/1").short_message == b"x" * 254


def test_an_mms_without_media_has_the_parameter_empty() -> None:
    assert [value for tag, value in mms("hi", profile()).tlvs if tag == 0x1510] == [b""]
