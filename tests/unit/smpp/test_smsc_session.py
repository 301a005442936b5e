"""The SMSC's side of a session, on a clock that is only a number."""

from __future__ import annotations

import pytest

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.events import (
    Answered,
    BindRequested,
    DeliveriesTaken,
    Ended,
    LateAnswer,
    Malformed,
    Requested,
    Responded,
    SubmitsReceived,
    TimedOut,
)
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from smpp.session import NotBound, WindowFull
from smpp.smsc_session import SmscConfig, SmscSession
from smpp.states import BindType, SessionState

MESSAGE = SubmitSm(SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675"), b"hello")
SUBMISSIONS = {v.SUBMIT_SM, v.SUBMIT_MULTI, v.DATA_SM, v.QUERY_SM, v.CANCEL_SM, v.REPLACE_SM}
BOUND_STATES = {
    BindType.TRANSMITTER: SessionState.BOUND_TX,
    BindType.RECEIVER: SessionState.BOUND_RX,
    BindType.TRANSCEIVER: SessionState.BOUND_TRX,
}


def bind(bind_type: BindType = BindType.TRANSCEIVER, sequence: int = 1) -> bytes:
    fields = {"system_id": "app", "password": "secret", "address_range": "^1555"}
    return codec.encode(Pdu(bind_type.value, sequence, fields=fields))


def session(bound: BindType | None = BindType.TRANSCEIVER, **config: object) -> SmscSession:
    made = SmscSession(SmscConfig(**config))  # type: ignore[arg-type]
    made.connected(0.0)
    if bound is not None:
        made.receive(bind(bound), 0.0)
        assert made.accept(0.0) == []
        made.take_output()
    return made


def header(command: int, sequence: int, status: int = 0) -> bytes:
    return HEADER.pack(16, command, status, sequence)


def taken(sequence: int, status: int = 0) -> bytes:
    return codec.encode_submit_resp(sequence, b"", status, v.DELIVER_SM_RESP)


def sent(one: SmscSession) -> list[tuple[int, int, int]]:
    """(command, status, sequence) of what it wants to write."""
    data = one.take_output()
    found = []
    while data:
        length, command, status, sequence = HEADER.unpack_from(data)
        found.append((command, status, sequence))
        data = data[length:]
    return found


# Binding -----------------------------------------------------------------------


@pytest.mark.parametrize("bind_type", list(BindType))
def test_a_bind_is_handed_to_the_owner_and_accepted(bind_type):
    one = session(bound=None, system_id="gateway")
    [asked] = one.receive(bind(bind_type, 7), 1.0)
    assert asked == BindRequested(bind_type, "app", "secret", "", 0, SmeAddress(0, 0, "^1555"))
    assert "secret" not in repr(asked)
    assert not one.has_output
    assert one.accept(2.0) == []
    answer = codec.decode(one.take_output())
    assert (answer.command, answer.status, answer.sequence) == (bind_type.value | v.RESPONSE, 0, 7)
    assert answer.text("system_id") == "gateway"
    assert answer.tlvs == ((v.SC_INTERFACE_VERSION, b"\x34"),)
    assert one.state is BOUND_STATES[bind_type]
    assert one.bind_type is bind_type
    assert one.may_send is (bind_type is not BindType.TRANSMITTER)


def test_a_refused_bind_is_told_why_and_ends_the_session():
    one = session(bound=None)
    one.receive(bind(sequence=7), 1.0)
    one.refuse(v.ESME_RINVPASWD)
    assert sent(one) == [(v.BIND_TRANSCEIVER | v.RESPONSE, v.ESME_RINVPASWD, 7)]
    assert one.closed
    assert one.deadline() == float("inf")
    assert one.receive(bind(), 2.0) == []


def test_who_binds_brings_its_own_bounds():
    one = session(bound=None)
    one.receive(bind(), 1.0)
    one.accept(2.0, SmscConfig(window=3, enquire_interval_s=5.0))
    assert one.window_free == 3
    assert one.deadline() == 7.0


def test_no_bind_in_time_ends_the_session_even_with_enquire_links():
    one = session(bound=None, session_init_timeout_s=5.0)
    assert one.receive(header(v.ENQUIRE_LINK, 3), 4.0) == []
    assert sent(one) == [(v.ENQUIRE_LINK_RESP, 0, 3)]
    assert one.deadline() == 5.0
    assert one.tick(4.9) == []
    assert one.tick(5.0) == [Ended("no bind in 5 s")]


def test_a_bind_that_its_owner_does_not_answer_in_time_ends_the_session():
    one = session(bound=None, session_init_timeout_s=5.0)
    one.receive(bind(), 1.0)
    assert one.tick(5.0) == [Ended("no bind in 5 s")]
    assert one.accept(6.0) == []
    one.refuse(v.ESME_RSYSERR)
    assert not one.has_output
    assert one.closed


def test_what_comes_behind_a_bind_waits_for_its_answer():
    one = session(bound=None)
    behind = codec.encode_submit(MESSAGE, 2) + header(v.ENQUIRE_LINK, 3)
    [asked] = one.receive(bind() + behind[:40], 1.0)
    assert isinstance(asked, BindRequested)
    assert one.receive(behind[40:], 1.0) == []
    assert not one.has_output
    assert one.accept(2.0) == [[(2, codec.encode_submit(MESSAGE, 2))]]
    assert sent(one) == [
        (v.BIND_TRANSCEIVER | v.RESPONSE, 0, 1),
        (v.ENQUIRE_LINK_RESP, 0, 3),
    ]


def test_a_broken_frame_behind_a_bind_is_told_after_its_answer():
    one = session(bound=None)
    [asked] = one.receive(bind() + HEADER.pack(3, v.SUBMIT_SM, 0, 9) + b"more", 1.0)
    assert isinstance(asked, BindRequested)
    malformed, ended = one.accept(2.0)
    assert isinstance(malformed, Malformed)
    assert isinstance(ended, Ended)
    assert sent(one)[-1] == (v.GENERIC_NACK, v.ESME_RINVCMDLEN, 9)


def test_only_so_much_waits_behind_a_bind():
    one = session(bound=None, max_pdu_bytes=1024)
    one.receive(bind(), 1.0)
    events = [event for _ in range(70) for event in one.receive(header(v.ENQUIRE_LINK, 2), 1.0)]
    assert events == [Ended("1040 octets behind a bind that is not answered")]


# What may come when --------------------------------------------------------------


REFUSALS = {
    None: dict.fromkeys(SUBMISSIONS, v.ESME_RINVBNDSTS),
    BindType.TRANSMITTER: dict.fromkeys(v.BINDS, v.ESME_RALYBND),
    BindType.RECEIVER: dict.fromkeys(SUBMISSIONS, v.ESME_RINVBNDSTS)
    | dict.fromkeys(v.BINDS, v.ESME_RALYBND),
    BindType.TRANSCEIVER: dict.fromkeys(v.BINDS, v.ESME_RALYBND),
}


@pytest.mark.parametrize("bind_type", list(REFUSALS))
def test_a_request_out_of_place_is_refused_with_its_own_response(bind_type):
    for command in SUBMISSIONS | v.BINDS:
        one = session(bound=bind_type)
        [event] = one.receive(codec.encode(Pdu(command, 9)), 1.0)
        status = REFUSALS[bind_type].get(command)
        assert isinstance(event, Malformed) is (status is not None)
        assert sent(one) == ([] if status is None else [(command | v.RESPONSE, status, 9)])
        assert not one.closed


@pytest.mark.parametrize("bind_type", [None, *BindType])
@pytest.mark.parametrize("command", [v.DELIVER_SM, v.ALERT_NOTIFICATION, v.OUTBIND, 0x00010203])
def test_what_no_smsc_takes_is_no_command_here(bind_type, command):
    one = session(bound=bind_type)
    [event] = one.receive(header(command, 9), 1.0)
    assert isinstance(event, Malformed)
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVCMDID, 9)]


