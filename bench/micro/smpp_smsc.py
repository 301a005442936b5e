"""CPU microseconds that the simulator spends per submit_sm with its receipt. Target: 10 us.

The load comes from a process of its own, so that only the simulator is counted.
Run as ``python -m bench.micro.smpp_smsc``.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from time import perf_counter, process_time

import uvloop

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

_MESSAGES = 150_000
_WINDOW = 500
_MESSAGE = SubmitSm(
    SmeAddress(1, 1, "15550001111"),
    SmeAddress(1, 1, "441632960675"),
    b"Revenge of the Sith was clearly the best of the prequel trilogy.",
)


def load(port: int, messages: int, *, receipts: bool) -> None:
    """Send so many submits through a window, answer the receipts, return when all are in."""
    message = codec.encode_submit(_MESSAGE, 0)
    if not receipts:
        message = codec.encode_submit(
            SubmitSm(_MESSAGE.source, _MESSAGE.destination, b"", registered_delivery=0), 0
        )
    head, tail = message[:12], message[16:]
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        login: dict[str, int | str] = {"system_id": "tandem", "password": "secret"}
        peer.sendall(codec.encode(Pdu(v.BIND_TRANSCEIVER, 1, fields=dict(login))))
        peer.recv(1024)
        sent = answered = receipted = 0
        rest = b""
        while answered < messages or (receipts and receipted < messages):
            room = min(_WINDOW - (sent - answered), messages - sent)
            if room > 0:
                peer.sendall(
                    b"".join(
                        head + (sent + number + 2).to_bytes(4, "big") + tail
                        for number in range(room)
                    )
                )
                sent += room
            rest += peer.recv(262_144)
            at = 0
            answers = []
            while len(rest) - at >= 16:
                length, command, _, sequence = HEADER.unpack_from(rest, at)
                if at + length > len(rest):
                    break
                at += length
                if command == v.SUBMIT_SM_RESP:
                    answered += 1
                elif command == v.DELIVER_SM:
                    receipted += 1
                    answers.append(codec.encode_submit_resp(sequence, b"", 0, v.DELIVER_SM_RESP))
            rest = rest[at:]
            if answers:
                peer.sendall(b"".join(answers))


async def _measure(scenario: Scenario, *, receipts: bool) -> tuple[float, float]:
    smsc = Smsc(scenario, seed=1)
    await smsc.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.micro.smpp_smsc"),
        *(str(smsc.port), str(_MESSAGES), str(int(receipts))),
    )
    cpu, wall = process_time(), perf_counter()
    assert await process.wait() == 0
    cpu, wall = process_time() - cpu, perf_counter() - wall
    assert smsc.counters.submits == _MESSAGES
    await smsc.stop()
    return cpu / _MESSAGES * 1e6, _MESSAGES / wall


def main() -> None:
    nearly = CarrierScenario(
        rules=(ScenarioRule(prefix="44", receipt_jitter_s=0.1),),
        throttle_per_s=1e9,
        receipts="both",
    )
    runs = [
        ("answers only", Scenario(), False),
        ("answers and receipts", Scenario(), True),
        ("answers and receipts, rules, jitter, TLVs", Scenario((nearly,)), True),
    ]
    print(f"{'simulator':44}{'CPU us/submit':>14}{'submits/s':>11}")
    for name, scenario, receipts in runs:
        cost, rate = uvloop.run(_measure(scenario, receipts=receipts))
        print(f"{name:44}{cost:14.2f}{rate:11,.0f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        load(int(sys.argv[1]), int(sys.argv[2]), receipts=sys.argv[3] == "1")
    else:
        main()
