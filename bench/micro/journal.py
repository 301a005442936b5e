"""CPU microseconds of a message that the journal of PDUs takes: a submit_sm and its response.

What a session costs with its tap, less what it costs without; the writing to disk is in it. Few
messages in a read or write is a carrier that is slow, many is a gateway that is busy. Run as
``python -m bench.micro.journal``.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from time import process_time
from typing import Final

from gateway.observe.journal import Journal
from gateway.runtime.clock import SystemClock
from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from smpp.session import Tap

MESSAGES: Final = 64_000
FLUSH_EVERY: Final = 6_400  # messages: about a second's
ROUNDS: Final = 7
TEXT: Final = b"Revenge of the Sith was clearly the best of the prequel trilogy."
MESSAGE: Final = SubmitSm(SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675"), TEXT)


def bound() -> EsmeSession:
    session = EsmeSession(EsmeConfig("bench", "secret", window=1_000))
    session.connected(0.0)
    sequence = HEADER.unpack_from(session.take_output())[3]
    session.receive(codec.encode(Pdu(v.BIND_TRANSCEIVER | v.RESPONSE, sequence)), 0.0)
    return session


def cost_us(at_once: int, tap: Tap | None, journal: Journal) -> float:
    """CPU microseconds per message, `at_once` of them in each read and each write."""
    session = bound()
    session.tap = tap
    first = session.next_sequence() + 1
    began = process_time()
    for at in range(0, MESSAGES, at_once):
        for number in range(at, at + at_once):
            session.submit(MESSAGE, number, 0.0)
        session.take_output()
        answers = [
            codec.encode_submit_resp(first + number, b"%d" % number, 0)
            for number in range(at, at + at_once)
        ]
        session.receive(b"".join(answers), 0.0)
        if at % FLUSH_EVERY == 0:
            journal.flush()
    journal.flush()
    assert not session.in_flight
    return (process_time() - began) / MESSAGES * 1e6


def main() -> None:
    """Print the table."""
    print(f"{'messages in a read or write':32}{'without, us':>14}{'the journal, us':>18}")
    with tempfile.TemporaryDirectory(prefix="journal-") as folder:
        journal = Journal(Path(folder), SystemClock(), keep_s=3600.0, most_octets=10**9)
        tap = partial(journal.pdus, "bench/1")
        for at_once in (1, 2, 8, 64):
            bare, tapped = [], []
            for _ in range(ROUNDS):  # in turns: the machine may be shared
                bare.append(cost_us(at_once, None, journal))
                tapped.append(cost_us(at_once, tap, journal))
            added = min(tapped) - min(bare)
            print(f"{at_once:<32}{min(bare):>14.2f}{added:>18.2f}", flush=True)
        assert not journal.dropped


if __name__ == "__main__":
    main()
