"""What a carrier's answers and receipts mean: provider results to public codes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from gateway import data
from smpp.receipt import Receipt

UNKNOWN = 30008


# A carrier's own error codes, as it spells them, and the public code of each.
ErrorCodes = Mapping[str, int]


class SubmitResult(NamedTuple):
    code: int
    retry: bool  # congestion: the same message may go later


class ReceiptResult(NamedTuple):
    """What a receipt says about its segment."""

    final: bool
    delivered: bool
    code: int


@cache
def _submit_results() -> dict[int, SubmitResult]:
    return {
        int(row["provider_code"], 16): SubmitResult(
            int(row["code"] or 0), row["final_status"].startswith("retry")
        )
        for row in data.rows("provider_error_map.csv")
        if row["provider"] == "smpp_submit_resp" and row["provider_code"].startswith("0x")
    }


@cache
def _receipt_results() -> dict[str, ReceiptResult]:
    return {
        row["provider_code"]: ReceiptResult(
            final=row["final_status"] != "sent",
            delivered=row["final_status"] == "delivered",
            code=int(row["code"] or 0),
        )
        for row in data.rows("provider_error_map.csv")
        if row["provider"] == "smpp_receipt_stat"
    }


def submit_result(status: int, own: ErrorCodes | None = None) -> SubmitResult:
    """The meaning of a submit_sm_resp that is not ESME_ROK. Unknown ones are final (30008).

    `own` are the carrier's own meanings: one that is there is final.
    """
    if own and (code := own.get(f"0x{status:08X}")) is not None:
        return SubmitResult(code, retry=False)
    return _submit_results().get(status, SubmitResult(UNKNOWN, retry=False))


def receipt_result(receipt: Receipt, own: ErrorCodes | None = None) -> ReceiptResult:
    """The meaning of a receipt, by its state (SMPP 3.4 §5.2.28); `ENROUTE` is not final.

    `own` are the carrier's own meanings of `err`, for messages that were not delivered.
    """
    name = receipt.state.name
    if name in ("ENROUTE", "SCHEDULED"):
        return ReceiptResult(final=False, delivered=False, code=0)
    stat = STAT_OF_STATE.get(name, "UNKNOWN")
    result = _receipt_results()[stat]
    if own and result.final and not result.delivered:
        return result._replace(code=own.get(receipt.error or "", result.code))
    return result


STAT_OF_STATE = {
    "DELIVERED": "DELIVRD",
    "EXPIRED": "EXPIRED",
    "DELETED": "DELETED",
    "UNDELIVERABLE": "UNDELIV",
    "ACCEPTED": "ACCEPTD",
    "UNKNOWN": "UNKNOWN",
    "REJECTED": "REJECTD",
}
