"""One line per PDU."""

from __future__ import annotations

import pytest

from smpp import codec
from smpp import vocabulary as v
from smpp.describe import describe
from smpp.pdu import Pdu, SmeAddress, SubmitSm

SOURCE, DESTINATION = SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675")
RECEIPT = (
    b"id:0a1b sub:001 dlvrd:001 submit date:2601010101 done date:2601010101 stat:DELIVRD err:000"
)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            codec.encode_submit(SubmitSm(SOURCE, DESTINATION, b"x" * 64), 7),
            "submit_sm seq=7 +15550001111 -> +441632960675 gsm7 64 octets",
        ),
        (
            codec.encode_submit(
                SubmitSm(
                    SmeAddress(5, 0, "ACME"), DESTINATION, b"\5\0\3\7\2\1" + b"\0h", 8, 0x40,
                    tlvs=((0x1400, b""), (v.USER_MESSAGE_REFERENCE, b"\0\1")),
                ), 8,
            ),
            "submit_sm seq=8 ACME -> +441632960675 ucs2 2 octets part 1/2 ref 7 "
            "tlvs=0x1400,user_message_reference",
        ),
        (codec.encode_submit_resp(7, b"0a1b"), "submit_sm_resp seq=7 id=0a1b"),
        (codec.encode_submit_resp(7, b"", 0x58), "submit_sm_resp seq=7 ESME_RTHROTTLED"),
        (
            codec.encode_deliver(SubmitSm(DESTINATION, SOURCE, RECEIPT, esm_class=4), 9),
            "deliver_sm seq=9 +441632960675 -> +15550001111 receipt id=0a1b stat=DELIVRD err=000",
        ),
        (
            codec.encode_deliver(SubmitSm(DESTINATION, SOURCE, b"?", esm_class=4), 9),
            "deliver_sm seq=9 +441632960675 -> +15550001111 receipt, not understood",
        ),
        (
            codec.encode(Pdu(v.BIND_TRANSCEIVER, 1, fields={"system_id": "me", "password": "no"})),
            "bind_transceiver seq=1 system_id=me",
        ),
        (codec.encode(Pdu(v.ENQUIRE_LINK, 3)), "enquire_link seq=3"),
        (b"\0\0", "not a PDU: 0000"),
    ],
)  # fmt: skip
def test_a_pdu_is_one_readable_line(data, line):
    assert describe(data) == line


def test_numbers_are_masked_on_demand_and_texts_and_passwords_never_shown():
    data = codec.encode_submit(SubmitSm(SOURCE, DESTINATION, b"a secret"), 7)
    line = describe(data, mask=True)
    assert line == "submit_sm seq=7 +1555000**** -> +44163296**** gsm7 8 octets"
    assert "secret" not in describe(data)


def test_what_cannot_be_read_is_shown_as_hex():
    line = describe(codec.HEADER.pack(18, v.DELIVER_SM, 0, 5) + b"\xff\xff")
    assert line.startswith("deliver_sm seq=5 unreadable (")
    assert line.endswith("ffff")
