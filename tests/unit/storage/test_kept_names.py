"""Erasure knows every spelling of an id by which a receipt is matched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smpp.receipt import normal_forms
from storage.erasure import names_of

IDS = st.one_of(
    st.from_regex(r"0{0,30}[0-9]{1,39}", fullmatch=True),
    st.from_regex(r"0{0,8}[0-9a-fA-F]{1,32}", fullmatch=True),
    st.text("0123456789abcdefABCDEFxyzXYZ+-_.", min_size=1, max_size=65),
)


def folded(name: str) -> str:
    """As the statement compares."""
    return name.lower().lstrip("+-0")


@given(IDS)
def test_each_form_that_a_receipt_may_mean_leads_back_to_the_receipt(receipted: str) -> None:
    for submitted in normal_forms(receipted):
        assert folded(receipted) in {folded(name) for name in names_of(submitted)}, submitted
