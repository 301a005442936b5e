"""From octets to a text: terminators, fill bits, tables that change, every alphabet."""

from __future__ import annotations

import pytest

from gateway.content import national
from gateway.inbound.text import Endings, ends_with_nul, text_of
from smpp import vocabulary as v
from smpp.alphabet import encode_gsm7, pack
from smpp.concat import Reassembler, Whole, udh8, udh16
from smpp.pdu import DeliverSm, SmeAddress


def delivery(payload: bytes, coding: int = 0, *, udhi: bool = False, tlvs=()) -> DeliverSm:
    esm_class = v.ESM_UDHI if udhi else 0
    return DeliverSm(
        SmeAddress(1, 1, "447700900123"),
        SmeAddress(1, 1, "15550001111"),
        payload,
        coding,
        esm_class,
        tlvs=tlvs,
    )


def whole(*deliveries: DeliverSm) -> Whole:
    reassembler = Reassembler()
    [ready] = [one for part in deliveries for one in reassembler.add(part, 0.0)]
    return ready


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (1, b"STOP\0", "STOP"),
        (3, b"STOP\0", "STOP"),
        (3, b"STOP\0\0\0", "STOP"),
        (3, b"\0STOP", "STOP"),
        (3, b"ST\0OP", "STOP"),
        (8, "STOP\0".encode("utf-16-be"), "STOP"),
        (8, "STOP".encode("utf-16-be") + b"\0", "STOP"),
        (8, "\0STOP".encode("utf-16-be"), "STOP"),
        (0x18, "STOP\0".encode("utf-16-be"), "STOP"),
        (6, "СТОП\0".encode("iso8859-5"), "СТОП"),
        (4, b"\0\x01ab\0cd\0", "\x01ab\ufffdcd"),
        (0, b"me\0", "me@"),
        (0xF0, b"me\0", "me@"),
    ],
)
def test_a_nul_is_never_text_where_it_is_no_letter(coding: int, octets: bytes, text: str) -> None:
    assert text_of(whole(delivery(octets, coding)), "gsm7") == text


def test_a_nul_in_message_payload_is_none_either() -> None:
    payload = delivery(b"", 3, tlvs=((v.MESSAGE_PAYLOAD, b"STOP\0"),))
    assert text_of(whole(payload), "gsm7") == "STOP"


@pytest.mark.parametrize("alphabet", ["latin1", "ascii", "utf8"])
def test_a_default_alphabet_without_that_letter_has_no_nul(alphabet: str) -> None:
    assert text_of(whole(delivery(b"STOP\0")), alphabet) == "STOP"


def test_parts_may_each_end_with_a_nul() -> None:
    def parts(coding: int, *texts: bytes) -> Whole:
        return whole(
            *(
                delivery(udh8(7, len(texts), number) + text, coding, udhi=True)
                for number, text in enumerate(texts, start=1)
            )
        )

    assert text_of(parts(3, b"one \0", b"two\0"), "gsm7") == "one two"
    one, two = "one ".encode("utf-16-be"), "two".encode("utf-16-be")
    assert text_of(parts(8, one + b"\0\0", two + b"\0\0"), "gsm7") == "one two"
    assert text_of(parts(8, one + b"\0", two + b"\0"), "gsm7") == "one two"
    assert text_of(parts(8, one[:3], one[3:] + two), "gsm7") == "one two"
    assert text_of(parts(0, b"one \0", b"two\0"), "gsm7", terminated=True) == "one two"
    assert text_of(parts(0, b"a\0b \0", b"\0\0"), "gsm7", terminated=True) == "a@b @"


def test_only_one_last_nul_of_gsm7_goes_and_only_where_all_texts_end_so() -> None:
    at = whole(delivery(b"me\0\0"))
    assert text_of(at, "gsm7", terminated=True) == "me@"
    assert ends_with_nul(at, "gsm7") is True
    assert ends_with_nul(at, "latin1") is None
    assert ends_with_nul(whole(delivery(b"")), "gsm7") is None
    endings = Endings()
    learnt = [endings.learnt(1, f"+4478{n % 3}", True) for n in range(6)]
    assert learnt == [False] * 4 + [True] * 2
    assert not endings.learnt(2, "+44780", True)
    assert not endings.learnt(1, "+44780", False)
    assert not endings.learnt(1, "+44780", True)


def test_one_handset_teaches_nothing_of_the_others_texts() -> None:
    endings = Endings()
    assert not any(endings.learnt(1, f"+4478{n % 2}", True) for n in range(20))
    assert endings.learnt(1, "+44782", True)


@pytest.mark.parametrize("header", [udh8, udh16])
@pytest.mark.parametrize("coding", [0, 0x10, 0xF1, 0xC0])
def test_packed_parts_begin_on_a_septet_border_behind_their_header(header, coding: int) -> None:
    parts = []
    for number, text in ((1, "First part, "), (2, "second part.")):
        head = header(9, 2, number)
        fill = -8 * len(head) % 7
        parts.append(delivery(head + pack(encode_gsm7(text), fill), coding, udhi=True))
    assert text_of(whole(*parts), "packed") == "First part, second part."


@pytest.mark.parametrize("alphabet", ["gsm7", "packed"])
@pytest.mark.parametrize("coding", [0, 0x10, 0xF0])
def test_each_part_is_read_in_its_own_tables(alphabet: str, coding: int) -> None:
    turkish = national.encode("ığşİ", (1,))
    assert turkish is not None
    parts = []
    for number, octets, tables in (
        (1, encode_gsm7("plain: "), b""),
        (2, turkish.parts[0], bytes((0x24, 1, turkish.single)) if turkish.single else b""),
        (3, encode_gsm7(", and plain"), b""),
    ):
        if number == 2 and turkish.locking:
            tables += bytes((0x25, 1, turkish.locking))
        elements = udh8(9, 3, number)[1:] + tables
        head = bytes((len(elements),)) + elements
        if alphabet == "packed":
            octets = pack(octets, -8 * len(head) % 7)
        parts.append(delivery(head + octets, coding, udhi=True))
    assert text_of(whole(*parts), alphabet) == "plain: ığşİ, and plain"


@pytest.mark.parametrize("coding", [0, 1, 2, 4, 0xF0, 0xF4])
def test_utf8_is_an_alphabet(coding: int) -> None:
    assert text_of(whole(delivery("Grüße €".encode(), coding)), "utf8") == "Grüße €"
    assert text_of(whole(delivery("Grüße".encode("latin-1"), 3)), "utf8") == "Grüße"
    assert text_of(whole(delivery("Grüße €".encode("utf-16-be"), 8)), "utf8") == "Grüße €"


def test_a_character_of_utf8_may_be_cut_in_two() -> None:
    octets = "Grüße €".encode()
    for cut in range(1, len(octets)):
        parts = (octets[:cut], octets[cut:])
        message = whole(
            *(
                delivery(udh8(9, 2, number) + part, udhi=True)
                for number, part in enumerate(parts, start=1)
            )
        )
        assert text_of(message, "utf8") == "Grüße €"


def test_what_is_no_utf8_is_shown_as_far_as_it_can_be() -> None:
    assert text_of(whole(delivery(b"caf\xe9!")), "utf8") == "caf\ufffd!"
