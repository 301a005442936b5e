"""CPU microseconds per message of an ESME, ours beside aiosmpplib's and smpp34's. Target: 8 us.

Every client has a process of its own and sends to the same simulator, in
another; what is counted is the client's process from its bind to its last
answer. Run as ``python -m bench.micro.smpp_session``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Any

import uvloop

from smpp.esme import Bind, BindConfig
from smpp.esme_session import EsmeConfig
from smpp.pdu import DeliverSm, SmeAddress, SubmitSm
from smpp.receipt import parse_receipt

_WINDOW = 500
_TEXT = "Revenge of the Sith was clearly the best of the prequel trilogy."
_SOURCE = SmeAddress(1, 1, "15550001111")
_DESTINATION = SmeAddress(1, 1, "441632960675")


class _Clock:
    """CPU and wall time since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = process_time(), perf_counter()

    def report(self, messages: int) -> dict[str, float]:
        cpu, wall = process_time() - self._cpu, perf_counter() - self._wall
        return {"us": cpu / messages * 1e6, "per_second": messages / wall}


class _Pump:
    """Keeps the window of a bind full, answers and parses receipts."""

    def __init__(self, messages: int, *, receipts: bool) -> None:
        self._left = messages
        self._wait_for = messages * (2 if receipts else 1)
        self._registered = int(receipts)
        self.clock = _Clock()
        self.done = asyncio.Event()

    def bind_up(self, bind: Bind) -> None:
        self.clock = _Clock()
        self.window_opened(bind)

    def window_opened(self, bind: Bind) -> None:
        text = _TEXT.encode()
        for _ in range(min(bind.window_free, self._left)):
            self._left -= 1
            bind.submit(SubmitSm(_SOURCE, _DESTINATION, text, 0, 0, self._registered), self._left)

    def answered(self, *_: object) -> None:
        self._count()

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        assert parse_receipt(delivery) is not None
        bind.answer(delivery)
        self._count()

    def _count(self) -> None:
        self._wait_for -= 1
        if not self._wait_for:
            self.done.set()

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        assert not unanswered, reason

    def bind_refused(self, *_: Any) -> None:
        raise AssertionError

    timed_out = malformed = bind_refused


async def _ours(port: int, messages: int, *, receipts: bool = False) -> dict[str, float]:
    pump = _Pump(messages, receipts=receipts)
    session = EsmeConfig("tandem", "secret", window=_WINDOW)
    bind = Bind(BindConfig("bench", (("127.0.0.1", port),), session), pump)
    task = asyncio.create_task(bind.run())
    await pump.done.wait()
    result = pump.clock.report(messages)
    await bind.close()
    await task
    return result


async def _ours_with_receipts(port: int, messages: int) -> dict[str, float]:
    return await _ours(port, messages, receipts=True)


async def _smpp34(port: int, messages: int) -> dict[str, float]:
    import smpp34

    client = smpp34.Client(
        "127.0.0.1", port, "tandem", "secret", bind_type="TRX", window_size=_WINDOW
    )
    smsc = await client.connect()
    clock = _Clock()
    left = messages

    async def send() -> None:
        nonlocal left
        while left:
            left -= 1
            answer = await smsc.submit_sm(
                _DESTINATION.value,
                _TEXT.encode(),
                source_addr=_SOURCE.value,
                registered_delivery=0,
            )
            assert answer.is_success

    await asyncio.gather(*(send() for _ in range(_WINDOW)))
    return clock.report(messages)


async def _aiosmpplib(port: int, messages: int) -> dict[str, float]:
    from aiosmpplib import ESME, PhoneNumber
    from aiosmpplib import SubmitSm as Submit
    from aiosmpplib.broker import SimpleBroker
    from aiosmpplib.hook import AbstractHook
    from aiosmpplib.state import NPI, TON

    done = asyncio.Event()
    answers = 0

    class Hook(AbstractHook):  # type: ignore[misc, unused-ignore]
        async def sending(self, smpp_message: object, pdu: bytes, client_id: str) -> None:
            pass

        async def received(self, smpp_message: object, pdu: bytes, client_id: str) -> None:
            nonlocal answers
            if pdu[4:8] == b"\x80\0\0\x04":  # it may have lost the correlation: count octets
                answers += 1
                if answers == messages:
                    done.set()

        async def send_error(self, smpp_message: object, error: Exception, client_id: str) -> None:
            raise error

    broker = SimpleBroker(maxsize=messages + 1)
    for number in range(messages):
        await broker.enqueue(
            Submit(
                short_message=_TEXT,
                source=PhoneNumber(_SOURCE.value, TON.INTERNATIONAL, NPI.ISDN),
                destination=PhoneNumber(_DESTINATION.value, TON.INTERNATIONAL, NPI.ISDN),
                registered_delivery=0,
                log_id=str(number),
            )
        )
    esme = ESME(
        "127.0.0.1", port, "tandem", "secret",
        broker=broker, hook=Hook(), log_level=logging.CRITICAL,
    )  # fmt: skip
    clock = _Clock()
    task = asyncio.create_task(esme.start())
    await done.wait()
    result = clock.report(messages)
    task.cancel()
    return result


_CLIENTS: dict[str, tuple[Callable[[int, int], Awaitable[dict[str, float]]], int]] = {
    "ours: submit and answer": (_ours, 200_000),
    "ours: and receipt, parsed and answered": (_ours_with_receipts, 200_000),
    "smpp34 1.5: submit and answer": (_smpp34, 20_000),
    "aiosmpplib 0.7: submit and answer": (_aiosmpplib, 500),
}


def main() -> None:
    smsc = subprocess.Popen(
        [sys.executable, "-m", "smpp.smsc", "--port", "0", "--control-port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert smsc.stdout is not None
    try:
        port = smsc.stdout.readline().split()[1].rpartition(":")[2]
        print(f"{'client':44}{'CPU us/message':>15}{'messages/s':>12}")
        for name in _CLIENTS:
            out = subprocess.run(
                [sys.executable, "-m", "bench.micro.smpp_session", name, port],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            ).stdout
            result = json.loads(out)
            print(f"{name:44}{result['us']:15.2f}{result['per_second']:12,.0f}", flush=True)
    finally:
        smsc.terminate()
        smsc.wait()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        client, messages = _CLIENTS[sys.argv[1]]

        async def run() -> dict[str, float]:
            return await client(int(sys.argv[2]), messages)

        print(json.dumps(uvloop.run(run())), flush=True)
        os._exit(0)  # smpp34's extension may abort when the interpreter ends
    main()
