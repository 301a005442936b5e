"""The codec on the PDUs that break others: each comes from somebody's bug report."""

from __future__ import annotations

import pytest

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.layouts import LAYOUTS
from smpp.pdu import FailedDestination, MultiDestination, Pdu, SmeAddress, SubmitSm

SOURCE = SmeAddress(1, 1, "15550001111")
DESTINATION = SmeAddress(1, 1, "441632960675")


def raw(command: int, body: bytes, *, status: int = 0, length: int | None = None) -> bytes:
    return HEADER.pack(16 + len(body) if length is None else length, command, status, 7) + body


HEAD = b"\0\x01\x01447700900123\0\x01\x0115550001111\0"
FLAGS = b"\0\0\0\0\0\0\0\0\0"


def test_the_octets_of_a_submit_are_those_of_the_specification():
    octets = codec.encode_submit(SubmitSm(SOURCE, DESTINATION, b"hi"), 7)
    assert octets == (
        b"\0\0\0\x3a\0\0\0\x04\0\0\0\0\0\0\0\x07"
        b"\0\x01\x0115550001111\0\x01\x01441632960675\0\0\0\0\0\0\x01\0\0\0\x02hi"
    )


@pytest.mark.parametrize("length", [0, 2, 15, 0x7FFFFFFF])
def test_a_length_that_is_not_the_pdu_is_refused(length):
    with pytest.raises(CodecError, match="command_length"):
        codec.decode(raw(v.UNBIND, b"", length=length))


def test_sm_length_beyond_the_pdu_is_refused_with_its_own_status():
    with pytest.raises(CodecError) as error:
        codec.decode_deliver(raw(v.DELIVER_SM, HEAD + FLAGS + b"\x20hi"))
    assert error.value.status == v.ESME_RINVMSGLEN


def test_sm_length_zero_with_udhi_set_is_an_empty_message():
    delivery = codec.decode_deliver(raw(v.DELIVER_SM, HEAD + b"\x40" + FLAGS[1:] + b"\0"))
    assert delivery.udhi
    assert delivery.payload == b""


def test_unknown_ton_npi_and_data_coding_pass_through():
    body = b"\0\x99\x77abc\0\xff\xff1\0" + b"\0\0\0\0\0\0\0\xf5\0" + b"\x01x"
    delivery = codec.decode_deliver(raw(v.DELIVER_SM, body))
    assert delivery.source == SmeAddress(0x99, 0x77, "abc")
    assert delivery.data_coding == 0xF5


def test_a_vendor_tlv_and_a_repeated_one_are_kept_in_order():
    tlvs = ((0x1411, b"carrier"), (v.NETWORK_ERROR_CODE, b"\x03\0\x01"), (0x1411, b""))
    data = codec.encode_deliver(SubmitSm(SOURCE, DESTINATION, b"hi", tlvs=tlvs), 7)
    assert codec.decode_deliver(data).tlvs == tlvs


@pytest.mark.parametrize("stray", [b"\0", b"\0\0", b"abc"])
def test_up_to_three_stray_octets_at_the_end_are_ignored(stray):
    delivery = codec.decode_deliver(raw(v.DELIVER_SM, HEAD + FLAGS + b"\x02hi" + stray))
    assert delivery.payload == b"hi"
    assert delivery.tlvs == ()


def test_a_text_beyond_the_pdu_is_refused():
    data = raw(v.DELIVER_SM, HEAD + FLAGS + b"\0" + b"\x04\x24\xff\xff!")
    for read in (codec.decode_deliver, codec.decode):
        with pytest.raises(CodecError) as error:
            read(data)
        assert error.value.status == v.ESME_RINVOPTPARSTREAM


@pytest.mark.parametrize("esm_class", [0, v.ESM_RECEIPT])
def test_a_receipt_beside_a_text_beyond_the_pdu_is_read(esm_class):
    text = b"id:1 submit date:2611300900 done date:2611300900 stat:DELIVRD err:000"
    message = SubmitSm(SmeAddress(1, 1, "1"), SmeAddress(1, 1, "2"), text, esm_class=esm_class)
    data = codec.encode_deliver(message, 1) + b"\x04\x24\xff\xff!"
    data = len(data).to_bytes(4, "big") + data[4:]
    for read in (codec.decode_deliver(data), codec.message_from(codec.decode(data))):
        assert (read.payload, read.tlvs) == (text, ())
        assert "beyond the PDU" in read.flaw


