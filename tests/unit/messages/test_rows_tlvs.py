"""A message's own SMPP parameters, as a column keeps them."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.messages.message import IdSource, Message
from gateway.messages.rows import insert_row
from smpp.codec import decode_tlvs
from smpp.pdu import Tlvs
from storage.messages import COLUMNS

TLVS = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=255)), max_size=16).map(tuple)
next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).randbytes)


def column(tlvs: Tlvs) -> bytes | None:
    row = insert_row(Message(next_id(), 1, "+441632960675", "hello", tlvs=tlvs))
    stored: bytes | None = row[COLUMNS.index("tlvs")]
    return stored


@given(TLVS)
def test_what_is_stored_is_what_is_read(tlvs: Tlvs) -> None:
    assert decode_tlvs(column(tlvs) or b"", 0) == tlvs


def test_none_is_null() -> None:
    assert column(()) is None
