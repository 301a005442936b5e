"""The codec under every input: round trips, both ways through, an independent peer, noise."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from aiosmpplib import NPI, TON, OptionalParam, PhoneNumber
from aiosmpplib import DeliverSm as TheirDeliverSm
from aiosmpplib import SubmitSm as TheirSubmitSm
from aiosmpplib import SubmitSmResp as TheirSubmitSmResp
from aiosmpplib.state import SmppCommandStatus
from fuzz_codec import main as fuzz
from fuzz_codec import target
from hypothesis import given
from hypothesis import strategies as st
from smpp_strategies import damaged, pdus, sequence, submits, text

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import CodecError
from smpp.pdu import DeliverSm, Pdu, SmeAddress, SubmitSm
from smpp.receipt import parse_receipt


@given(pdus())
def test_every_pdu_comes_back_as_it_was(pdu: Pdu):
    assert codec.decode(codec.encode(pdu)) == pdu


@given(submits, sequence)
def test_a_submit_comes_back_as_it_was(message: SubmitSm, number: int):
    assert codec.decode_submit(codec.encode_submit(message, number)) == message


@given(submits, sequence)
def test_the_hand_written_and_the_general_codec_agree(message: SubmitSm, number: int):
    by_hand = codec.encode_submit(message, number)
    pdu = codec.decode(by_hand)
    assert codec.encode(pdu) == by_hand
    delivery = codec.encode_deliver(message, number)
    assert codec.message_from(codec.decode(delivery)) == codec.decode_deliver(delivery)


@given(submits, sequence)
def test_a_delivery_knows_its_sequence(message: SubmitSm, number: int):
    delivery = codec.decode_deliver(codec.encode_deliver(message, number))
    assert delivery.sequence == number
    assert delivery.short_message == message.short_message
    assert delivery.tlvs == message.tlvs


@given(sequence, text(64), st.integers(0, 0xFFFFFFFF))
def test_a_response_comes_back_as_it_was(number: int, message_id: str, status: int):
    data = codec.encode_submit_resp(number, message_id.encode("latin-1"), status)
    assert codec.decode_submit_resp(data) == (message_id, ())
    assert codec.HEADER.unpack_from(data) == (len(data), v.SUBMIT_SM_RESP, status, number)
    assert codec.decode(data).text("message_id") == message_id


# Byte for byte against aiosmpplib, which nobody here wrote ----------------------

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
theirs_address = st.builds(
    SmeAddress,
    st.sampled_from([int(one) for one in TON]),
    st.sampled_from([int(one) for one in NPI]),
    printable,
)
ascii_text = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=200)
relative = st.none() | st.integers(1, 86_400 * 300).map(lambda s: timedelta(seconds=s))
numbers_tlv = st.lists(
    st.one_of(
        st.tuples(st.just(v.USER_MESSAGE_REFERENCE), st.integers(0, 0xFFFF)),
        st.tuples(st.just(v.SAR_TOTAL_SEGMENTS), st.integers(0, 255)),
        st.tuples(st.just(0x1400), st.text("abc", max_size=9)),
    ),
    max_size=3,
)


def _tlv_octets(tag: int, value: int | str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value.to_bytes(2 if tag == v.USER_MESSAGE_REFERENCE else 1, "big")


@given(
    theirs_address,
    theirs_address,
    ascii_text,
    sequence,
    printable.map(lambda value: value[:5]),
    relative,
    relative,
    st.sampled_from([0, 1, 3, 4, 0x20]),
    st.integers(0, 255),
    numbers_tlv,
)
@pytest.mark.parametrize("theirs", [TheirSubmitSm, TheirDeliverSm])
def test_submit_and_deliver_are_the_octets_of_aiosmpplib(
    theirs, source, destination, words, number, service_type, schedule, validity, esm, flags, tlvs
):
    their = theirs(
        sequence_num=number,
        short_message=words,
        source=PhoneNumber(source.value, TON(source.ton), NPI(source.npi)),
        destination=PhoneNumber(destination.value, TON(destination.ton), NPI(destination.npi)),
        service_type=service_type,
        esm_class=esm,
        protocol_id=flags,
        priority_flag=flags,
        schedule_delivery_time=schedule,
        validity_period=validity,
        registered_delivery=flags,
        replace_if_present_flag=flags,
        encoding="gsm0338",
        sm_default_msg_id=flags,
        optional_params=[OptionalParam(tag, value) for tag, value in tlvs],
    )
    ours = SubmitSm(
        source,
        destination,
        words.encode(),
        esm_class=esm,
        registered_delivery=flags,
        service_type=service_type,
        protocol_id=flags,
        priority=flags,
        schedule_delivery_time=TheirSubmitSm.datetime_to_smpp_time(schedule),
        validity_period=TheirSubmitSm.datetime_to_smpp_time(validity),
        replace_if_present=flags,
        sm_default_msg_id=flags,
        tlvs=tuple((tag, _tlv_octets(tag, value)) for tag, value in tlvs),
    )
    command = v.SUBMIT_SM if theirs is TheirSubmitSm else v.DELIVER_SM
    assert codec.encode_submit(ours, number, command) == their.pdu()


@given(sequence, printable, st.sampled_from(sorted(SmppCommandStatus)))
def test_a_response_is_the_octets_of_aiosmpplib(number, message_id, status):
    their = TheirSubmitSmResp(number, status, message_id=message_id).pdu()
    assert codec.encode_submit_resp(number, message_id.encode(), int(status)) == their


# Noise --------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_any_octets_give_a_value_or_a_codec_error(data: bytes):
    target(data)


@given(damaged())
def test_damaged_pdus_give_a_value_or_a_codec_error(data: bytes):
    target(data)


@given(
    st.builds(
        SubmitSm,
        st.builds(SmeAddress, st.integers(-5, 300), st.integers(-5, 300), st.text(max_size=25)),
        st.builds(SmeAddress, st.integers(0, 255), st.integers(0, 255), st.text(max_size=25)),
        st.binary(max_size=300),
        data_coding=st.integers(-5, 300),
        service_type=st.text(max_size=8),
        validity_period=st.text(max_size=20),
        tlvs=st.lists(st.tuples(st.integers(-1, 70_000), st.binary(max_size=3)), max_size=2).map(
            tuple
        ),
    ),
    st.integers(-1, 2**33),
)
def test_what_has_no_octets_is_refused_and_what_has_comes_back(message: SubmitSm, number: int):
    with suppress(CodecError):
        assert codec.decode_submit(codec.encode_submit(message, number)) == message


def test_ten_thousand_mutations_of_good_pdus_raise_nothing():
    fuzz(10_000, seed=0)


@given(submits)
def test_a_delivery_of_anything_parses_as_a_receipt_or_not(message: SubmitSm):
    delivery = DeliverSm(message.source, message.destination, message.short_message, esm_class=4)
    receipt = parse_receipt(delivery)
    assert receipt is None or (receipt.message_id and receipt.stat)
