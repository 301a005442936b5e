"""The bits of an inbound message's `handling`."""

from __future__ import annotations

import itertools

import pytest

from gateway.inbound.handling import (
    AUTO_REPLY,
    WEBHOOK,
    Keyword,
    done,
    handling,
    keyword_of,
    opt_out_type,
)


@pytest.mark.parametrize(
    ("webhook", "auto_reply", "keyword", "told"),
    list(itertools.product((False, True), (False, True), Keyword, (False, True))),
)
def test_what_is_put_in_comes_out(
    webhook: bool, auto_reply: bool, keyword: Keyword, told: bool
) -> None:
    bits = handling(webhook=webhook, auto_reply=auto_reply, keyword=keyword, told=told)
    assert bits < 1 << 15  # it is a smallint
    assert bool(bits & WEBHOOK) is webhook
    assert bool(bits & AUTO_REPLY) is auto_reply
    if bits:
        assert keyword_of(bits) is keyword
        assert opt_out_type(bits) == (keyword.name if told and keyword else None)


def test_nothing_owed_is_zero_even_for_a_keyword() -> None:
    assert handling(webhook=False, keyword=Keyword.STOP, told=True) == 0


def test_the_keyword_stays_until_the_last_work_is_done() -> None:
    bits = handling(webhook=True, auto_reply=True, keyword=Keyword.HELP, told=True)
    rest = done(bits, AUTO_REPLY)
    assert rest & WEBHOOK
    assert opt_out_type(rest) == "HELP"
    assert done(rest, WEBHOOK) == 0