@pytest.mark.parametrize(
    "tail",
    [
        b"\x15\x01\0\x09ab",  # says nine octets, has two
        b"abcd",  # stray letters, read as the head of a parameter
        b"\x04\x27\0\x01\x02\x14\x11\xff\xff",  # behind one that is whole
        b"\x04\x24\0\x02hi\x04\x24\0\x09x",  # the text, and a piece of it again
        b"\x04\x24\0\x09ab",  # another text than that in its place
    ],
)
def test_a_message_is_read_as_far_as_it_goes_and_says_what_was_left_out(tail):
    data = raw(v.DELIVER_SM, HEAD + FLAGS + b"\x02hi" + tail)
    delivery = codec.decode_deliver(data)
    assert delivery.payload == b"hi"
    assert "beyond the PDU" in delivery.flaw
    read = codec.message_from(codec.decode(data))
    assert (read.payload, read.tlvs, read.flaw) == (b"hi", delivery.tlvs, delivery.flaw)


def test_a_data_sm_is_read_as_far_as_it_goes():
    message = Pdu(v.DATA_SM, 7, tlvs=((v.MESSAGE_PAYLOAD, b"hi"),))
    data = codec.encode(message) + b"\x15\x01\0\x09ab"
    read = codec.message_from(codec.decode(len(data).to_bytes(4, "big") + data[4:]))
    assert read.payload == b"hi"
    assert "beyond the PDU" in read.flaw


def test_a_submit_with_a_tlv_beyond_the_pdu_is_refused():
    with pytest.raises(CodecError) as error:
        codec.decode_submit(raw(v.SUBMIT_SM, HEAD + FLAGS + b"\x02hi\x15\x01\0\x09ab"))
    assert error.value.status == v.ESME_RINVOPTPARSTREAM


@pytest.mark.parametrize(
    ("body", "message_id", "tlvs"),
    [
        (b"", "", ()),  # §4.4.2: no body with an error
        (b"\0", "", ()),
        (b"abc\0", "abc", ()),
        (b"abc", "abc", ()),  # the NUL forgotten
        (b"abc\0\x14\x11\0\x01x", "abc", ((0x1411, b"x"),)),
        (b"abc\0\x14\x11\0\x09x", "abc", ()),  # damaged after the id
        (b"\xe9\0", "é", ()),
    ],
)
def test_a_response_is_read_as_far_as_it_goes(body, message_id, tlvs):
    for status in (0, 0x45, 0x0400):
        data = raw(v.SUBMIT_SM_RESP, body, status=status)
        assert codec.decode_submit_resp(data) == (message_id, tlvs)
        assert codec.decode(data).status == status


def test_a_response_of_another_kind_may_lack_its_body_or_half_of_it():
    assert codec.decode(raw(v.BIND_TRANSCEIVER | v.RESPONSE, b"", status=14)).fields == {}
    assert codec.decode(raw(v.QUERY_SM | v.RESPONSE, b"id\0")).fields == {"message_id": "id"}
    assert codec.decode(raw(v.QUERY_SM | v.RESPONSE, b"unterminated")).fields == {}


def test_the_payload_is_in_the_tlv_when_short_message_is_empty():
    message = SubmitSm(SOURCE, DESTINATION, b"", tlvs=((v.MESSAGE_PAYLOAD, b"long" * 100),))
    assert codec.decode_deliver(codec.encode_deliver(message, 1)).payload == b"long" * 100


