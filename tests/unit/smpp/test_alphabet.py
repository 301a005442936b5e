"""The alphabets of short messages (3GPP TS 23.038, SMPP 3.4 §5.2.19)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smpp.alphabet import (
    BASIC,
    ESCAPE,
    EXTENSION,
    AlphabetError,
    alphabet_of,
    decode_gsm7,
    decode_text,
    encode_gsm7,
    is_gsm7,
    pack,
    unpack,
)

GSM_TEXT = st.text(alphabet=BASIC.replace("\x1b", "") + "".join(EXTENSION.values()))


def test_every_basic_character_is_its_septet() -> None:
    for septet, character in enumerate(BASIC):
        if septet != ESCAPE:
            assert encode_gsm7(character) == bytes([septet])
            assert decode_gsm7(bytes([septet])) == character


def test_every_extension_character_is_escape_and_septet() -> None:
    for septet, character in EXTENSION.items():
        assert encode_gsm7(character) == bytes([ESCAPE, septet])
        assert decode_gsm7(bytes([ESCAPE, septet])) == character


def test_the_tables_have_128_and_10_characters() -> None:
    assert len(BASIC) == len(set(BASIC)) == 128
    assert len(EXTENSION) == 10


@pytest.mark.parametrize(
    "text", ["\0", "\x1b", "ç", "`", "á", "中", "😱", "a\u0301", "\x80", "\ufffe"]
)
def test_what_gsm7_has_not_is_refused(text: str) -> None:
    assert not is_gsm7(text)
    with pytest.raises(AlphabetError):
        encode_gsm7(text)


@pytest.mark.parametrize("text", ["", "@", "@€@", "Hello @ [world] {1} ~|^\\\f", "Ç", "\r\n"])
def test_gsm7_text_survives_the_round_trip(text: str) -> None:
    assert is_gsm7(text)
    assert decode_gsm7(encode_gsm7(text)) == text


@given(GSM_TEXT)
def test_any_gsm7_text_survives_encoding_and_packing(text: str) -> None:
    septets = encode_gsm7(text)
    assert decode_gsm7(septets) == text
    for fill_bits in range(7):
        packed = pack(septets, fill_bits)
        assert len(packed) == (len(septets) * 7 + fill_bits + 7) // 8
        assert unpack(packed, len(septets), fill_bits) == septets


@given(st.text())
def test_a_text_is_gsm7_exactly_when_it_encodes(text: str) -> None:
    allowed = (set(BASIC) - {"\x1b"}) | set(EXTENSION.values())
    assert is_gsm7(text) == (set(text) <= allowed)


@given(st.integers(0, 255), st.binary(), st.sampled_from(["gsm7", "packed", "latin1", "ascii"]))
def test_decoding_never_raises(data_coding: int, data: bytes, default: str) -> None:
    decode_gsm7(data)
    decode_text(data_coding, data, default)


def test_packing_follows_the_standards_example() -> None:
    assert pack(b"hellohello").hex() == "e8329bfd4697d9ec37"
    assert unpack(bytes.fromhex("e8329bfd4697d9ec37"), 10) == b"hellohello"


def test_one_fill_bit_aligns_septets_after_a_six_octet_header() -> None:
    assert pack(b"a", 1) == bytes([0x61 << 1])
    assert unpack(pack(b"abc", 1), 3, 1) == b"abc"


def test_unpacking_gives_what_there_is_when_the_octets_are_short() -> None:
    assert unpack(b"", 5) == b""
    assert len(unpack(b"\xff\xff", 160)) == 2


def test_an_unknown_extension_shows_the_basic_character() -> None:
    assert decode_gsm7(b"\x1bA") == "A"


def test_a_double_or_trailing_escape_shows_a_space() -> None:
    assert decode_gsm7(b"a\x1b\x1bb") == "a b"
    assert decode_gsm7(b"a\x1b") == "a "


def test_octets_with_the_high_bit_are_read_as_latin1() -> None:
    assert decode_gsm7(b"caf\xe9") == "café"


@pytest.mark.parametrize(
    ("default", "data", "text"),
    [
        ("gsm7", b"\x00\x11\x01", "@_£"),
        ("latin1", "@_£".encode("latin-1"), "@_£"),
        ("ascii", b"@_$", "@_$"),
        ("packed", pack(b"\x11hello"), "_hello"),
    ],
)
def test_data_coding_zero_means_what_the_carrier_says(default: str, data: bytes, text: str) -> None:
    assert decode_text(0, data, default) == text


@pytest.mark.parametrize("text", ["1234567", "12345678", "123456", "seven78\r"])
def test_packed_text_of_any_length_is_read_without_padding(text: str) -> None:
    septets = encode_gsm7(text)
    if len(septets) % 8 == 7:  # seven spare bits would be read as `@`
        septets += b"\r"
    assert decode_text(0, pack(septets), "packed") == text.rstrip("\r")


@pytest.mark.parametrize(
    ("data_coding", "alphabet"),
    [
        (0x00, "gsm7"),
        (0x01, "ascii"),
        (0x02, "octets"),
        (0x03, "latin-1"),
        (0x04, "octets"),
        (0x08, "ucs2"),
        (0x10, "gsm7"),  # flash
        (0x14, "octets"),
        (0x18, "ucs2"),  # flash
        (0x48, "ucs2"),
        (0xC0, "gsm7"),
        (0xD8, "gsm7"),
        (0xE0, "ucs2"),
        (0xF0, "gsm7"),
        (0xF1, "gsm7"),
        (0xF5, "octets"),
        (0xFF, "octets"),
    ],
)
def test_coding_groups_name_their_alphabet(data_coding: int, alphabet: str) -> None:
    assert alphabet_of(data_coding) == alphabet


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("héé".encode("utf-16-be"), "héé"),
        (b"\xfe\xff" + "hi".encode("utf-16-be"), "hi"),
        (b"\xff\xfe" + "hi".encode("utf-16-le"), "hi"),
        ("hi".encode("utf-16-be") + b"\x00", "hi"),
        ("hi".encode("utf-16-be") + b"\xd8", "hi"),
        ("😱".encode("utf-16-be"), "😱"),
        ("😱".encode("utf-16-be")[:2], "\ufffd"),
        (b"", ""),
    ],
)
def test_ucs2_is_read_with_marks_odd_octets_and_torn_pairs(data: bytes, text: str) -> None:
    assert decode_text(0x08, data) == text


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_latin1_survives_the_round_trip(text: str) -> None:
    assert decode_text(3, text.encode("latin-1")) == text
