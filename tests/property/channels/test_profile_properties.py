"""Whatever the text and whatever the carrier's ways: it arrives as it was written."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.channels.smpp.profile import MOST_FRAMES, SHORT_MESSAGE_OCTETS, Profile
from gateway.content import national
from gateway.content.encoding import Content, Encoding, encode
from gateway.inbound.text import text_of
from smpp.alphabet import BASIC, ESCAPE, EXTENSION, alphabet_of, decode_text, unpack
from smpp.codec import (
    CodecError,
    decode_deliver,
    decode_submit,
    encode_deliver,
    encode_framed,
    encode_submit,
)
from smpp.concat import Reassembler, split_header
from smpp.pdu import FramedSubmit, SubmitSm, Tlvs

GSM = "".join(character for character in BASIC if character != chr(ESCAPE)) + "".join(
    EXTENSION.values()
)
TEXTS = st.one_of(
    st.text(st.sampled_from(GSM), min_size=1, max_size=700),
    st.text(st.characters(max_codepoint=0xFF, min_codepoint=0x20), min_size=1, max_size=400),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    st.text(st.sampled_from(GSM + "ığşİĞŞçÇ"), min_size=1, max_size=500),
)
PROFILES = st.builds(
    Profile,
    alphabet=st.sampled_from(("gsm7", "latin1", "ascii", "utf8")),
    concatenation=st.sampled_from(("udh8", "udh16", "sar", "payload")),
    receipts=st.sampled_from(("all", "first", "last")),
    leading_plus=st.booleans(),
    user_message_reference=st.booleans(),
) | st.builds(
    Profile,
    alphabet=st.sampled_from(("gsm7", "packed")),
    concatenation=st.sampled_from(("udh8", "udh16", "sar", "payload")),
    national_tables=st.sampled_from(((), (1,), (3, 1))),
)


@dataclass
class Outgoing:
    content: Content | None
    segments: int
    answered: int = 0
    recipient: str = "+441632960675"
    sender_address: str | None = "+447700900101"
    reference: int = 0xABCD
    valid_until: float = 0.0
    tlvs: Tlvs = ()
    media: tuple[str, ...] | None = None


def shown(submit: SubmitSm, ways: Profile) -> bytes | str:
    """What a phone reads of one part: text, or octets of UCS-2 that may be half a character."""
    _, octets, header = split_header(submit)
    if submit.data_coding == 8:
        return octets
    kinds = {}
    at = 0
    while at < len(header):
        kinds[header[at]] = header[at + 2 : at + 2 + header[at + 1]]
        at += 2 + header[at + 1]
    locking, single = (kinds.get(kind, b"\0")[0] for kind in (0x25, 0x24))
    if locking or single:
        if ways.alphabet == "packed":
            fill = -(len(header) + 1) * 8 % 7
            septets = unpack(octets, (len(octets) * 8 - fill) // 7, fill)
            return national.decode(septets, locking, single)
        return national.decode(octets, locking, single)
    fill = -(len(header) + 1) * 8 % 7 if header else 0
    return decode_text(submit.data_coding, octets, ways.alphabet, fill_bits=fill)


@given(TEXTS, PROFILES)
def test_a_text_arrives_as_it_was_written(text: str, ways: Profile) -> None:
    content = ways.fit(encode(text))
    if ways.alphabet == "packed":
        # SMPP has no count of septets: a receiver can't tell the last one from padding.
        assume(not any(part[-1:] in (b"\0", b"\r") for part in content.parts))
    assert ways.fit(content) == content, "a restart must find the same parts"
    assert content.segments <= 255
    outgoing = Outgoing(content, content.segments)
    covered = 0
    received: list[bytes | str] = []
    for submit, segments in ways.submits(outgoing, 0.0):
        submit = decode_submit(encode_submit(submit, 1))
        assert not covered & segments
        covered |= segments
        assert len(submit.short_message) <= SHORT_MESSAGE_OCTETS
        wanted = bool(segments & ways.receipt_parts(content.segments))
        assert bool(submit.registered_delivery & 3) is wanted
        received.append(shown(submit, ways))
    assert covered == (1 << content.segments) - 1
    if isinstance(received[0], bytes):
        octets = b"".join(part for part in received if isinstance(part, bytes))
        assert octets.decode("utf-16-be") == content.text
    else:
        joined = "".join(part for part in received if isinstance(part, str))
        if ways.alphabet == "packed" and joined != content.text:
            joined = joined.rstrip("\r")  # padding, of a national table's last part
        assert joined == content.text


SETTLED = st.builds(
    Profile,
    registered_delivery=st.integers(0, 31),
    service_type=st.sampled_from(("", "CMT")),
    propagate_validity=st.sampled_from(("none", "absolute")),
    tlvs=st.sampled_from(((), ((0x1400, b"1"),))),
    message_tlvs=st.just(frozenset({0x1401})),
    user_message_reference=st.booleans(),
    leading_plus=st.booleans(),
)


def octets_written(ways: Profile, outgoing: Outgoing) -> list[tuple[bytes, int]]:
    """Each PDU as it is written, with its segments."""
    return [
        (encode_framed(pdu, 7) if isinstance(pdu, FramedSubmit) else encode_submit(pdu, 7), mask)
        for pdu, mask in ways.written(outgoing, 0.0)
    ]


@given(
    st.lists(TEXTS, min_size=1, max_size=4),
    PROFILES | SETTLED,
    st.sampled_from(("+447700900101", "60777", "Tandem", "Caf\xe9")),
    st.sampled_from(((), ((0x1401, b"own"),))),
    st.integers(0, 1),
)
def test_what_is_written_by_a_frame_is_what_is_written_without(
    texts: list[str], ways: Profile, sender: str, tlvs: Tlvs, answered: int
) -> None:
    for number, text in enumerate(texts):
        content = ways.fit(encode(text))
        outgoing = Outgoing(
            content,
            content.segments,
            answered,
            recipient=f"+44163296067{number}",
            sender_address=sender,
            reference=number,
            valid_until=3_600.0,
            tlvs=tlvs,
        )
        plain = [(encode_submit(pdu, 7), mask) for pdu, mask in ways.submits(outgoing, 0.0)]
        framed = [
            (
                encode_framed(pdu, 7) if isinstance(pdu, FramedSubmit) else encode_submit(pdu, 7),
                mask,
            )
            for pdu, mask in ways.written(outgoing, 0.0)
        ]
        assert framed == plain


@pytest.mark.parametrize("recipient", ["+" + "1" * 21, "+44\x0016", "+\u0661"])
def test_a_recipient_that_no_pdu_takes_is_refused_by_a_frame_too(recipient: str) -> None:
    ways = Profile()
    octets_written(ways, Outgoing(encode("hi"), 1))
    with pytest.raises(CodecError):
        octets_written(ways, Outgoing(encode("hi"), 1, recipient=recipient))


def test_frames_are_bounded() -> None:
    ways = Profile()
    for number in range(MOST_FRAMES + 10):
        ways.written(Outgoing(encode("hi"), 1, sender_address=f"+4477{number:08d}"), 0.0)
    assert len(ways.frames) <= MOST_FRAMES


def codings_of_the_default_alphabet(alphabet: str) -> list[int]:
    """The values of data_coding that mean a carrier's default alphabet."""
    return [coding for coding in range(256) if alphabet_of(coding, alphabet) == alphabet]