def test_data_sm_comes_in_the_shape_of_a_delivery():
    pdu = Pdu(
        v.DATA_SM,
        9,
        fields={"source_addr": "447700900123", "source_addr_ton": 1, "data_coding": 8},
        tlvs=((v.MESSAGE_PAYLOAD, b"\0h\0i"),),
    )
    delivery = codec.message_from(codec.decode(codec.encode(pdu)))
    assert delivery.source == SmeAddress(1, 0, "447700900123")
    assert (delivery.payload, delivery.data_coding, delivery.command) == (b"\0h\0i", 8, v.DATA_SM)


def test_submit_multi_names_addresses_lists_and_failures():
    destinations = (MultiDestination(DESTINATION), MultiDestination(None, "friends"))
    pdu = Pdu(v.SUBMIT_MULTI, 3, fields={"dest_address": destinations, "short_message": b"hi"})
    assert codec.decode(codec.encode(pdu)).fields["dest_address"] == destinations
    failures = (FailedDestination(DESTINATION, 0x0B),)
    pdu = Pdu(v.SUBMIT_MULTI | v.RESPONSE, 3, fields={"unsuccess_sme": failures})
    assert codec.decode(codec.encode(pdu)).fields["unsuccess_sme"] == failures


@pytest.mark.parametrize("flag", [0, 3, 255])
def test_a_destination_of_no_kind_is_refused(flag):
    body = b"\0\0\0\0\x01" + bytes((flag,)) + b"\0\0\0"
    with pytest.raises(CodecError, match="dest_flag"):
        codec.decode(raw(v.SUBMIT_MULTI, body))


def test_an_unknown_command_is_refused_with_its_own_status():
    with pytest.raises(CodecError) as error:
        codec.decode(raw(0x00010203, b"what"))
    assert error.value.status == v.ESME_RINVCMDID
    with pytest.raises(CodecError):
        codec.encode(Pdu(0x00010203))


@pytest.mark.parametrize(
    "message",
    [
        SubmitSm(SmeAddress(1, 1, "1" * 21), DESTINATION, b""),
        SubmitSm(SmeAddress(1, 1, "1\0"), DESTINATION, b""),
        SubmitSm(SmeAddress(256, 1, "1"), DESTINATION, b""),
        SubmitSm(SmeAddress(5, 0, "Ωmega"), DESTINATION, b""),
        SubmitSm(SOURCE, DESTINATION, b"x" * 255),
        SubmitSm(SOURCE, DESTINATION, b"", service_type="toolong"),
        SubmitSm(SOURCE, DESTINATION, b"", validity_period="0" * 17),
        SubmitSm(SOURCE, DESTINATION, b"", service_type="a\0"),
        SubmitSm(SOURCE, DESTINATION, b"", data_coding=-1),
        SubmitSm(SOURCE, DESTINATION, b"", tlvs=((0x10000, b""),)),
        SubmitSm(SOURCE, DESTINATION, b"", tlvs=((1, b"x" * 65_536),)),
    ],
    ids=lambda message: str(message)[:40],
)
def test_what_does_not_fit_its_field_is_refused_when_written(message):
    with pytest.raises(CodecError):
        codec.encode_submit(message, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"system_id": "x" * 65},
        {"system_type": "x" * 13},
        {"system_id": 5},
        {"system_id": "a\0b"},
        {"interface_version": 256},
        {"interface_version": "3.4"},
        {"password": "密码"},
    ],
)
def test_a_field_of_the_wrong_kind_or_size_is_refused(fields):
    with pytest.raises(CodecError, match=next(iter(fields))):
        codec.encode(Pdu(v.BIND_TRANSCEIVER, 1, fields=fields))


def test_every_command_of_the_specification_has_a_layout():
    named = {command for command in v.COMMAND_NAMES if command & 0xFFF not in (0x111, 0x112, 0x113)}
    assert set(LAYOUTS) == named
    for layout in LAYOUTS.values():
        assert layout.name == v.command_name(layout.command)
        assert layout.reference.startswith("§")


def test_names_of_what_nobody_defined_are_numbers():
    assert v.command_name(0x123456) == "0x00123456"
    assert v.status_name(0x0400) == "0x00000400"
    assert v.tlv_name(0x1411) == "0x1411"
    assert v.status_name(0x58) == "ESME_RTHROTTLED"
