"""A message's own SMPP parameters, as a column keeps them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatch.rows import tlvs_column, tlvs_of_column
from smpp.pdu import Tlvs

TLVS = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=255)), max_size=16).map(tuple)


@given(TLVS)
def test_what_is_stored_is_what_is_read(tlvs: Tlvs) -> None:
    assert tlvs_of_column(tlvs_column(tlvs)) == tlvs


def test_none_is_null() -> None:
    assert tlvs_column(()) is None
    assert tlvs_of_column(None) == ()
