"""SMPP parameters in a send call."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form, parse_form
from gateway.api.messages.tlvs import MOST, tlv_parameters


def form(**values: str) -> Form:
    return parse_form(urlencode({"To": "+441632960675", "Body": "hello", **values}).encode())


def test_most_messages_have_none() -> None:
    assert tlv_parameters(form()) == []


def test_each_way_to_name_one() -> None:
    found = tlv_parameters(
        form(
            **{
                "SmppTlv.0x1500": "text",
                "SmppTlv.5377": "0x0a0B",
                "SmppTlv.dest_addr_subunit": "0x01",
                "DltEntityId": "1101",
                "DltTemplateId": "1107",
            }
        )
    )
    assert found == [
        ("SmppTlv.0x1500", 0x1500, b"text"),
        ("SmppTlv.5377", 0x1501, b"\x0a\x0b"),
        ("SmppTlv.dest_addr_subunit", 0x0005, b"\x01"),
        ("DltEntityId", 0x1400, b"1101"),
        ("DltTemplateId", 0x1401, b"1107"),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"SmppTlv.": "x"},
        {"SmppTlv.0x0": "x"},
        {"SmppTlv.0x10000": "x"},
        {"SmppTlv.-1": "x"},
        {"SmppTlv.0x1500": "x" * 256},
        {"SmppTlv.0x1500": "x", "SmppTlv.0x01500": "y"},
        {"DltTemplateId": "1" * 31},
        {"DltTemplateId": "١٢"},
        {f"SmppTlv.{tag}": "x" for tag in range(0x1500, 0x1500 + MOST + 1)},
    ],
)
def test_what_can_be_none_is_a_400(values: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        tlv_parameters(form(**values))
    assert (caught.value.code, caught.value.status) == (20001, 400)


def test_the_limits_themselves_are_taken() -> None:
    many = {f"SmppTlv.{tag}": "x" * 255 for tag in range(0x1500, 0x1500 + MOST)}
    assert len(tlv_parameters(form(**many))) == MOST
    assert len(tlv_parameters(form(DltTemplateId="1" * 30))) == 1


@given(st.text(max_size=20), st.text(max_size=300))
def test_whatever_is_written_is_a_parameter_or_a_400(name: str, value: str) -> None:
    given_form = Form({f"SmppTlv.{name}": [value]})
    try:
        found = tlv_parameters(given_form)
    except ApiError:
        return
    [(_, tag, octets)] = found
    assert 0 < tag <= 0xFFFF
    assert len(octets) <= 255
