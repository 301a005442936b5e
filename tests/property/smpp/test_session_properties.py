"""The session under every cut and every noise."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from smpp_strategies import damaged, submits

from smpp import codec
from smpp import vocabulary as v
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.events import Answered, Delivered, Ended, Malformed, TimedOut
from smpp.pdu import Pdu, SmeAddress, SubmitSm

MESSAGE = SubmitSm(SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675"), b"hello")


def bound_session(**config: object) -> EsmeSession:
    session = EsmeSession(EsmeConfig("tandem", "secret", **config))  # type: ignore[arg-type]
    session.connected(0.0)
    session.take_output()
    session.receive(codec.encode(Pdu(v.BIND_TRANSCEIVER | v.RESPONSE, 1)), 0.0)
    assert session.bound
    return session


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(submits, min_size=1, max_size=5), st.lists(st.integers(0, 5000), max_size=12))
def test_deliveries_are_the_same_however_the_stream_is_cut(messages, cuts):
    stream = b"".join(
        codec.encode_deliver(message, number) for number, message in enumerate(messages, 1)
    )
    whole = bound_session().receive(stream, 1.0)
    session = bound_session()
    pieces = [event for piece in in_pieces(stream, cuts) for event in session.receive(piece, 1.0)]
    assert pieces == whole
    assert [event.delivery.sequence for event in pieces] == list(range(1, len(messages) + 1))


@given(st.lists(st.binary(max_size=200) | damaged(), max_size=6), st.integers(1, 64))
def test_no_octets_raise_and_what_is_kept_stays_below_the_frame_limit(chunks, size):
    session = bound_session(max_pdu_bytes=1024)
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            events = session.receive(chunk[start : start + size], 1.0)
            assert all(event is events[-1] for event in events if isinstance(event, Ended))
    assert len(session._framing) <= 1024 + size


@given(st.permutations(range(12)), st.integers(0, 12))
def test_every_submit_ends_once_whatever_the_order_of_answers(order, answered):
    session = bound_session(window=12, response_timeout_s=10.0, enquire_interval_s=0)
    for token in range(12):
        session.submit(MESSAGE, token, float(token))
    stream = session.take_output()
    numbers = [
        codec.HEADER.unpack_from(stream, at)[3] for at in range(0, len(stream), len(stream) // 12)
    ]
    ended = []
    for token in order[:answered]:
        data = codec.encode_submit_resp(numbers[token], b"id%d" % token)
        [event] = session.receive(data, 5.0)
        assert isinstance(event, Answered)
        assert event.message_id == f"id{event.token}"
        ended.append(event.token)
        assert [type(one) for one in session.receive(data, 5.0)] == [Malformed]  # a second time
    for now in (12.0, 50.0):
        ended += [event.token for event in session.tick(now) if isinstance(event, TimedOut)]
    assert sorted(ended) == list(range(12))
    assert session.window_free == 12
    assert session.unanswered() == []


@given(st.integers(0x7FFFFFF0, 0x7FFFFFFF), st.integers(1, 40))
def test_sequence_numbers_wrap_to_one_and_are_never_used_twice_at_once(first, count):
    session = EsmeSession(EsmeConfig("tandem", "secret", window=100), first_sequence=first - 1)
    session.connected(0.0)
    number = codec.HEADER.unpack_from(session.take_output())[3]
    session.receive(codec.encode(Pdu(v.BIND_TRANSCEIVER | v.RESPONSE, number)), 0.0)
    used = set()
    for token in range(count):
        session.submit(MESSAGE, token, 0.0)
        number = codec.HEADER.unpack_from(session.take_output())[3]
        assert 1 <= number <= 0x7FFFFFFF
        used.add(number)
    assert len(used) == count


@given(submits)
def test_a_delivery_is_answered_with_its_own_number(message):
    session = bound_session()
    [event] = session.receive(codec.encode_deliver(message, 77), 1.0)
    assert isinstance(event, Delivered)
    assert session.answer(event.delivery)
    length, command, status, number = codec.HEADER.unpack_from(session.take_output())
    assert (length, command, status, number) == (17, v.DELIVER_SM_RESP, 0, 77)
