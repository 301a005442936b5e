"""A fuzz target for everything that reads octets from a peer.

`python tests/property/smpp/fuzz_codec.py [COUNT] [SEED]` mutates good PDUs without end or COUNT
times; a coverage-guided fuzzer calls `target` instead (`atheris.Setup(sys.argv, target)`).
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import count
from random import Random

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import CodecError
from smpp.concat import split_header
from smpp.describe import describe
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.pdu import Pdu, SmeAddress, SubmitSm
from smpp.receipt import normal_forms, parse_receipt
from smpp.smsc_session import SmscConfig, SmscSession


def target(data: bytes) -> None:
    """Read `data` in every way there is: a value or CodecError each time, nothing else."""
    with suppress(CodecError):
        pdu = codec.decode(data)
        assert sum(len(value) for _, value in pdu.tlvs) <= len(data)
        codec.message_from(pdu)
    with suppress(CodecError):
        delivery = codec.decode_deliver(data)
        assert len(delivery.short_message) <= min(255, len(data))
        assert len(split_header(delivery).text) <= len(data)
        receipt = parse_receipt(delivery)
        if receipt is not None:
            assert receipt.message_id in normal_forms(receipt.message_id)
    with suppress(CodecError):
        codec.decode_submit(data)
    codec.decode_submit_resp(data)
    assert isinstance(describe(data), str)
    session = EsmeSession(EsmeConfig("tandem", "secret"))
    session.connected(0.0)
    session.receive(codec.encode(Pdu(v.BIND_TRANSCEIVER | v.RESPONSE, 1)), 0.0)
    session.receive(data, 0.0)
    session.tick(100.0)
    for before in (b"", codec.encode(Pdu(v.BIND_TRANSCEIVER, 1))):
        smsc = SmscSession(SmscConfig())
        smsc.connected(0.0)
        smsc.receive(before + data, 0.0)
        smsc.accept(0.0)
        smsc.tick(100.0)


def seeds() -> list[bytes]:
    """One good PDU of each interesting kind."""
    message = SubmitSm(
        SmeAddress(1, 1, "15550001111"),
        SmeAddress(1, 1, "441632960675"),
        b"id:0a sub:001 dlvrd:001 submit date:2601010101 done date:2601010101 stat:DELIVRD err:000",
        esm_class=4,
        tlvs=((v.RECEIPTED_MESSAGE_ID, b"0a\0"), (v.MESSAGE_STATE, b"\x02"), (0x1411, b"x")),
    )
    part = SubmitSm(
        message.source, message.destination, b"\x05\0\x03\x07\x02\x01hello", esm_class=0x40
    )
    return [
        codec.encode_deliver(message, 2),
        codec.encode_deliver(part, 3),
        codec.encode_submit_resp(2, b"0a1b"),
        *(codec.encode(Pdu(command, 4)) for command in sorted(codec.LAYOUTS)),
    ]


def mutated(random: Random, pool: list[bytes]) -> bytes:
    """One of the pool with a few octets changed, cut, doubled or added."""
    data = bytearray(random.choice(pool))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0 if at < len(data):
                data[at] = random.choice((0, 1, 0x7F, 0xFF, random.randrange(256)))
            case 1:
                del data[at : at + random.randint(1, 8)]
            case 2:
                data[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                data[at:at] = data[at : at + random.randint(1, 30)]
            case _ if at < len(data):
                data[at] ^= 1 << random.randrange(8)
    if random.random() < 0.8 and len(data) >= 4:
        data[0:4] = len(data).to_bytes(4, "big")
    return bytes(data)


def main(times: int | None, seed: int) -> None:
    random = Random(seed)
    pool = seeds()
    for done in count() if times is None else range(times):
        data = mutated(random, pool)
        try:
            target(data)
        except BaseException:
            print(f"seed {seed}, case {done}: {data.hex()}", file=sys.stderr)
            raise


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else None,
        int(sys.argv[2]) if len(sys.argv) > 2 else 0,
    )
