"""Wireshark's dissector reads our traffic without a mark of malformation.

Uses tshark from the path, or from where `install.sh` put it (TANDEM_INTEROP_DIR);
skipped without either.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from struct import pack

import pytest
from testing import WAIT_S

from smpp import codec
from smpp import vocabulary as v
from smpp.concat import sar_tlvs, udh8, udh16
from smpp.describe import describe
from smpp.esme import Bind, BindConfig
from smpp.esme_session import EsmeConfig
from smpp.framing import pieces
from smpp.layouts import LAYOUTS
from smpp.pdu import DeliverSm, MultiDestination, Pdu, SmeAddress, SubmitSm
from smpp.smsc import CarrierScenario, Scenario, Smsc

UNPACKED = Path(os.environ.get("TANDEM_INTEROP_DIR", "")).resolve() / "tshark"
TSHARK = shutil.which("tshark") or str(UNPACKED / "usr/bin/tshark")
PORT = 2775

pytestmark = pytest.mark.skipif(
    not Path(TSHARK).exists(), reason="tshark is not there: see tests/interop/install.sh"
)


def capture(pdus: list[tuple[str, bytes]]) -> bytes:
    """A pcap file: each PDU as a TCP segment to or from the SMPP port."""
    made = [pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]  # 101: raw IP
    position = {"out": 1, "in": 1}
    for number, (direction, data) in enumerate(pdus):
        other = "in" if direction == "out" else "out"
        ports = (40_000, PORT) if direction == "out" else (PORT, 40_000)
        tcp = pack(
            "!HHIIBBHHH", *ports, position[direction], position[other], 0x50, 0x18, 8192, 0, 0
        )
        position[direction] += len(data)
        addresses = (b"\x7f\0\0\x01", b"\x7f\0\0\x02")
        if direction == "in":
            addresses = addresses[::-1]
        ip = pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), number, 0, 64, 6, 0, *addresses)
        packet = ip + tcp + data
        made.append(pack("<IIII", number, 0, len(packet), len(packet)) + packet)
    return b"".join(made)


async def dissect(pdus: list[tuple[str, bytes]], path: Path) -> list[list[str]]:
    """For each PDU: its command id as tshark sees it, and its marks of malformation."""
    path.write_bytes(capture(pdus))
    process = await asyncio.create_subprocess_exec(
        TSHARK,
        *("-r", str(path), "-d", f"tcp.port=={PORT},smpp", "-T", "fields"),
        *("-e", "smpp.command_id", "-e", "_ws.malformed", "-e", "_ws.expert.message"),
        env={**os.environ, "LD_LIBRARY_PATH": str(UNPACKED / "usr/lib/x86_64-linux-gnu")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return [line.split("\t") for line in out.decode().splitlines()]


class Traffic:
    """A handler that sends one message of each kind and waits for its receipt."""

    def __init__(self, messages: list[SubmitSm]) -> None:
        self.messages = messages
        self.deliveries = 0
        self.done = asyncio.Event()

    def bind_up(self, bind: Bind) -> None:
        for token, message in enumerate(self.messages):
            bind.submit(message, token)

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        bind.answer(delivery)
        self.deliveries += 1
        if self.deliveries == len(self.messages) + 1:
            self.done.set()

    def nothing(self, *_: object) -> None:
        pass

    bind_down = bind_refused = answered = timed_out = malformed = window_opened = nothing


async def test_live_traffic_is_dissected_without_a_malformed_mark(tmp_path):
    source, destination = SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "441632960675")
    messages = [
        SubmitSm(source, destination, b"hello"),
        SubmitSm(source, destination, "Ж€".encode("utf-16-be"), data_coding=8),
        SubmitSm(source, destination, udh8(7, 2, 1) + b"part", esm_class=0x40),
        SubmitSm(source, destination, udh16(7, 2, 2) + b"part", esm_class=0x40),
        SubmitSm(source, destination, b"part", tlvs=sar_tlvs(7, 2, 1)),
        SubmitSm(source, destination, b"", tlvs=((v.MESSAGE_PAYLOAD, b"long" * 200),)),
        SubmitSm(SmeAddress(5, 0, "ACME"), destination, b"x", validity_period="000000100000000R"),
        SubmitSm(source, destination, b"x", tlvs=((0x1400, b"entity"), (0x1401, b"template"))),
    ]
    seen: list[tuple[str, bytes]] = []
    smsc = Smsc(Scenario((CarrierScenario(receipts="both"),)), seed=1)
    await smsc.start()
    smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hello")
    traffic = Traffic(messages)
    session = EsmeConfig("tandem", "secret", enquire_interval_s=0.02)
    bind = Bind(BindConfig("b", (("127.0.0.1", smsc.port),), session), traffic)
    bind.on_pdu = lambda direction, octets: seen.extend(
        (direction, octets[start:end]) for start, end in pieces(octets)
    )
    task = asyncio.create_task(bind.run())
    try:
        async with asyncio.timeout(WAIT_S):
            await traffic.done.wait()
            await bind.request(Pdu(v.QUERY_SM, fields={"message_id": "x"}))
            await bind.request(Pdu(v.CANCEL_SM, fields={"message_id": "x"}))
            await bind.close()
            await task
    finally:
        await smsc.stop()
    await all_are_understood(seen, tmp_path / "live.pcap")


async def test_every_pdu_that_we_can_write_is_dissected(tmp_path):
    destinations = (MultiDestination(SmeAddress(1, 1, "1")), MultiDestination(None, "list"))
    pdus = []
    for number, command in enumerate(sorted(LAYOUTS), 1):
        pdu = Pdu(command, number)
        if command == v.SUBMIT_MULTI:
            pdu.fields["dest_address"] = destinations
        pdus.append(("in" if command & v.RESPONSE else "out", codec.encode(pdu)))
    await all_are_understood(pdus, tmp_path / "all.pcap")


async def all_are_understood(pdus: list[tuple[str, bytes]], path: Path) -> None:
    rows = await dissect(pdus, path)
    assert len(rows) == len(pdus)
    for (_, data), (command, malformed, message) in zip(pdus, rows, strict=True):
        assert int(command, 16) == int.from_bytes(data[4:8], "big"), describe(data)
        assert not malformed, describe(data)
        assert "alformed" not in message, (describe(data), message)
