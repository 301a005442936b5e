"""Ids and addresses of receipts: which submission one means, and what a carrier teaches."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from gateway.channels.smpp.receipt_matching import (
    LEARN_AFTER,
    Candidate,
    Spelling,
    SpellingChange,
    addresses_agree,
    choose,
)
from smpp.pdu import DeliverSm, SmeAddress
from smpp.receipt import IdForm


class Sent(NamedTuple):
    recipient: str = "+441632960675"
    sender_address: str | None = "+447700900101"


def receipt(source: str, destination: str) -> DeliverSm:
    return DeliverSm(SmeAddress(1, 1, source), SmeAddress(1, 1, destination), b"")


@pytest.mark.parametrize(
    ("source", "destination", "agree"),
    [
        ("441632960675", "447700900101", True),
        ("+441632960675", "+447700900101", True),
        ("447700900101", "441632960675", True),  # not turned round
        ("01632960675", "07700900101", True),  # national
        ("441632960676", "447700900101", False),
        ("441632960675", "447700900102", False),
        ("75", "447700900101", False),  # too short to say anything
        ("", "", False),
    ],
)
def test_addresses(source: str, destination: str, agree: bool) -> None:
    assert addresses_agree(receipt(source, destination), Sent()) is agree


def test_an_alphanumeric_sender_is_compared_without_case() -> None:
    sent = Sent(sender_address="Tandem")
    assert addresses_agree(receipt("441632960675", "TANDEM"), sent)
    assert not addresses_agree(receipt("441632960675", "TANDEN"), sent)


def test_raw_is_tried_first_and_then_the_forms_in_their_order() -> None:
    forms = [form for form, _ in Spelling().spellings("00ff")]
    assert forms[0] is IdForm.RAW
    assert forms == sorted(forms, key=list(IdForm).index)


def test_a_form_is_learnt_after_so_many_in_a_row_and_its_change_is_told() -> None:
    spelling = Spelling()
    for _ in range(LEARN_AFTER - 1):
        assert spelling.won(IdForm.HEX_TO_DECIMAL) is None
    assert spelling.learnt is None
    spelling.won(IdForm.HEX_TO_DECIMAL)
    assert spelling.learnt is IdForm.HEX_TO_DECIMAL
    assert [form for form, _ in spelling.spellings("1f")][1] is IdForm.HEX_TO_DECIMAL

    for _ in range(LEARN_AFTER - 1):
        assert spelling.won(IdForm.RAW) is None
    assert spelling.won(IdForm.RAW) == SpellingChange(IdForm.HEX_TO_DECIMAL, IdForm.RAW)
    assert spelling.learnt is IdForm.RAW


def test_now_and_then_another_form_changes_nothing() -> None:
    spelling = Spelling()
    for _ in range(LEARN_AFTER):
        spelling.won(IdForm.RAW)
    for _ in range(100):
        spelling.won(IdForm.FOLDED)
        spelling.won(IdForm.RAW)
    assert spelling.learnt is IdForm.RAW


def test_a_normal_form_counts_only_when_the_addresses_agree() -> None:
    spelling = Spelling()
    assert not spelling.counts(IdForm.HEX_TO_DECIMAL, agrees=False)
    assert spelling.counts(IdForm.HEX_TO_DECIMAL, agrees=True)
    assert spelling.counts(IdForm.RAW, agrees=False)


def test_a_raw_id_is_not_believed_against_what_is_known() -> None:
    spelling = Spelling(learnt=IdForm.HEX_TO_DECIMAL)
    assert not spelling.counts(IdForm.RAW, agrees=False)
    assert spelling.counts(IdForm.RAW, agrees=True)


def test_a_pinned_form_is_the_only_one_beside_raw() -> None:
    spelling = Spelling(pinned=IdForm.DECIMAL_TO_HEX)
    assert {form for form, _ in spelling.spellings("31")} == {IdForm.RAW, IdForm.DECIMAL_TO_HEX}


class Submitted(NamedTuple):
    recipient: str
    sender_address: str | None = "+447700900101"
    sent_at: float = 1.0
    receipts: int = 0


def chosen(delivery: DeliverSm, *messages: Submitted, all_known: bool = True) -> object:
    candidates = [Candidate(message, 0, IdForm.RAW) for message in messages]
    found = choose(candidates, delivery, Spelling(), all_known=all_known)
    return found.message if found is not None else None


def test_of_several_under_one_id_the_recipient_alone_may_tell() -> None:
    first, second = Submitted("+441632960001"), Submitted("+441632960002")
    replaced = receipt("441632960001", "88888")  # the network put a sender of its own
    assert chosen(replaced, first, second) is first
    assert chosen(replaced, first, second, all_known=False) is None
    assert chosen(receipt("441632960003", "88888"), first, second) is None
    twins = Submitted("+441632960001"), Submitted("+441632960001")
    assert chosen(replaced, *twins) is None


def test_one_alone_is_believed_against_its_addresses_once_no_other_can_have_the_id() -> None:
    alone = Submitted("+441632960001")
    odd = receipt("441632960009", "88888")
    assert chosen(odd, alone) is alone
    assert chosen(odd, alone, all_known=False) is None