@given(TEXTS, PROFILES, st.data())
def test_what_goes_out_comes_in_as_it_was_written(text: str, ways: Profile, data: st.DataObject):
    """Every form that the outbound side writes, through the reader of inbound messages."""
    content = ways.fit(encode(text))
    if ways.alphabet == "packed":
        # SMPP has no count of septets: a receiver can't tell the last one from padding.
        assume(not any(part[-1:] in (b"\0", b"\r") for part in content.parts))
    coding = data.draw(st.sampled_from(codings_of_the_default_alphabet(ways.alphabet)))
    submits = ways.submits(Outgoing(content, content.segments), 0.0)
    reassembler = Reassembler()
    wholes = []
    for submit, _ in data.draw(st.permutations(submits)):
        delivery = decode_deliver(encode_deliver(submit, 1))
        if delivery.data_coding == 0:
            delivery.data_coding = coding
        wholes += reassembler.add(delivery, 0.0)
    [whole] = wholes
    read = text_of(whole, ways.alphabet)
    if ways.alphabet == "packed" and read != content.text:
        read = read.rstrip("\r")  # padding, of a national table's last part
    # Every alphabet but GSM-7 has a NUL, and it is never text.
    expected = content.text
    if not (content.encoding is Encoding.GSM7 and ways.alphabet in ("gsm7", "packed")):
        expected = expected.replace("\0", "")
    assert read == expected