@pytest.mark.parametrize("command", [v.QUERY_SM, v.DATA_SM, v.SUBMIT_MULTI])
def test_a_request_that_is_cut_short_is_nacked_and_the_session_goes_on(command):
    one = session()
    [event] = one.receive(HEADER.pack(18, command, 0, 9) + b"ab", 1.0)
    assert isinstance(event, Malformed)
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVCMDLEN, 9)]
    assert one.bound


@pytest.mark.parametrize("length", [0, 15, 65_537, 0xFFFFFFFF])
def test_a_broken_frame_ends_the_session_behind_what_came_before(length):
    one = session()
    stream = codec.encode_submit(MESSAGE, 2) + HEADER.pack(length, v.SUBMIT_SM, 0, 3)
    submits, malformed, ended = one.receive(stream, 1.0)
    assert [sequence for sequence, _ in submits] == [2]
    assert isinstance(malformed, Malformed)
    assert isinstance(ended, Ended)
    assert str(length) in ended.reason
    assert sent(one) == [(v.GENERIC_NACK, v.ESME_RINVCMDLEN, 3)]


# Requests ------------------------------------------------------------------------


def test_submits_come_as_octets_in_runs_and_in_their_order():
    one = session()
    first, second, third = (codec.encode_submit(MESSAGE, number) for number in (2, 3, 5))
    query = codec.encode(Pdu(v.QUERY_SM, 4, fields={"message_id": "x"}))
    run, asked, last = one.receive(first + second + query + third, 1.0)
    assert isinstance(run, SubmitsReceived)
    assert run == [(2, first), (3, second)]
    assert isinstance(asked, Requested)
    assert asked.request.text("message_id") == "x"
    assert last == [(5, third)]
    assert one.owed == 4
    assert one.answer(3, b"id3")
    assert one.answer(2, status=0x0B)
    assert one.respond(asked.request, message_id="x", message_state=2)
    assert not one.respond(asked.request)
    assert not one.answer(3, b"id3")
    assert one.owed == 1
    assert sent(one) == [
        (v.SUBMIT_SM_RESP, 0, 3),
        (v.SUBMIT_SM_RESP, 0x0B, 2),
        (v.QUERY_SM | v.RESPONSE, 0, 4),
    ]


