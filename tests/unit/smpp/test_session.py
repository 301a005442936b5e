"""The session's rules, on a clock that is only a number."""

from __future__ import annotations

import pytest

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.events import (
    Answered,
    BindRefused,
    Bound,
    Delivered,
    Ended,
    LateAnswer,
    Malformed,
    Notified,
    Responded,
    Settled,
    TimedOut,
)
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from smpp.session import NotBound, WindowFull
from smpp.states import ESME, MOVES, SMSC, BindType, Move, SessionState

MESSAGE = SubmitSm(SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675"), b"hello")


def response(command: int, sequence: int, status: int = 0, body: bytes = b"\0") -> bytes:
    return HEADER.pack(16 + len(body), command | v.RESPONSE, status, sequence) + body


def session(bound: bool = True, **config: object) -> EsmeSession:
    made = EsmeSession(EsmeConfig("tandem", "secret", **config))  # type: ignore[arg-type]
    made.connected(0.0)
    if bound:
        made.take_output()
        made.receive(response(made.config.bind_type.value, 1), 0.0)
    return made


def sent(one: EsmeSession) -> list[tuple[int, int, int]]:
    """(command, status, sequence) of what it wants to write."""
    data = one.take_output()
    found = []
    while data:
        length, command, status, sequence = HEADER.unpack_from(data)
        found.append((command, status, sequence))
        data = data[length:]
    return found


def test_the_first_octets_are_the_bind_and_nothing_before_it():
    one = session(bound=False, system_type="VMA", address_range="^1555")
    pdu = codec.decode(one.take_output())
    assert pdu.command == v.BIND_TRANSCEIVER
    assert pdu.text("system_id") == "tandem"
    assert pdu.text("password") == "secret"
    assert pdu.text("system_type") == "VMA"
    assert pdu.text("address_range") == "^1555"
    assert pdu.number("interface_version") == 0x34
    assert one.state is SessionState.BINDING


@pytest.mark.parametrize(
    ("bind_type", "state", "may_submit"),
    [
        (BindType.TRANSMITTER, SessionState.BOUND_TX, True),
        (BindType.RECEIVER, SessionState.BOUND_RX, False),
        (BindType.TRANSCEIVER, SessionState.BOUND_TRX, True),
    ],
)
def test_each_kind_of_bind_has_its_state(bind_type, state, may_submit):
    one = session(bound=False, bind_type=bind_type)
    body = b"smsc\0\x02\x10\0\x01\x34"
    assert one.receive(response(bind_type.value, 1, body=body), 0.0) == [Bound("smsc", 0x34)]
    assert one.state is state
    assert one.may_send is may_submit
    assert bool(one.window_free) is may_submit
    if not may_submit:
        with pytest.raises(NotBound):
            one.submit(MESSAGE, 1, 0.0)


@pytest.mark.parametrize("body", [b"", b"\0", b"smsc\0"])
def test_a_refusal_ends_the_session_with_or_without_a_body(body):
    one = session(bound=False)
    events = one.receive(response(v.BIND_TRANSCEIVER, 1, 0x0E, body), 0.0)
    assert events == [BindRefused(0x0E), Ended("bind refused: ESME_RINVPASWD")]
    assert one.receive(response(v.BIND_TRANSCEIVER, 1), 0.0) == []


def test_a_generic_nack_refuses_a_bind_even_with_status_zero():
    one = session(bound=False)
    events = one.receive(HEADER.pack(16, v.GENERIC_NACK, 0, 1), 0.0)
    assert events[0] == BindRefused(v.ESME_RUNKNOWNERR)


def test_a_bind_without_an_answer_ends_in_time():
    one = session(bound=False, bind_timeout_s=10.0)
    assert one.deadline() == 10.0
    assert one.tick(9.9) == []
    assert one.tick(10.0) == [Ended("no answer to the bind in 10 s")]


def test_an_smsc_may_say_outbind_and_ask_enquire_link_before_it_answers_the_bind():
    one = session(bound=False)
    one.take_output()
    outbind = codec.encode(Pdu(v.OUTBIND, 1, fields={"system_id": "smsc"}))
    [event] = one.receive(outbind + HEADER.pack(16, v.ENQUIRE_LINK, 0, 9), 0.0)
    assert isinstance(event, Notified)
    assert sent(one) == [(v.ENQUIRE_LINK_RESP, 0, 9)]
    assert one.receive(response(v.BIND_TRANSCEIVER, 1), 0.0) == [Bound("", 0)]


def test_answers_find_their_tokens_in_any_order():
    one = session()
    for token in "abc":
        one.submit(MESSAGE, token, 0.0)
    numbers = [number for _, _, number in sent(one)]
    stream = b"".join(
        response(v.SUBMIT_SM, number, status, body)
        for number, status, body in (
            (numbers[2], 0, b"id-c\0"),
            (numbers[0], 0x58, b""),
            (numbers[1], 0x0499, b"\0"),
        )
    )
    assert one.receive(stream, 1.0) == [
        Answered("c", 0, "id-c", ()),
        Answered("a", 0x58, "", ()),
        Answered("b", 0x0499, "", ()),
    ]
    assert one.window_free == 100


def test_a_message_that_has_no_octets_takes_no_place_in_the_window():
    one = session(window=1)
    with pytest.raises(codec.CodecError):
        one.submit(SubmitSm(MESSAGE.source, SmeAddress(1, 1, "1" * 30), b""), 1, 0.0)
    one.submit(MESSAGE, 2, 0.0)
    with pytest.raises(WindowFull):
        one.submit(MESSAGE, 3, 0.0)


def test_a_generic_nack_answers_the_submit_it_names_and_never_as_a_success():
    one = session()
    one.submit(MESSAGE, "token", 0.0)
    [(_, _, number)] = sent(one)
    events = one.receive(HEADER.pack(16, v.GENERIC_NACK, 0, number), 1.0)
    assert events == [Answered("token", v.ESME_RUNKNOWNERR, "", ())]


@pytest.mark.parametrize("command", [v.GENERIC_NACK, v.SUBMIT_SM_RESP, v.DATA_SM_RESP])
def test_an_answer_to_nothing_is_counted_and_changes_nothing(command):
    one = session()
    one.submit(MESSAGE, "token", 0.0)
    [event] = one.receive(HEADER.pack(16, command, 8, 999), 1.0)
    assert isinstance(event, Malformed)
    assert one.unmatched == 1
    assert one.in_flight == 1


def test_an_answer_of_another_command_does_not_count_as_the_answer():
    one = session()
    one.submit(MESSAGE, "token", 0.0)
    [(_, _, number)] = sent(one)
    [event] = one.receive(response(v.QUERY_SM, number), 1.0)
    assert isinstance(event, Malformed)
    assert one.receive(response(v.SUBMIT_SM, number), 1.0) == [Answered("token", 0, "", ())]


def test_a_late_answer_is_told_as_late_and_only_once():
    one = session(response_timeout_s=5.0)
    one.submit(MESSAGE, "token", 0.0)
    [(_, _, number)] = sent(one)
    assert one.deadline() == 5.0
    assert one.tick(5.0) == [TimedOut("token")]
    assert one.window_free == 100
    data = response(v.SUBMIT_SM, number, body=b"late\0")
    assert one.receive(data, 2400.0) == [LateAnswer("token", 0, "late", ())]
    assert isinstance(one.receive(data, 2400.0)[0], Malformed)


def test_only_so_many_late_answers_are_remembered():
    one = session(window=10, late_answers=3, response_timeout_s=5.0)
    for token in range(10):
        one.submit(MESSAGE, token, 0.0)
    numbers = [number for _, _, number in sent(one)]
    one.tick(5.0)
    late = [one.receive(response(v.SUBMIT_SM, number), 6.0)[0] for number in numbers]
    assert [event.token for event in late if isinstance(event, LateAnswer)] == [7, 8, 9]


def test_other_requests_share_the_window_and_come_back_whole():
    one = session(window=1)
    one.request(Pdu(v.QUERY_SM, fields={"message_id": "x"}), "query", 0.0)
    [(command, _, number)] = sent(one)
    assert command == v.QUERY_SM
    with pytest.raises(WindowFull):
        one.submit(MESSAGE, 1, 0.0)
    [event] = one.receive(response(v.QUERY_SM, number, body=b"x\0\0\x02\0"), 1.0)
    assert isinstance(event, Responded)
    assert event.response.number("message_state") == 2


def test_deliveries_are_answered_with_their_own_command_and_number():
    one = session()
    data_sm = codec.encode(Pdu(v.DATA_SM, 41, fields={"source_addr": "1"}))
    deliver_sm = codec.encode_deliver(MESSAGE, 42)
    first, second = one.receive(data_sm + deliver_sm, 1.0)
    assert isinstance(first, Delivered)
    assert isinstance(second, Delivered)
    assert one.owed == 2
    assert one.answer(second.delivery, 0x64)
    assert one.answer(first.delivery)
    assert not one.answer(first.delivery)
    assert sent(one) == [(v.DELIVER_SM_RESP, 0x64, 42), (v.DATA_SM_RESP, 0, 41)]
    assert one.owed == 0


def test_silence_is_asked_about_and_then_ends_the_session():
    one = session(enquire_interval_s=30.0, response_timeout_s=10.0)
    assert one.deadline() == 30.0
    assert one.tick(30.0) == []
    assert [command for command, _, _ in sent(one)] == [v.ENQUIRE_LINK]
    assert one.deadline() == 40.0
    assert one.tick(39.0) == []
    assert one.tick(40.0) == [Ended("no sign of life in 40.0 s")]


def test_any_pdu_is_a_sign_of_life():
    one = session(enquire_interval_s=30.0, response_timeout_s=10.0)
    one.tick(30.0)
    one.receive(codec.encode_deliver(MESSAGE, 1), 35.0)
    assert one.tick(41.0) == []
    assert one.deadline() == 65.0


def test_a_few_octets_are_no_sign_of_life():
    one = session(enquire_interval_s=30.0, response_timeout_s=10.0)
    one.tick(30.0)
    one.receive(b"\0\0\0\x10", 35.0)
    assert isinstance(one.tick(40.0)[0], Ended)


def test_no_enquire_link_is_sent_when_it_is_turned_off():
    one = session(enquire_interval_s=0)
    assert one.deadline() == float("inf")


def test_a_session_without_messages_unbinds_when_it_is_told_to():
    one = session(inactivity_timeout_s=60.0, enquire_interval_s=0)
    assert one.deadline() == 60.0
    one.tick(60.0)
    assert [command for command, _, _ in sent(one)] == [v.UNBIND]
    assert one.state is SessionState.UNBINDING


def test_unbind_waits_for_its_answer_but_not_for_ever():
    one = session()
    one.unbind(1.0)
    [(_, _, number)] = sent(one)
    assert one.window_free == 0
    assert one.receive(response(v.UNBIND, number, body=b""), 2.0) == [Ended("unbound")]
    other = session()
    other.unbind(1.0)
    assert other.tick(other.deadline()) == [Ended("unbound without the peer's answer")]


def test_answers_are_taken_while_unbinding():
    one = session()
    one.submit(MESSAGE, "token", 0.0)
    [(_, _, number)] = sent(one)
    one.unbind(1.0)
    assert one.receive(response(v.SUBMIT_SM, number), 1.5) == [Answered("token", 0, "", ())]


def test_an_unbind_by_the_peer_is_answered_and_ends():
    one = session()
    assert one.receive(HEADER.pack(16, v.UNBIND, 0, 5), 1.0) == [Ended("unbound by the SMSC")]
    assert sent(one) == [(v.UNBIND_RESP, 0, 5)]
    with pytest.raises(NotBound):
        one.submit(MESSAGE, 1, 1.0)


@pytest.mark.parametrize("length", [0, 2, 15, 65_537, 0xFFFFFFFF])
def test_a_broken_frame_ends_the_session_with_a_clear_reason(length):
    one = session()
    malformed, ended = one.receive(HEADER.pack(length, v.DELIVER_SM, 0, 3), 1.0)
    assert isinstance(malformed, Malformed)
    assert isinstance(ended, Ended)
    assert str(length) in ended.reason
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVCMDLEN, 3)]
    assert one.receive(b"anything", 1.0) == []


