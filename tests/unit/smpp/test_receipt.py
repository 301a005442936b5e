"""Receipts as carriers write them; most lines are from somebody's issue thread."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from smpp import vocabulary as v
from smpp.pdu import DeliverSm, SmeAddress
from smpp.receipt import IdForm, forms_of, normal_forms, parse_date, parse_receipt, state_of
from smpp.vocabulary import MessageState


def delivery(text: bytes, *, esm_class: int = 4, coding: int = 0, tlvs=()) -> DeliverSm:
    return DeliverSm(
        SmeAddress(1, 1, "441632960675"),
        SmeAddress(1, 1, "15550001111"),
        text,
        coding,
        esm_class,
        tlvs=tlvs,
    )


STANDARD = (
    b"id:0123456789 sub:001 dlvrd:001 submit date:0809011130 done date:0809011131 "
    b"stat:DELIVRD err:000 text:Hello"
)


def test_the_form_of_the_specification():
    receipt = parse_receipt(delivery(STANDARD))
    assert receipt is not None
    assert receipt.message_id == "0123456789"
    assert receipt.state is MessageState.DELIVERED
    assert (receipt.sub, receipt.dlvrd, receipt.error) == ("001", "001", "000")
    assert (receipt.submit_date, receipt.done_date) == ("0809011130", "0809011131")
    assert receipt.text == b"Hello"
    assert receipt.network_error is None


DATES = b"submit date:0809011130 done date:0809011131"


@pytest.mark.parametrize(
    ("text", "message_id", "stat", "error"),
    [
        # sub and dlvrd missing
        (b"id:77 " + DATES + b" stat:DELIVRD err:000", "77", "DELIVRD", "000"),
        # a space after err:
        (b"id:77 sub:001 " + DATES + b" stat:EXPIRED err: 040 text:", "77", "EXPIRED", "040"),
        # seconds in the dates
        (b"id:77 done date:080901113100 stat:DELIVRD err:0", "77", "DELIVRD", "0"),
        # four digits, letters
        (b"id:77 stat:UNDELIV err:0023 text:", "77", "UNDELIV", "0023"),
        (b"id:77 stat:UNDELIV err:EC_A text:", "77", "UNDELIV", "EC_A"),
        # other order, other case, several spaces, other names
        (b"STAT:delivrd  ID:ab-12  Done Date:2101010101", "ab-12", "delivrd", ""),
        (b"message_id: 9f status: DELIVERED error_code: 5", "9f", "DELIVERED", "5"),
        (b"id:77 submit_date:2101010101 done_date:x stat:FAILED err:1", "77", "FAILED", "1"),
        (b"id:77,stat:REJECTD,err:008", "77", "REJECTD", "008"),
        (b"id:77\r\nstat:ACCEPTD\r\nerr:000", "77", "ACCEPTD", "000"),
        # a uuid, and words nobody knows
        (b"id:5f0c2b7e-7f0a stat:WHATEVR err:000", "5f0c2b7e-7f0a", "WHATEVR", "000"),
        # the text looks like fields
        (b"id:77 stat:DELIVRD err:000 text:id:1 stat:UNDELIV err:9", "77", "DELIVRD", "000"),
    ],
)  # fmt: skip
def test_dialects(text, message_id, stat, error):
    receipt = parse_receipt(delivery(text))
    assert receipt is not None
    assert (receipt.message_id, receipt.stat, receipt.error) == (message_id, stat, error)


def test_octets_that_are_no_text_may_follow_text():
    receipt = parse_receipt(delivery(b"id:7 stat:DELIVRD err:0001 text:\x05\0\x03\xff \x80:\x00id"))
    assert receipt is not None
    assert receipt.message_id == "7"
    assert receipt.text == b"\x05\0\x03\xff \x80:\x00id"


def test_ascii_marked_as_ucs2_and_ucs2_itself():
    for text in (
        STANDARD,
        STANDARD.decode().encode("utf-16-be"),
        STANDARD.decode().encode("utf-16-le"),
        b"\xfe\xff" + STANDARD.decode().encode("utf-16-be"),
    ):
        receipt = parse_receipt(delivery(text, coding=8))
        assert receipt is not None
        assert (receipt.message_id, receipt.stat) == ("0123456789", "DELIVRD")


@pytest.mark.parametrize(
    "head",
    [
        b"\0",
        b"\0\0\0",
        b"\x01",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\x1b\x80",
        b"\x05\0\x03\x07\x01\x01",
        b"(",
        b"Receipt ",
        b"DLR",
        b"\r\n",
        b"[7] ",
    ],
)
@pytest.mark.parametrize(
    "text", [STANDARD, b"id:0123456789 stat:DELIVRD done date:0809011131", STANDARD + b"\0"]
)
def test_a_receipt_is_read_whatever_precedes_it(head, text):
    receipt = parse_receipt(delivery(head + text))
    assert receipt is not None
    assert (receipt.message_id, receipt.stat) == ("0123456789", "DELIVRD")
    assert receipt.done_date == "0809011131"


@pytest.mark.parametrize("coding", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("head", [b"", b"\0", b"\0\0"])
def test_a_receipt_in_ucs2_is_read_wherever_it_begins(coding, head):
    receipt = parse_receipt(delivery(head + STANDARD.decode().encode(coding), coding=8))
    assert receipt is not None
    assert (receipt.message_id, receipt.stat) == ("0123456789", "DELIVRD")


@pytest.mark.parametrize(
    "filler", [b"id:", b"id:a sub:1 ", b"id:a sub:1 dlvrd:1 submit date:", b"\0i"]
)
def test_no_text_takes_long(filler):
    """Twice the octets, about twice the work: only that it ends is asserted here."""
    assert parse_receipt(delivery(filler * 20_000)) is None


def test_a_pattern_that_does_not_match_leaves_what_can_be_read_without_it():
    receipt = parse_receipt(delivery(STANDARD), re.compile(rb"(?P<message_id>\d+),(?P<stat>\w+)"))
    assert receipt is not None
    assert (receipt.message_id, receipt.stat) == ("0123456789", "DELIVRD")


def test_the_tlvs_win_over_the_text():
    tlvs = (
        (v.RECEIPTED_MESSAGE_ID, b"abc\0"),
        (v.MESSAGE_STATE, b"\x05"),
        (v.NETWORK_ERROR_CODE, b"\x03\0\x22"),
    )
    receipt = parse_receipt(delivery(STANDARD, tlvs=tlvs))
    assert receipt is not None
    assert receipt.message_id == "abc"
    assert receipt.state is MessageState.UNDELIVERABLE
    assert receipt.stat == "DELIVRD"
    assert receipt.network_error == b"\x03\0\x22"
    assert receipt.error == "000"


def test_tlvs_alone_are_a_receipt():
    tlvs = (
        (v.RECEIPTED_MESSAGE_ID, b"abc"),
        (v.MESSAGE_STATE, b"\x02"),
        (v.NETWORK_ERROR_CODE, b"\x03\0\x22"),
    )
    one = delivery(b"", esm_class=0, tlvs=tlvs)
    assert one.is_receipt
    receipt = parse_receipt(one)
    assert receipt is not None
    assert (receipt.message_id, receipt.stat, receipt.error) == ("abc", "DELIVRD", "034")


def test_an_id_in_a_tlv_and_a_stat_in_the_text_are_a_receipt():
    tlvs = ((v.RECEIPTED_MESSAGE_ID, b"abc\0"),)
    one = delivery(b"stat:DELIVRD err:000", esm_class=0, tlvs=tlvs)
    assert one.is_receipt
    receipt = parse_receipt(one)
    assert receipt is not None
    assert (receipt.message_id, receipt.stat) == ("abc", "DELIVRD")
    assert not delivery(b"hello", esm_class=0, tlvs=tlvs).is_receipt


def test_a_carrier_with_a_form_of_its_own_has_a_pattern():
    pattern = re.compile(rb"(?P<message_id>[^,]+),(?P<done_date>\d+),(?P<stat>\w+),(?P<error>\w*)")
    one = delivery(b"4711,2601012359,UNDELIV,27")
    assert parse_receipt(one) is None
    receipt = parse_receipt(one, pattern)
    assert receipt is not None
    assert (receipt.message_id, receipt.stat, receipt.error) == ("4711", "UNDELIV", "27")
    assert parse_receipt(delivery(b"no such thing"), pattern) is None


@pytest.mark.parametrize(
    "text",
    [b"", b"hello", b"id:", b"id:7", b"stat:DELIVRD", b"id: stat:DELIVRD", b"\0", b"\xff\xfe"],
)
def test_what_has_no_id_or_no_state_is_not_understood(text):
    assert parse_receipt(delivery(text)) is None


@pytest.mark.parametrize(
    ("esm_class", "text", "is_receipt"),
    [
        (0x04, b"anything", True),
        (0x20, b"anything", True),
        (0x44, b"", True),
        (0x08, STANDARD, True),  # marked as the subscriber's own acknowledgement
        (0x10, STANDARD, True),
        (0x08, b"thanks", False),
        (0x00, STANDARD, True),  # a carrier that marks nothing
        (0x00, b"\0" + STANDARD, True),
        (0x00, STANDARD.decode().encode("utf-16-be"), True),
        (0x00, STANDARD.decode().encode("utf-16-le"), True),
        (0x00, b"my id:7 and stat:DELIVRD", False),  # a subscriber may write that
        (0x00, b"Paid: 20. Thermostat: 21C. Update: please call me", False),
        (0x00, b"My order id: 5512, stat: unknown, date: 3 May. Please help", False),
        (0x00, b"Bid: 5, stat: ok, date: now", False),
        (0x00, b"Thermostat: 5, id: 7, date: 2611301200", False),
        (0x00, b"MSGid: 7 stat: DELIVRD done date: 2611301200", True),
        (0x40, b"\x05\0\x03\1\2\1" + STANDARD, True),
        (0x40, b"\x05\0\x03\1\2\1hello", False),
        (0x00, b"hello", False),
    ],
)
def test_what_is_a_receipt_and_what_is_a_message(esm_class, text, is_receipt):
    assert delivery(text, esm_class=esm_class).is_receipt is is_receipt


@pytest.mark.parametrize(
    ("stat", "state"),
    [
        ("DELIVRD", MessageState.DELIVERED),
        ("Delivered", MessageState.DELIVERED),
        ("FAILED", MessageState.UNDELIVERABLE),
        ("UNDELIVERABLE", MessageState.UNDELIVERABLE),
        ("ENROUTE", MessageState.ENROUTE),
        ("BUFFRED", MessageState.ENROUTE),
        ("REJECTED", MessageState.REJECTED),
        ("CANCELLED", MessageState.DELETED),
        ("8", MessageState.REJECTED),
        ("", MessageState.UNKNOWN),
        ("XYZZY", MessageState.UNKNOWN),
    ],
)
def test_words_and_numbers_for_states(stat, state):
    assert state_of(stat) is state


@pytest.mark.parametrize(
    ("state", "stats"),
    [
        ("UNDELIVERABLE", "DELIVERY_FAILED delivfail DELIVERY-ERROR MESSAGE_FAILED NOT_DELIVERED"),
        ("UNDELIVERABLE", "Delivery.Impossible UNDLVRD DELIVERY_NOT_POSSIBLE 05 005"),
        ("EXPIRED", "DELIVERY_EXPIRED DELIVERY_TIMEOUT 03"),
        ("REJECTED", "DELIVERY_REJECTED MSG_REJECTED 08"),
        ("ENROUTE", "DELIVERY_PENDING 01"),
        ("DELIVERED", "DLVRD DELVRD 02 002 DELIVERY_OK DELIVERY_SUCCESS DELIVERED_TO_HANDSET"),
        ("DELIVERED", "SMS_DELIVERED DELIVERY DELIVERRED Deliv-ok"),
        ("UNKNOWN", "DELIVERY_WHATEVER 10 99 0002 ٢"),
    ],
)
def test_a_stat_of_several_words_or_digits_is_read_whole(state, stats):
    assert {stat: state_of(stat).name for stat in stats.split()} == dict.fromkeys(
        stats.split(), state
    )


def test_marks_around_the_values_of_the_specifications_form_are_none_of_them():
    receipt = parse_receipt(
        delivery(
            b'id:"1001" sub:001 dlvrd:001 submit date:2611300900 done date:2611300900'
            b" stat:\"DELIVRD\" err:'000' text:x",
        )
    )
    assert receipt is not None
    assert (receipt.message_id, receipt.stat, receipt.error) == ("1001", "DELIVRD", "000")
    assert receipt.state.name == "DELIVERED"


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (b"1001\0", ("1001", "0A1F")),
        (b" 1001 \0", ("1001", " 1001 ", "0A1F")),
        (b"0A1F\0", ("0A1F",)),
        (b"\0", ("0A1F",)),
        (b"  ", ("  ", "0A1F")),
    ],
)
def test_the_id_of_a_tlv_is_first_and_the_texts_another(given, ids):
    receipt = parse_receipt(
        delivery(
            b"id:0A1F sub:001 dlvrd:001 submit date:2611300900 done date:2611300900"
            b" stat:DELIVRD err:000 text:x",
            tlvs=((0x001E, given),),
        )
    )
    assert receipt is not None
    assert receipt.ids == ids


def test_only_the_passing_states_are_not_final():
    passing = {state for state in MessageState if not state.final}
    assert passing == {MessageState.SCHEDULED, MessageState.ENROUTE, MessageState.ACCEPTED}
    assert all(state_of(state.stat) is state for state in MessageState)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2607151230", datetime(2026, 7, 15, 12, 30, tzinfo=UTC)),
        ("260715123045", datetime(2026, 7, 15, 12, 30, 45, tzinfo=UTC)),
        ("20260715123045", datetime(2026, 7, 15, 12, 30, 45, tzinfo=UTC)),
        ("202607151230", datetime(2026, 7, 15, 12, 30, tzinfo=UTC)),
        ("2613011230", None),
        ("26071512", None),
        ("26071512３0", None),
        ("", None),
    ],
)
def test_dates_of_ten_twelve_and_fourteen_digits(text, when):
    assert parse_date(text) == when


def test_a_date_has_the_carriers_zone():
    when = parse_date("2607151230", utc_offset_minutes=-300)
    assert when == datetime(2026, 7, 15, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("receipted", "answered", "form"),
    [
        ("7a1b", "7a1b", IdForm.RAW),
        ("7A1B", "7a1b", IdForm.FOLDED),
        ("00007a1b", "7a1b", IdForm.STRIPPED),
        ("31259", "7a1b", IdForm.DECIMAL_TO_HEX),
        ("31259", "7A1B", IdForm.DECIMAL_TO_HEX),
        ("7a1b", "31259", IdForm.HEX_TO_DECIMAL),
        ("00007a1b", "31259", IdForm.HEX_TO_DECIMAL),
        ("31259", "0000031259", IdForm.PADDED),
        ("31259", "00007a1b", IdForm.PADDED),
        ("7a1b", "0000031259", IdForm.PADDED),
        ("7a1b", "00007A1B", IdForm.PADDED),
    ],
)
def test_the_id_of_a_response_is_found_among_the_forms_of_a_receipts(receipted, answered, form):
    assert {spelling: kind for kind, spelling in forms_of(receipted)}[answered] is form


def test_the_raw_id_is_first_and_no_form_comes_twice():
    for raw in ("", "0", "000", "7a1b", "31259", "not hex", "9" * 64, "f" * 64):
        forms = normal_forms(raw)
        assert forms[0] == raw
        assert len(set(forms)) == len(forms)
        assert len(forms) < 40
