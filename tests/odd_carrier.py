"""An SMSC that says what it is told to, octet by octet, and answers only what it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from testing import NUMBERS, until

from smpp import vocabulary as v
from smpp.codec import HEADER, encode, encode_deliver
from smpp.pdu import Pdu, SmeAddress, SubmitSm

HANDSET = "+447700900500"
FAST = {"first_s": 0.01, "most_s": 0.05}  # a carrier's `refusal_waits`: back at once


class OddCarrier:
    """Takes one bind at a time; `answers` are the statuses of the answers to its deliveries."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.silent: set[int] = set()
        """Commands that it leaves unanswered."""
        self.asked: Counter[int] = Counter()
        """Requests that came, by command."""
        self.submitted: list[bytes] = []
        self.message_id = ""
        """What the next submits are answered with; empty counts on."""
        self.bound = asyncio.Event()
        self.port = 0
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                size = int.from_bytes(await reader.readexactly(4), "big")
                rest = await reader.readexactly(size - 4)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            command, status, sequence = (
                int.from_bytes(rest[at : at + 4], "big") for at in (0, 4, 8)
            )
            if command & v.RESPONSE:
                if command == v.DELIVER_SM | v.RESPONSE:
                    self.answers.append(status)
                continue
            self.asked[command] += 1
            if command in self.silent:
                continue
            if command in v.BINDS:
                fields: dict[str, Any] = {"system_id": "odd"}
                self._writer = writer
                self.bound.set()
            elif command == v.SUBMIT_SM:
                self.submitted.append(size.to_bytes(4, "big") + rest)
                fields = {"message_id": self.message_id or f"{len(self.submitted):08x}"}
            else:
                fields = {}
            writer.write(encode(Pdu(command | v.RESPONSE, sequence, 0, fields)))

    def deliver(
        self,
        sequence: int,
        payload: bytes,
        *,
        source: str = HANDSET[1:],
        to: str = NUMBERS[0],
        ton: int = 1,
        to_ton: int = 1,
        npi: int = 1,
        tail: bytes = b"",
        **fields: Any,
    ) -> None:
        """A deliver_sm; `tail` are octets behind all that makes sense."""
        assert self._writer is not None
        message = SubmitSm(
            SmeAddress(ton, npi, source), SmeAddress(to_ton, npi, to.lstrip("+")), payload, **fields
        )
        data = encode_deliver(message, sequence) + tail
        self._writer.write(len(data).to_bytes(4, "big") + data[4:])

    async def delivered(self, payload: bytes, **fields: Any) -> int:
        """Deliver, and return the status that it is answered with."""
        before = len(self.answers)
        self._number += 1
        self.deliver(self._number, payload, **fields)
        await self.answered(before + 1)
        return self.answers[before]

    async def answered(self, count: int) -> None:
        await until(lambda: len(self.answers) >= count)

    async def drop(self) -> None:
        """End the connection without a word; return when the gateway is bound again."""
        assert self._writer is not None
        self.bound.clear()
        self._writer.transport.abort()
        await self.bound.wait()

    async def unbind(self) -> None:
        """End the session in order; return when the gateway is bound again."""
        assert self._writer is not None
        self.bound.clear()
        self._writer.write(HEADER.pack(16, v.UNBIND, 0, 4711))
        await self.bound.wait()

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()
