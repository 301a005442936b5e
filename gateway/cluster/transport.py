"""How the workers of one gateway speak with each other: a Unix socket each, frames, no clock.

A frame is its length, a number, a kind and a payload. A question gets one reply under its number;
what a loop turn brings for one worker leaves in one write. Between workers of one machine a link
only breaks when its other end dies: what was asked of it then has no answer that anybody knows,
and what comes after waits a while for the one that takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, cast

from gateway.cluster.worker_slot import WorkerSlot

log = logging.getLogger(__name__)

PROTOCOL: Final = 1  # rises with every change of what a frame says
HEAD: Final = struct.Struct(">BIIB")  # protocol, octets of the payload, number, kind
RETRY_S: Final = 0.05
WAIT_S: Final = 6.0  # for a worker to be followed by another
BOUND: Final = 20_000  # questions to one worker without their replies; beyond it nobody asks it


class FrameKind(IntEnum):
    """What a frame is about, and who answers it (`Peers.on`)."""

    REPLY = 0
    FAILED = 10  # instead of a reply: the question could not be answered
    # api/forwarded.py
    SEND = 1  # a message to be created
    REQUEST = 2  # an HTTP request to be answered
    CANCEL = 5
    REPLAY = 6
    # pipeline/forwarded_deliveries.py
    DELIVER = 3  # what a carrier delivered for a number
    LOST = 11  # a connection to a carrier is over
    # backlog/handover.py
    TAKE_UP = 4  # rows that are another's
    REFRESH = 7  # the configuration changed
    # monitoring/all_workers.py
    CARRIERS = 8  # how the binds are
    METRICS = 9
    STUCK = 12  # what could go and does not


class PeerFailure(Enum):
    """Why there is no reply."""

    AWAY = "nobody is there, or has too much to do: nothing was asked of it"
    UNKNOWN = "it failed or died before it answered: nobody knows what it did"


class Unanswered(Exception):
    """There is no reply, and why."""

    def __init__(self, failure: PeerFailure) -> None:
        super().__init__(failure.value)
        self.failure = failure


# To be called once; None says that the question failed.
SendReply = Callable[[bytes | None], None]
OnReply = Callable[[bytes | PeerFailure], None]
FrameHandler = Callable[[bytes, SendReply], None]


class _Frames(asyncio.Protocol, ABC):
    """One connection, as frames."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at, size = 0, len(buffer)
        while size - at >= HEAD.size:
            protocol, length, number, kind = HEAD.unpack_from(buffer, at)
            if protocol != PROTOCOL:
                log.error("a worker of another version speaks protocol %d", protocol)
                buffer.clear()
                if self.transport is not None:
                    self.transport.close()
                return
            end = at + HEAD.size + length
            if end > size:
                break
            payload = bytes(buffer[at + HEAD.size : end])
            at = end
            self.frame(number, kind, payload)
        del buffer[:at]

    @abstractmethod
    def frame(self, number: int, kind: int, payload: bytes) -> None:
        """A frame has come."""

    def write(self, number: int, kind: int, payload: bytes) -> None:
        """Send one, with whatever else this loop turn brings."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(HEAD.pack(PROTOCOL, len(payload), number, kind))
        self._out.append(payload)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(out))


class _Serving(_Frames):
    """A link that another worker opened: it asks, we answer."""

    def __init__(self, handlers: Mapping[FrameKind, FrameHandler], all_: set[_Serving]) -> None:
        super().__init__()
        self._handlers = handlers
        self._all = all_
        all_.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)

    def frame(self, number: int, kind: int, payload: bytes) -> None:
        def reply(answer: bytes | None) -> None:
            self.write(
                number, FrameKind.FAILED if answer is None else FrameKind.REPLY, answer or b""
            )

        try:
            self._handlers[FrameKind(kind)](payload, reply)
        except Exception:
            log.exception("a question of another worker")
            reply(None)


class _Asking(_Frames):
    """A link that we opened."""

    def __init__(self, bound: int) -> None:
        super().__init__()
        self._bound = bound
        self._number = 0
        self._open: dict[int, OnReply] = {}
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        waiting, self._open = self._open, {}
        for answered in waiting.values():
            answered(PeerFailure.UNKNOWN)

    def frame(self, number: int, kind: int, payload: bytes) -> None:
        self._open.pop(number)(payload if kind == FrameKind.REPLY else PeerFailure.UNKNOWN)

    @property
    def full(self) -> bool:
        return len(self._open) >= self._bound

    def ask(self, kind: FrameKind, payload: bytes, answered: OnReply) -> None:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._open[self._number] = answered
        self.write(self._number, kind, payload)


class _Question(NamedTuple):
    """A question that waits for a worker."""

    until: float
    kind: FrameKind
    payload: bytes
    answered: OnReply


class Links:
    """This worker's own socket, and a link to each of the others."""

    def __init__(
        self,
        folder: Path,
        share: WorkerSlot,
        handlers: Mapping[FrameKind, FrameHandler],
        *,
        wait_s: float = WAIT_S,
        bound: int = BOUND,
    ) -> None:
        self._wait_s = wait_s
        self._bound = bound
        self._folder = folder
        self._share = share
        self._handlers = handlers
        self._asking: dict[int, _Asking] = {}
        self._serving: set[_Serving] = set()
        # Hears of each worker that has ended, by its slot.
        self.worker_lost: Callable[[int], None] = lambda slot: None
        self._waiting: dict[int, deque[_Question]] = {slot: deque() for slot in self.others}
        self._ending = False

    @property
    def others(self) -> list[int]:
        """The slots of the other workers."""
        return [slot for slot in range(self._share.workers) if slot != self._share.slot]

    def ask(
        self, slot: int, kind: FrameKind, payload: bytes, answered: OnReply, *, patient: bool = True
    ) -> None:
        """`answered` hears of it, once. Only a `patient` question waits for a worker to come."""
        link = self._asking.get(slot)
        if link is not None and not link.lost.is_set():
            if link.full:
                answered(PeerFailure.AWAY)
            else:
                link.ask(kind, payload, answered)
            return
        waiting = self._waiting[slot]
        if not patient or self._ending or len(waiting) >= self._bound:
            answered(PeerFailure.AWAY)
            return
        loop = asyncio.get_running_loop()
        if not waiting:
            loop.call_later(self._wait_s, self._give_up, slot)
        waiting.append(_Question(loop.time() + self._wait_s, kind, payload, answered))

    def end(self) -> None:
        """This worker stops, and most likely all of them: nothing waits for one to come any more.

        Else a client would wait for its 503, and a carrier for its answer, until the stop ends.
        """
        self._ending = True
        self._let_go()

    async def question(
        self, slot: int, kind: FrameKind, payload: bytes = b"", *, patient: bool = True
    ) -> bytes:
        """Ask, and wait for the reply. Raises Unanswered."""
        outcome: asyncio.Future[bytes | PeerFailure] = asyncio.get_running_loop().create_future()

        def answered(reply: bytes | PeerFailure) -> None:
            if not outcome.done():
                outcome.set_result(reply)

        self.ask(slot, kind, payload, answered, patient=patient)
        reply = await outcome
        if isinstance(reply, PeerFailure):
            raise Unanswered(reply)
        return reply

    def _let_go(self) -> None:
        """Whatever waits for a worker is told that there is none."""
        for waiting in self._waiting.values():
            while waiting:
                waiting.popleft().answered(PeerFailure.AWAY)

    def _give_up(self, slot: int) -> None:
        """What has waited long enough for a worker that does not come."""
        loop, waiting = asyncio.get_running_loop(), self._waiting[slot]
        while waiting and waiting[0].until <= loop.time():
            waiting.popleft().answered(PeerFailure.AWAY)
        if waiting:
            loop.call_at(waiting[0].until, self._give_up, slot)

    async def run(self) -> None:
        """Answer and ask, until cancelled."""
        path = self._path(self._share.slot)
        path.unlink(missing_ok=True)  # of the one that died here
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Serving(self._handlers, self._serving), str(path)
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for slot in self.others:
                    tasks.create_task(self._keep(slot), name=f"link to worker {slot}")
        finally:
            server.close()
            self._let_go()
            for serving in list(self._serving):
                if serving.transport is not None:
                    serving.transport.close()

    async def _keep(self, slot: int) -> None:
        """A link to one worker, made again whenever it is lost."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, link = await loop.create_unix_connection(
                    partial(_Asking, self._bound), str(self._path(slot))
                )
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            self._asking[slot] = link
            waiting = self._waiting[slot]
            while waiting:
                question = waiting.popleft()
                link.ask(question.kind, question.payload, question.answered)
            try:
                await link.lost.wait()
            finally:
                del self._asking[slot]
                if link.transport is not None:
                    with contextlib.suppress(OSError):
                        link.transport.close()
            log.warning("worker %d is gone", slot)
            self.worker_lost(slot)

    def _path(self, slot: int) -> Path:
        return socket_path(self._folder, slot)


def socket_path(folder: Path, slot: int) -> Path:
    """Where the worker of a slot listens to the others."""
    return folder / f"worker-{slot}.sock"
