"""Microseconds per PDU for the three hot PDUs and the receipt parser, beside aiosmpplib's.

Target: 2 us each. Run as ``python -m bench.micro.smpp_codec``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from aiosmpplib import DeliverSm as TheirDeliverSm
from aiosmpplib import PhoneNumber
from aiosmpplib import SubmitSm as TheirSubmitSm
from aiosmpplib import SubmitSmResp as TheirSubmitSmResp
from aiosmpplib.state import NPI, TON

from smpp import codec
from smpp.pdu import SmeAddress, SubmitSm
from smpp.receipt import normal_forms, parse_receipt

_ROUNDS = 5
_CALLS = 20_000

_SOURCE = SmeAddress(1, 1, "15550001111")
_DESTINATION = SmeAddress(1, 1, "441632960675")
_TEXT = b"Revenge of the Sith was clearly the best of the prequel trilogy."
_RECEIPT = (
    b"id:2f9a4c11 sub:001 dlvrd:001 submit date:2607011200 done date:2607011201 "
    b"stat:DELIVRD err:000 text:Revenge of the Sith "
)


def _microseconds(call: Callable[[], object], calls: int = _CALLS) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        start = perf_counter()
        for _ in range(calls):
            call()
        best = min(best, perf_counter() - start)
    return best / calls * 1e6


def _theirs(kind: type[TheirSubmitSm], text: str, esm_class: int) -> TheirSubmitSm:
    return kind(
        sequence_num=7,
        short_message=text,
        source=PhoneNumber(_SOURCE.value, TON.INTERNATIONAL, NPI.ISDN),
        destination=PhoneNumber(_DESTINATION.value, TON.INTERNATIONAL, NPI.ISDN),
        esm_class=esm_class,
        encoding="gsm0338",
    )


def _read_theirs(kind: type, data: bytes) -> object:
    return kind.from_pdu(data, kind.parse_header(data), "gsm0338")


def main() -> None:
    message = SubmitSm(_SOURCE, _DESTINATION, _TEXT)
    receipt = SubmitSm(_DESTINATION, _SOURCE, _RECEIPT, esm_class=4)
    submit_octets = codec.encode_submit(message, 7)
    deliver_octets = codec.encode_deliver(receipt, 8)
    response_octets = codec.encode_submit_resp(7, b"2f9a4c11")
    delivery = codec.decode_deliver(deliver_octets)

    def their_submit() -> bytes:
        octets: bytes = _theirs(TheirSubmitSm, _TEXT.decode(), 0).pdu()
        return octets

    def their_receipt() -> object:
        return _read_theirs(TheirDeliverSm, deliver_octets).parse_receipt()

    rows: list[tuple[str, Callable[[], object], Callable[[], object] | None]] = [
        ("submit_sm, build", lambda: codec.encode_submit(message, 7), their_submit),
        ("submit_sm, read", lambda: codec.decode_submit(submit_octets), None),
        (
            "submit_sm_resp, build",
            lambda: codec.encode_submit_resp(7, b"2f9a4c11"),
            lambda: TheirSubmitSmResp(7, message_id="2f9a4c11").pdu(),
        ),
        (
            "submit_sm_resp, read",
            lambda: codec.decode_submit_resp(response_octets),
            lambda: _read_theirs(TheirSubmitSmResp, response_octets),
        ),
        ("deliver_sm, build", lambda: codec.encode_deliver(receipt, 8), None),
        (
            "deliver_sm, read",
            lambda: codec.decode_deliver(deliver_octets),
            lambda: _read_theirs(TheirDeliverSm, deliver_octets),
        ),
        ("receipt, parse", lambda: parse_receipt(delivery), None),
        (
            "deliver_sm, read and parse",
            lambda: parse_receipt(codec.decode_deliver(deliver_octets)),
            their_receipt,
        ),
        ("id, all normal forms", lambda: normal_forms("2f9a4c11"), None),
        ("any PDU by its layout, read", lambda: codec.decode(submit_octets), None),
    ]
    print(f"{'microseconds':32}{'ours':>8}{'aiosmpplib':>12}")
    for name, ours, theirs in rows:
        other = f"{_microseconds(theirs, 2_000):12.2f}" if theirs is not None else f"{'':12}"
        print(f"{name:32}{_microseconds(ours):8.2f}{other}")


if __name__ == "__main__":
    main()