def test_one_request_too_many_is_told_so_until_another_is_answered():
    one = session(most_owed=2)
    stream = b"".join(codec.encode_submit(MESSAGE, number) for number in (2, 3, 4))
    [run] = one.receive(stream + codec.encode(Pdu(v.QUERY_SM, 5)), 1.0)
    assert [sequence for sequence, _ in run] == [2, 3]
    assert sent(one) == [
        (v.SUBMIT_SM_RESP, v.ESME_RTHROTTLED, 4),
        (v.QUERY_SM | v.RESPONSE, v.ESME_RTHROTTLED, 5),
    ]
    assert one.answer(2, b"id")
    assert one.receive(codec.encode_submit(MESSAGE, 6), 1.0)


def test_an_owner_may_answer_as_it_likes_when_nothing_is_counted():
    one = session(most_owed=0)
    one.receive(codec.encode_submit(MESSAGE, 2), 1.0)
    assert one.owed == 0
    assert one.answer(2, b"id")
    assert one.answer(2, b"id")


def test_a_refused_request_is_answered_without_a_body():
    one = session()
    [asked] = one.receive(codec.encode(Pdu(v.QUERY_SM, 4)), 1.0)
    one.respond(asked.request, v.ESME_RQUERYFAIL)
    assert one.take_output() == header(v.QUERY_SM | v.RESPONSE, 4, v.ESME_RQUERYFAIL)


