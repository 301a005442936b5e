"""Accept, commit, submit, response, receipt, write-behind; no rule anywhere.

What is here cannot be left out of a durable gateway: one COPY with its commit before the answers,
one PDU each way, one batched UPDATE for what moved. What is not here is what the gateway is held
against: the directory, the selector, the pacer, blocks, recovery, and the `submissions` table.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from bench.floor.callbacks import Callbacks
from bench.floor.message import Message, update_columns
from bench.floor.rows import Rows
from gateway.messages.message import Status
from smpp.alphabet import encode_gsm7
from smpp.codec import submit_frame
from smpp.esme import Bind, RefusalClass
from smpp.pdu import DeliverSm, FramedSubmit, SmeAddress, SubmitFrame, SubmitSm, Tlvs
from smpp.receipt import parse_receipt
from storage import messages as message_rows
from storage.database import Connection

BATCH: Final = 500
WRITE_BATCH: Final = 2_000

Unit = tuple[Sequence[Message], Callable[[], object]]


class Pipeline:
    """The whole of it, between the HTTP connections and one bind."""

    def __init__(
        self, accepting: Connection, writing: Connection, rows: Rows, callbacks: Callbacks
    ) -> None:
        self._accepting = accepting
        self._rows = rows
        self._writing = writing
        self._callbacks = callbacks
        self._units: deque[Unit] = deque()
        self._to_submit: deque[Message] = deque()
        self._by_carrier_id: dict[str, Message] = {}
        self._marked: dict[Message, None] = {}
        self._deliveries: list[DeliverSm] = []
        self._accept_due, self._write_due = asyncio.Event(), asyncio.Event()
        self._sequence = 0
        self.bind: Bind | None = None
        callbacks.acknowledged = self._mark

    # Accept -----------------------------------------------------------------------------

    def accept(self, messages: Sequence[Message], done: Callable[[], object]) -> None:
        self._units.append((messages, done))
        self._accept_due.set()

    async def run_accept(self) -> None:
        while True:
            await self._accept_due.wait()
            self._accept_due.clear()
            while self._units:
                units: list[Unit] = []
                batch: list[Message] = []
                while self._units and len(batch) < BATCH:
                    unit = self._units.popleft()
                    units.append(unit)
                    batch += unit[0]
                await self._rows.insert(self._accepting, batch)
                for _, done in units:
                    done()
                self._to_submit.extend(batch)
                self._submit()

    # Submit -----------------------------------------------------------------------------

    def _submit(self) -> None:
        bind, queue = self.bind, self._to_submit
        assert bind is not None
        for _ in range(min(bind.window_free, len(queue))):
            message = queue.popleft()
            frame = frame_of(message.sender, message.callback is not None)
            text = encode_gsm7(message.body)
            bind.submit(FramedSubmit(frame, message.recipient.lstrip(b"+"), text, b""), message)

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        assert isinstance(token, Message)
        assert status == 0
        token.status, token.sent_at = Status.SENT, time.time()
        if token.callback:
            self._by_carrier_id[message_id] = token
        self._mark(token)

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        receipt = parse_receipt(delivery)
        assert receipt is not None
        message = self._by_carrier_id.pop(receipt.message_id)
        message.status, message.done_at = Status.DELIVERED, time.time()
        message.delivered = receipt.done_date
        self._mark(message)
        self._deliveries.append(delivery)

    # Write-behind -----------------------------------------------------------------------

    def _mark(self, message: Message) -> None:
        self._marked[message] = None
        self._write_due.set()

    async def run_write(self) -> None:
        assert self.bind is not None
        while True:
            await self._write_due.wait()
            self._write_due.clear()
            while self._marked:
                batch = list(self._marked)[:WRITE_BATCH]
                for message in batch:
                    del self._marked[message]
                deliveries: list[DeliverSm] = []
                if not self._marked:  # else some of their messages are still to be written
                    deliveries, self._deliveries = self._deliveries, []
                columns = update_columns(batch)
                await message_rows.update(self._writing, columns)
                for message, status in zip(batch, columns[1], strict=True):
                    message.committed = status
                    if message.callback:
                        self._callbacks.owe(message)
                for delivery in deliveries:
                    self.bind.answer(delivery)

    # The rest of a bind's handler -------------------------------------------------------

    def bind_up(self, bind: Bind) -> None:
        print("bound", flush=True)

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        assert not unanswered, "the floor recovers from nothing"

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        raise RuntimeError(f"the bind was refused with {status:#x}")

    def timed_out(self, bind: Bind, token: object) -> None:
        raise RuntimeError("no answer to a submit")

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        raise RuntimeError(reason)

    def window_opened(self, bind: Bind) -> None:
        self._submit()


@lru_cache(maxsize=16)
def frame_of(sender: bytes, receipt: bool) -> SubmitFrame:
    """What all messages of a sender have in common, with a receipt or without."""
    source = SmeAddress(1, 1, sender.decode().lstrip("+"))
    sample = SubmitSm(source, SmeAddress(1, 1, ""), b"", registered_delivery=int(receipt))
    return submit_frame(sample)
