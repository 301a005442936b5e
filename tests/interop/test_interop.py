"""Peers that nobody here wrote: their clients on our simulator, our bind on their server.

Each peer runs in a process of its own: it may block, and one is known to abort
when its interpreter ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from smpp.esme import Bind, BindConfig
from smpp.esme_session import EsmeConfig
from smpp.pdu import DeliverSm, SmeAddress, SubmitSm
from smpp.receipt import parse_receipt
from smpp.smsc import CarrierScenario, Scenario, Smsc

PEERS = Path(__file__).parent / "peers"
PATIENCE_S = 120.0
CLIENTS = ["smpp34_client", "aiosmpplib_client", "smpplib_client", "node_client"]
SERVERS = ["smpp34_server", "node_server"]


async def start(name: str, port: int) -> asyncio.subprocess.Process:
    """Run a peer; the node ones where `install.sh` put their package, else the test is skipped."""
    environment = dict(os.environ)
    program = [sys.executable, str(PEERS / f"{name}.py")]
    if name.startswith("node_"):
        modules = Path(os.environ.get("TANDEM_INTEROP_DIR", "")).resolve() / "node_modules"
        if not (modules / "smpp").is_dir():
            pytest.skip("node's smpp is not there: see tests/interop/install.sh")
        environment["NODE_PATH"] = str(modules)
        program = ["node", str(PEERS / f"{name}.js")]
    return await asyncio.create_subprocess_exec(
        *program,
        str(port),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )


@pytest.mark.parametrize("peer", CLIENTS)
async def test_their_client_sends_through_our_simulator(peer):
    smsc = Smsc(Scenario((CarrierScenario(ids="decimal"),)), seed=1)
    await smsc.start()
    smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hello gateway")
    try:
        process = await start(peer, smsc.port)
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
        assert out, err.decode()
        seen = json.loads(out)
        assert sorted(seen["ids"]) == sorted(entry.carrier_id for entry in smsc.ledger.entries)
        rows = [json.loads(line) for line in smsc.ledger.lines()]
        assert [row["text"] for row in rows] == [f"message {number}" for number in range(20)]
        assert {row["source"] for row in rows} == {"15550001111"}
        receipts = [text for kind, text in seen["deliveries"] if kind == 4]
        assert sorted(text.split()[0] for text in receipts) == sorted(
            f"id:{message_id}" for message_id in seen["ids"]
        )
        assert [text for kind, text in seen["deliveries"] if kind == 0] == ["hello gateway"]
        assert smsc.counters.malformed_received == 0
        assert smsc.counters.deliveries_answered == 21
    finally:
        await smsc.stop()


class Taker:
    """Counts what a bind tells it."""

    def __init__(self) -> None:
        self.answers: dict[object, tuple[int, str]] = {}
        self.deliveries: list[DeliverSm] = []
        self.problems: list[str] = []
        self.done = asyncio.Event()
        self.expected = 0

    def bind_up(self, bind: Bind) -> None:
        for token in range(20):
            destination = "441632960699" if token == 7 else "441632960675"
            bind.submit(
                SubmitSm(
                    SmeAddress(1, 1, "15550001111"),
                    SmeAddress(1, 1, destination),
                    b"message %d" % token,
                    tlvs=((0x1400, b"vendor"),),
                ),
                token,
            )

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        if unanswered:
            self.problems.append(reason)

    def bind_refused(self, bind, status, refusal, wait_s) -> None:
        self.problems.append(str(refusal))

    def answered(self, bind, token, status, message_id, tlvs) -> None:
        self.answers[token] = (status, message_id)
        self._look()

    def timed_out(self, bind, token) -> None:
        self.problems.append(f"timeout of {token}")

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        bind.answer(delivery)
        self.deliveries.append(delivery)
        self._look()

    def malformed(self, bind, data, reason) -> None:
        self.problems.append(reason)

    def window_opened(self, bind) -> None:
        pass

    def _look(self) -> None:
        if len(self.answers) == 20 and len(self.deliveries) == 20:
            self.done.set()


@pytest.mark.parametrize("peer", SERVERS)
async def test_our_bind_sends_through_their_server(peer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await start(peer, port)
    assert process.stdout is not None
    taker = Taker()
    bind = Bind(BindConfig("b", (("127.0.0.1", port),), EsmeConfig("me", "secret")), taker)
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await process.stdout.readline() == b"ready\n"
            task = asyncio.create_task(bind.run())
            await taker.done.wait()
            await bind.close()
            await task
            assert await process.stdout.readline() == b"unbound\n"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert taker.problems == []
    assert taker.answers.pop(7) == (0x58, "")
    assert {status for status, _ in taker.answers.values()} == {0}
    receipts = [parse_receipt(delivery) for delivery in taker.deliveries if delivery.is_receipt]
    assert {receipt.message_id for receipt in receipts if receipt} == {
        message_id for _, message_id in taker.answers.values()
    }
    [message] = [delivery for delivery in taker.deliveries if not delivery.is_receipt]
    assert message.payload.decode("utf-16-be") == "hello €"
    assert bind.smsc_system_id in ("smpp34", "node-smpp")
