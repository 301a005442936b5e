"""What the column `handling` says of an inbound message."""

from __future__ import annotations

import itertools

import pytest

from gateway.inbound.owed_webhook import WEBHOOK, handling, keyword_of, opt_out_type
from gateway.opt_out.keywords import Keyword


@pytest.mark.parametrize(("keyword", "told"), list(itertools.product(Keyword, (False, True))))
def test_what_is_put_in_comes_out(keyword: Keyword, told: bool) -> None:
    bits = handling(webhook=True, keyword=keyword, told=told)
    assert bits < 1 << 15  # it is a smallint
    assert bits & WEBHOOK
    assert keyword_of(bits) is keyword
    assert opt_out_type(bits) == (keyword.name if told and keyword else None)


def test_nothing_owed_is_zero_even_for_a_keyword() -> None:
    assert handling(webhook=False, keyword=Keyword.STOP, told=True) == 0