def test_a_frame_of_exactly_the_limit_is_taken():
    one = session(max_pdu_bytes=1024)
    pdu = codec.encode_deliver(
        SubmitSm(MESSAGE.source, MESSAGE.destination, b"", tlvs=((v.MESSAGE_PAYLOAD, b""),)), 1
    )
    payload = b"x" * (1024 - len(pdu))
    pdu = codec.encode_deliver(
        SubmitSm(MESSAGE.source, MESSAGE.destination, b"", tlvs=((v.MESSAGE_PAYLOAD, payload),)), 1
    )
    assert len(pdu) == 1024
    [event] = one.receive(pdu, 1.0)
    assert isinstance(event, Delivered)


def test_a_delivery_that_cannot_be_read_is_answered_and_the_session_goes_on():
    one = session()
    broken = HEADER.pack(20, v.DELIVER_SM, 0, 8) + b"\0\x01\x014"
    [malformed, delivered] = one.receive(broken + codec.encode_deliver(MESSAGE, 9), 1.0)
    assert isinstance(malformed, Malformed)
    assert malformed.data == broken
    assert isinstance(delivered, Delivered)
    assert sent(one) == [(v.DELIVER_SM_RESP, v.ESME_RINVCMDLEN, 8)]


def test_an_unknown_command_is_answered_with_a_nack():
    one = session()
    [event] = one.receive(HEADER.pack(20, 0x00010203, 0, 8) + b"what", 1.0)
    assert isinstance(event, Malformed)
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVCMDID, 8)]