# Deliveries ------------------------------------------------------------------------


def test_deliveries_end_as_taken_refused_or_late():
    one = session(response_timeout_s=5.0, enquire_interval_s=0)
    for number, token in enumerate("abcde"):
        one.deliver(MESSAGE, token, float(number))
    assert codec.decode_deliver(one.output[0]).payload == b"hello"
    a, b, c, d, e = (number for _, _, number in sent(one))
    answers = taken(b) + taken(a) + taken(c, 0x64) + header(v.GENERIC_NACK, d, 0x08)
    assert one.receive(answers, 4.0) == [
        ["b", "a"],
        Answered("c", 0x64, "", ()),
        Answered("d", 0x08, "", ()),
    ]
    assert one.deadline() == 9.0
    assert one.tick(9.0) == [TimedOut("e")]
    assert one.receive(taken(e), 10.0) == [LateAnswer("e", 0, "", ())]
    [stray] = one.receive(taken(e), 10.0)
    assert isinstance(stray, Malformed)
    assert one.unmatched == 1


def test_a_run_of_deliveries_taken_is_one_event():
    one = session()
    for token in range(3):
        one.deliver_octets(b"body", token, 0.0)
    stream = b"".join(taken(number) for _, _, number in sent(one))
    [run] = one.receive(stream, 1.0)
    assert isinstance(run, DeliveriesTaken)
    assert run == [0, 1, 2]


def test_the_window_bounds_deliveries_and_what_is_unanswered_is_named():
    one = session(window=2)
    one.deliver(MESSAGE, "a", 0.0)
    one.request(Pdu(v.DATA_SM), "data", 0.0)
    with pytest.raises(WindowFull):
        one.deliver(MESSAGE, "b", 0.0)
    assert one.window_free == 0
    assert one.unanswered() == ["a"]


def test_a_data_sm_of_ours_is_answered_as_a_request():
    one = session()
    for _ in range(2):
        one.request(Pdu(v.DATA_SM), "data", 0.0)
    (_, _, first), (_, _, second) = sent(one)
    stream = codec.encode_submit_resp(first, b"x", 0, v.DATA_SM_RESP) + taken(second)
    answers = one.receive(stream, 1.0)
    assert [type(answer) for answer in answers] == [Responded, Responded]
    assert one.in_flight == 0


def test_a_transmitter_is_delivered_nothing():
    one = session(BindType.TRANSMITTER)
    assert one.window_free == 0
    with pytest.raises(NotBound):
        one.deliver(MESSAGE, "a", 0.0)


def test_numbers_wrap_and_are_not_used_twice():
    one = SmscSession(SmscConfig(), first_sequence=codec.MAX_SEQUENCE - 1)
    one.connected(0.0)
    one.receive(bind(), 0.0)
    one.accept(0.0)
    one.take_output()
    for token in "ab":
        one.deliver(MESSAGE, token, 0.0)
    assert [number for _, _, number in sent(one)] == [codec.MAX_SEQUENCE, 1]


# Life and end ------------------------------------------------------------------------


def test_silence_is_asked_about_and_then_ends_the_session():
    one = session(enquire_interval_s=30.0, response_timeout_s=10.0)
    assert one.tick(30.0) == []
    [(command, _, number)] = sent(one)
    assert command == v.ENQUIRE_LINK
    assert one.receive(header(v.ENQUIRE_LINK_RESP, number), 35.0) == []
    assert one.deadline() == 65.0
    one.tick(65.0)
    assert one.tick(75.0) == [Ended("no sign of life in 40.0 s")]


def test_the_peers_enquire_links_are_answered_and_counted():
    one = session()
    assert one.receive(header(v.ENQUIRE_LINK, 8), 1.0) == []
    assert sent(one) == [(v.ENQUIRE_LINK_RESP, 0, 8)]
    assert one.enquired == 1


