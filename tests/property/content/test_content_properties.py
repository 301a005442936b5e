"""What holds for every text (docs/spec/messaging-services.md#smart-encoding,
docs/spec/messaging-services.md#encoding-and-segmentation)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.content import national
from gateway.content.encoding import Content, Encoding, body_units, encode
from gateway.content.smart import replacements, smarten
from smpp.alphabet import BASIC, ESCAPE, EXTENSION, decode_gsm7, is_gsm7

GSM = BASIC.replace("\x1b", "") + "".join(EXTENSION.values())
SMART = "".join(map(chr, replacements()))
WILD = "中жаé\u0301\u200d👩👍\U0001f3fd🇩🇪का\ufe0f"
TEXTS = st.one_of(
    st.text(GSM, max_size=700),
    st.text(GSM + SMART, max_size=200),
    st.text(GSM + SMART + WILD, max_size=300),
    st.text(WILD, max_size=300),
    st.text(max_size=100),
)


def read(content: Content) -> str:
    joined = b"".join(content.parts)
    if content.encoding is Encoding.GSM7:
        return decode_gsm7(joined)
    return joined.decode("utf-16-be")


@given(TEXTS, st.booleans())
def test_the_parts_together_are_the_text(text: str, smart: bool) -> None:
    content = encode(text, smart=smart)
    assert read(content) == content.text
    if not smart:
        assert content.text == text


@given(TEXTS)
def test_no_part_is_too_long_and_none_is_torn(text: str) -> None:
    content = encode(text)
    single, part = (160, 153) if content.encoding is Encoding.GSM7 else (140, 134)
    if len(content.parts) == 1:
        assert len(content.parts[0]) <= single
        return
    assert sum(map(len, content.parts)) > single
    for payload in content.parts:
        assert 0 < len(payload) <= part
        if content.encoding is Encoding.GSM7:
            assert payload[-1] != ESCAPE
        else:
            payload.decode("utf-16-be")


@given(TEXTS)
def test_gsm7_is_chosen_exactly_when_it_can_be(text: str) -> None:
    assert (encode(text).encoding is Encoding.GSM7) == is_gsm7(text)


@given(TEXTS)
def test_smart_encoding_is_all_or_nothing(text: str) -> None:
    result = smarten(text)
    naive = text.translate(replacements())
    if is_gsm7(text) or not is_gsm7(naive) or not naive:
        assert result == text
    else:
        assert result == naive


@given(TEXTS)
def test_smart_encoding_never_costs_the_text_a_segment_of_ucs2(text: str) -> None:
    smart = encode(text, smart=True)
    assert smart.encoding is Encoding.GSM7 or smart == encode(text)


@given(st.text("ğşıİçÇãõêúабвहिन्दी ०abc€[]", max_size=200))
def test_national_tables_give_back_the_text(text: str) -> None:
    content = encode(text, national_tables=tuple(national.LANGUAGES))
    if content.locking or content.single:
        elements = bool(content.locking) + bool(content.single)
        single, part = national.capacity(elements)
        assert content.segments < encode(text).segments
        assert len(content.parts[0]) <= (single if content.segments == 1 else part)
        for payload in content.parts:
            assert payload[-1] != ESCAPE
        joined = b"".join(content.parts)
        assert national.decode(joined, content.locking, content.single) == text


@given(TEXTS)
def test_the_length_is_that_of_utf16(text: str) -> None:
    assert body_units(text) == sum(2 if ord(one) > 0xFFFF else 1 for one in text)


@given(st.binary(max_size=200), st.integers(0, 14), st.integers(0, 14))
def test_reading_national_tables_never_raises(data: bytes, locking: int, single: int) -> None:
    national.decode(data, locking, single)