def test_a_known_command_out_of_place_is_refused_for_the_state():
    one = session()
    [event] = one.receive(codec.encode_submit(MESSAGE, 8), 1.0)
    assert isinstance(event, Malformed)
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVBNDSTS, 8)]


def test_an_alert_notification_takes_no_answer():
    one = session()
    alert = codec.encode(Pdu(v.ALERT_NOTIFICATION, 3, fields={"source_addr": "447700900123"}))
    [event] = one.receive(alert, 1.0)
    assert isinstance(event, Notified)
    assert sent(one) == []


def test_what_is_unanswered_is_named_in_order_and_once():
    one = session()
    for token in "abc":
        one.submit(MESSAGE, token, 0.0)
    one.request(Pdu(v.QUERY_SM), "query", 0.0)
    assert one.unanswered() == ["a", "b", "c"]
    assert one.unanswered() == []


def test_a_tap_sees_what_is_written_and_read_at_once():
    one = session()
    seen: list[tuple[str, bytes]] = []
    one.tap = lambda direction, octets: seen.append((direction, octets))
    assert one.take_output() == b""
    one.submit(MESSAGE, 1, 0.0)
    one.submit(MESSAGE, 2, 0.0)
    assert seen == []
    written = one.take_output()
    assert seen == [("out", written)]
    first = HEADER.unpack_from(written)[3]
    answers = [response(v.SUBMIT_SM, first), response(v.SUBMIT_SM, first + 1)]
    one.receive(b"".join(answers), 1.0)
    assert seen[1:] == [("in", b"".join(answers))]