def test_an_esme_without_messages_is_asked_to_go():
    one = session(inactivity_timeout_s=60.0, enquire_interval_s=0)
    one.receive(codec.encode_submit(MESSAGE, 2), 10.0)
    one.deliver(MESSAGE, "a", 12.0)
    one.receive(taken(1), 20.0)
    one.receive(header(v.ENQUIRE_LINK, 3), 30.0)
    assert one.deadline() == 72.0
    one.tick(72.0)
    assert sent(one)[-1][0] == v.UNBIND


@pytest.mark.parametrize("bind_type", list(BindType))
def test_while_unbinding_what_the_bind_carries_is_taken_and_nothing_more(bind_type):
    one = session(bind_type)
    one.unbind(1.0)
    [(_, _, number)] = sent(one)
    assert one.window_free == 0
    [event] = one.receive(codec.encode_submit(MESSAGE, 2), 2.0)
    assert isinstance(event, SubmitsReceived) is (bind_type is not BindType.RECEIVER)
    assert one.receive(header(v.UNBIND_RESP, number), 3.0) == [Ended("unbound")]


def test_an_unbind_without_an_answer_ends_in_time():
    one = session()
    one.unbind(1.0)
    assert one.tick(one.deadline()) == [Ended("unbound without the peer's answer")]


@pytest.mark.parametrize("bind_type", [None, *BindType])
def test_an_unbind_by_the_esme_is_answered_and_ends(bind_type):
    one = session(bind_type)
    assert one.receive(header(v.UNBIND, 5) + bind(), 1.0) == [Ended("unbound by the ESME")]
    assert sent(one) == [(v.UNBIND_RESP, 0, 5)]
    assert one.receive(bind(), 1.0) == []


def test_a_nack_of_nothing_is_counted_and_changes_nothing():
    one = session()
    [event] = one.receive(header(v.GENERIC_NACK, 99, 0x03), 1.0)
    assert isinstance(event, Malformed)
    assert one.unmatched == 1
    assert one.bound


def test_a_tap_sees_both_ways():
    seen: list[tuple[str, bytes]] = []
    one = session()
    one.tap = lambda direction, octets: seen.append((direction, octets))
    submit = codec.encode_submit(MESSAGE, 2)
    one.receive(submit, 1.0)
    one.answer(2, b"id")
    one.deliver(MESSAGE, "a", 1.0)
    assert seen == [("in", submit), ("out", one.take_output())]


def test_a_tap_sees_once_what_waited_for_the_bind():
    seen: list[bytes] = []
    one = SmscSession(SmscConfig())
    one.connected(0.0)
    one.tap = lambda direction, octets: seen.append(octets) if direction == "in" else None
    submit = codec.encode_submit(MESSAGE, 2)
    one.receive(bind() + submit, 1.0)
    one.receive(submit, 1.0)
    assert seen == [bind()]
    one.accept(1.0)
    assert seen == [bind(), submit + submit]


def test_a_stream_means_the_same_cut_at_every_octet():
    stream = (
        codec.encode_submit(MESSAGE, 2)
        + header(v.ENQUIRE_LINK, 3)
        + codec.encode(Pdu(v.QUERY_SM, 4, fields={"message_id": "x"}))
        + codec.encode_submit(MESSAGE, 5)
        + header(v.UNBIND, 6)
    )
    one = session()
    whole, answers = one.receive(stream, 1.0), one.take_output()
    for cut in range(len(stream) + 1):
        one = session()
        assert one.receive(stream[:cut], 1.0) + one.receive(stream[cut:], 1.0) == whole
        assert one.take_output() == answers
    one = session()
    assert [event for octet in stream for event in one.receive(bytes((octet,)), 1.0)] == whole


@pytest.mark.parametrize(
    "config",
    [
        {"window": 0},
        {"max_pdu_bytes": 10},
        {"response_timeout_s": 0},
        {"session_init_timeout_s": 0},
        {"most_owed": -1},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        SmscConfig(**config)