def test_a_tap_sees_whole_pdus_and_none_behind_the_end():
    one = session()
    seen: list[bytes] = []
    one.tap = lambda _, octets: seen.append(octets)
    alive, unbind = (HEADER.pack(16, command, 0, 8) for command in (v.ENQUIRE_LINK, v.UNBIND))
    one.receive(alive + unbind[:5], 1.0)
    one.receive(unbind[5:] + alive, 1.0)
    one.receive(alive, 1.0)
    assert seen == [alive, unbind]


@pytest.mark.parametrize(
    "config",
    [
        {"window": 0},
        {"max_pdu_bytes": 10},
        {"response_timeout_s": 0},
        {"bind_timeout_s": -1},
        {"system_type": "longer than twelve"},
        {"interface_version": 340},
        {"address_range": "a\0b"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        EsmeConfig("a", "b", **config)


def test_credentials_that_do_not_fit_a_bind_are_refused_when_configured():
    with pytest.raises(ValueError, match="password: over 64 characters"):
        EsmeConfig("a", "x" * 65)
    with pytest.raises(ValueError, match="system_id"):
        EsmeConfig("x" * 65, "b")


def test_the_tables_name_only_states_that_exist_and_close_from_everywhere():
    for role in (ESME, SMSC):
        assert set(role.receivable) == set(SessionState)
    assert {state for state, _ in MOVES} <= set(SessionState)
    for state in SessionState:
        assert MOVES[state, Move.ENDED] is SessionState.CLOSED


def delivery(sequence: int, text: bytes = b"YES", esm_class: int = 0) -> bytes:
    one = SubmitSm(SmeAddress(1, 1, "447700900123"), SmeAddress(1, 1, "15550001111"), text)
    one.esm_class = esm_class
    return codec.encode_deliver(one, sequence)


def answered(one: EsmeSession, *sequences: int, now: float = 1.0, **fields: int) -> None:
    """These come, and are answered."""
    for sequence in sequences:
        [event] = one.receive(delivery(sequence, **fields), now)
        assert isinstance(event, Delivered)
        assert one.answer(event.delivery)


def settled(events) -> list[int]:
    """The sequence numbers of what is settled by these events."""
    return [one.sequence for event in events if isinstance(event, Settled) for one in event[0]]


def test_an_answer_to_a_later_request_settles_the_deliveries_answered_before_it():
    one = session()
    answered(one, 7)
    one.submit(MESSAGE, "token", 1.0)
    answered(one, 8)
    [*_, (command, _, sequence), _] = sent(one)
    assert command == v.SUBMIT_SM
    assert settled(one.receive(response(v.SUBMIT_SM, sequence, body=b"1\0"), 2.0)) == [7]


def test_an_answer_to_an_earlier_request_settles_nothing():
    one = session()
    one.submit(MESSAGE, "token", 1.0)
    answered(one, 7)
    assert settled(one.receive(response(v.SUBMIT_SM, 2, body=b"1\0"), 2.0)) == []


def test_with_nothing_else_to_ask_an_enquire_link_asks_whether_answers_have_arrived():
    one = session(enquire_interval_s=30.0)
    answered(one, 7)
    sent(one)
    assert 1.0 < one.deadline() < 2.0
    one.tick(one.deadline())
    [(command, _, sequence)] = sent(one)
    assert command == v.ENQUIRE_LINK
    assert settled(one.receive(response(v.ENQUIRE_LINK, sequence, body=b""), 2.0)) == [7]
    assert one.deadline() > 30.0


def test_while_messages_keep_coming_it_is_asked_about_once_a_second():
    one = session(enquire_interval_s=30.0)
    asked = 0
    now = 1.0
    for sequence in range(1, 101):
        answered(one, sequence, now=now)
        if now >= one.deadline():
            one.tick(now)
        for command, _, number in sent(one):
            if command == v.ENQUIRE_LINK:
                asked += 1
                one.receive(response(v.ENQUIRE_LINK, number, body=b""), now)
        now += 0.1
    assert 9 <= asked <= 11


@pytest.mark.parametrize("nack", [True, False])
def test_a_nack_of_our_question_is_an_answer_and_silence_is_no_end(nack: bool):
    one = session(enquire_interval_s=30.0)
    answered(one, 7)
    sent(one)
    one.tick(2.0)
    [(_, _, sequence)] = sent(one)
    if nack:
        events = one.receive(HEADER.pack(16, v.GENERIC_NACK, v.ESME_RINVCMDID, sequence), 2.0)
        assert settled(events) == [7]
        assert not any(isinstance(event, Malformed) for event in events)
    else:
        one.receive(delivery(8), 2.5)
        assert one.tick(32.4) == []
        assert one.bound


@pytest.mark.parametrize(
    "pdu",
    [
        response(v.ENQUIRE_LINK, 99, body=b""),
        HEADER.pack(16, v.ENQUIRE_LINK, 0, 99),
        response(v.SUBMIT_SM, 99, body=b"1\0"),
    ],
)
def test_what_answers_nothing_of_ours_proves_nothing(pdu: bytes):
    one = session()
    answered(one, 7)
    assert settled(one.receive(pdu, 2.0)) == []


def test_an_orderly_end_by_either_side_settles_everything_answered():
    one = session()
    answered(one, 7, 8)
    assert settled(one.receive(HEADER.pack(16, v.UNBIND, 0, 9), 2.0)) == [7, 8]
    one = session()
    answered(one, 7, 8)
    one.unbind(2.0)
    assert settled(one.receive(response(v.UNBIND, 2, body=b""), 2.0)) == [7, 8]


def test_refused_deliveries_and_receipts_are_not_waited_for():
    one = session()
    [event] = one.receive(delivery(7), 1.0)
    one.answer(event.delivery, v.ESME_RX_T_APPN)
    answered(one, 8, esm_class=v.ESM_RECEIPT)
    sent(one)
    assert one.deadline() > 30.0
    assert settled(one.receive(HEADER.pack(16, v.UNBIND, 0, 9), 2.0)) == []


def test_proof_holds_when_sequence_numbers_wrap():
    one = EsmeSession(EsmeConfig("tandem", "secret"), first_sequence=codec.MAX_SEQUENCE - 1)
    one.connected(0.0)
    one.receive(response(v.BIND_TRANSCEIVER, codec.MAX_SEQUENCE), 0.0)
    answered(one, 7)
    sent(one)
    one.submit(MESSAGE, "token", 1.0)
    [(_, _, sequence)] = sent(one)
    assert sequence == 1
    assert settled(one.receive(response(v.SUBMIT_SM, 1, body=b"1\0"), 2.0)) == [7]


def test_a_delivery_with_a_cut_parameter_is_delivered_and_reported():
    one = session()
    data = delivery(7) + b"\x15\x01\0\x09ab"
    delivered, malformed = one.receive(len(data).to_bytes(4, "big") + data[4:], 1.0)
    assert delivered.delivery.payload == b"YES"
    assert "taken without it" in malformed.reason
    assert one.owed == 1
