"""A bind that stays up: connects, binds, carries messages, and starts again when it falls.

`Bind` is the whole of SMPP that the gateway meets. It owns at most one socket
at any moment: a new one is opened only after the old one is closed for good, so
a carrier that counts our sessions never counts one too many.

The handler is called from the event loop, between two reads of the socket, and
may submit from inside any of its calls. It must not block. An exception out of
it is reported to the loop's exception handler and costs only that one event.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from smpp.backoff import Backoff, BackoffConfig, RefusalClass, classify
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.events import (
    Answered,
    BindRefused,
    Bound,
    Delivered,
    Ended,
    LateAnswer,
    Malformed,
    Notified,
    Responded,
    SessionEvent,
    Settled,
    TimedOut,
)
from smpp.link import Link
from smpp.pdu import DeliverSm, FramedSubmit, Pdu, SubmitSm, Tlvs
from smpp.session import NotBound, Tap, WindowFull
from smpp.tls import TlsConfig

__all__ = [
    "Bind",
    "BindConfig",
    "BindHandler",
    "NotBound",
    "RefusalClass",
    "TlsConfig",
    "WindowFull",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BindConfig:
    """One bind: where to, as whom, how to wait. Times in seconds."""

    name: str
    # Tried in turn; the next one when a connection fails or the host has trouble.
    hosts: tuple[tuple[str, int], ...]
    session: EsmeConfig
    tls: TlsConfig | None = None
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError(f"bind {self.name}: no host")


class BindHandler(Protocol):
    """Who is told what happens on a bind."""

    def bind_up(self, bind: Bind) -> None:
        """Bound: submits may begin."""

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        """No longer bound, socket closed. `unanswered`: tokens of which nobody knows the fate."""

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        """The carrier refused to bind us; the next attempt is in `wait_s`."""

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        """The response to a submit, in the order of arrival."""

    def timed_out(self, bind: Bind, token: object) -> None:
        """No response in time: its fate is not known either."""

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        """A message or receipt; it must be answered, by `bind.answer`, now or later."""

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        """A PDU that could not be used. The session goes on, or `bind_down` follows."""

    def window_opened(self, bind: Bind) -> None:
        """There is room again; at most once per turn of the loop."""


class Bind:
    """One bind to a carrier, for as long as `run` runs."""

    def __init__(
        self,
        config: BindConfig,
        handler: BindHandler,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.bound = False
        # Sees what later connections read and write, PDUs that are whole; None costs nothing.
        self.on_pdu: Tap | None = None
        # The response to a submit that had been reported as timed out.
        self.on_late_answer: Callable[[object, int, str, Tlvs], None] | None = None
        # Deliveries whose answers have arrived for certain: they will not come again.
        self.on_settled: Callable[[tuple[DeliverSm, ...]], None] | None = None
        # alert_notification, outbind.
        self.on_notified: Callable[[Pdu], None] | None = None
        # A connection that failed before it was bound: why, and the wait before the next.
        self.on_unreachable: Callable[[str, float], None] | None = None
        # Where the present connection leads.
        self.host: tuple[str, int] | None = None
        self.smsc_system_id = ""
        # Connections opened so far; the number of the present one.
        self.connections = 0
        self.backoff = Backoff(config.backoff, rng or random.Random())
        self._handler = handler
        self._session: EsmeSession | None = None
        self._link: Link | None = None
        self._requests: set[asyncio.Future[Pdu]] = set()
        self._host_index = 0
        self._failed_in_round = 0
        self._refused: int | None = None
        self._was_bound = False
        self._closing = asyncio.Event()
        self._drained = asyncio.Event()
        self._running = False

    # Messages -------------------------------------------------------------------

    @property
    def window_free(self) -> int:
        """How many submits are possible now; 0 when not bound, draining or not being read."""
        if not self.bound or self._link is None or not self._link.writable:
            return 0
        assert self._session is not None
        return self._session.window_free

    @property
    def in_flight(self) -> int:
        """Requests sent and not yet answered."""
        return self._session.in_flight if self._session is not None else 0

    def submit(self, message: SubmitSm | FramedSubmit, token: object) -> None:
        """Send one message; `answered`, `timed_out` or `bind_down` will name `token`.

        Raises NotBound, WindowFull, or CodecError if the message does not fit
        its PDU; then nothing was sent. The bytes leave at the end of this turn
        of the loop, together with all others.
        """
        session = self._session
        link = self._link
        if not self.bound or session is None or link is None:
            raise NotBound(self.name)
        session.submit(message, token, link.now())
        link.flush_soon()

    def answer(self, delivery: DeliverSm, status: int = 0) -> bool:
        """Send a delivery's response. False if it came on a connection that is gone, or was
        answered before: the SMSC will send it again.
        """
        session = self._session
        if session is None or delivery.link != session.link or not session.answer(delivery, status):
            return False
        assert self._link is not None
        self._link.flush_soon()
        if self._closing.is_set():
            self._check_drained()
        return True

    async def request(self, pdu: Pdu) -> Pdu:
        """Send query_sm, cancel_sm, replace_sm, data_sm or the like; return the response.

        Raises NotBound (also when the bind falls before the answer), WindowFull,
        CodecError, TimeoutError.
        """
        session = self._session
        link = self._link
        if not self.bound or session is None or link is None:
            raise NotBound(self.name)
        future: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        session.request(pdu, future, link.now())
        link.flush_soon()
        self._requests.add(future)
        try:
            return await future
        finally:
            self._requests.discard(future)

    def pause_reading(self) -> None:
        """Take nothing more from this carrier until `resume_reading`; the session stays."""
        if self._link is not None:
            self._link.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._link is not None:
            self._link.resume_reading()

    # Life -----------------------------------------------------------------------

    async def run(self) -> None:
        """Stay bound until `close`, or until the task is cancelled."""
        if self._running:
            raise RuntimeError(f"bind {self.name} runs already")
        self._running = True
        try:
            while not self._closing.is_set():
                wait = await self._one_connection()
                await self._unless_closing(asyncio.sleep(wait))
        finally:
            self._running = False

    async def close(self, drain_s: float = 5.0) -> None:
        """Submit nothing more, wait for the answers due both ways, unbind, close the socket."""
        session = self._session
        link = self._link
        self._closing.set()
        if link is None or session is None:
            return
        if not self.bound:
            link.abort("closed before it was bound")
            if link.opened:
                await asyncio.shield(link.closed)
            return
        self.bound = False
        self._check_drained()
        try:
            async with asyncio.timeout(drain_s):
                await self._drained.wait()
        except TimeoutError:
            pass  # what is unanswered goes to bind_down
        session.unbind(link.now())
        link.flush_soon()
        await asyncio.shield(link.closed)

    async def _one_connection(self) -> float:
        """Connect, stay while it lasts; return how long to wait before the next."""
        loop = asyncio.get_running_loop()
        session, link = self._begin()
        reason = ""
        try:
            await self._unless_closing(self._connect(link))
            if link.opened:
                await asyncio.shield(link.closed)
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: unusable TLS files
            return self._failed(loop.time(), str(error) or type(error).__name__)
        finally:
            link.abort("cancelled")
            if link.opened:
                reason = await asyncio.shield(link.closed)
            self._session = self._link = None
            self._down(session, reason)
        now = loop.time()
        if self._refused is not None:
            return self._after_refusal(self._refused, now)
        if self._was_bound:
            self._failed_in_round = 0
            return self.backoff.lost(now)
        return self._failed(now, reason or "closed")

    def _begin(self) -> tuple[EsmeSession, Link]:
        self.host = self.config.hosts[self._host_index % len(self.config.hosts)]
        self.connections += 1
        self._refused = None
        self._was_bound = False
        session = EsmeSession(self.config.session, link=self.connections)
        session.tap = self.on_pdu
        link = Link(
            session,
            self._on_events,
            on_writable=self._writable,
            accepts=self._pinned if self.config.tls is not None else None,
        )
        self._session, self._link = session, link
        return session, link

    async def _connect(self, link: Link) -> None:
        assert self.host is not None
        host, port = self.host
        tls = self.config.tls
        async with asyncio.timeout(self.config.connect_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: link,
                host,
                port,
                ssl=tls.context() if tls is not None else None,
                server_hostname=(tls.server_name or host) if tls is not None else None,
            )

    def _pinned(self, transport: asyncio.Transport) -> bool:
        tls = self.config.tls
        ssl_object = transport.get_extra_info("ssl_object")
        return tls is None or tls.accepts(ssl_object.getpeercert(binary_form=True))

    def _failed(self, now: float, reason: str) -> float:
        """On to the next host at once; after a round of all of them, wait."""
        self._host_index += 1
        self._failed_in_round += 1
        wait = 0.0
        if self._failed_in_round % len(self.config.hosts) == 0:
            wait = self.backoff.failed(now)
        if self.on_unreachable is not None:
            self._tell("on_unreachable", self.on_unreachable, reason, wait)
        return wait

    def _after_refusal(self, status: int, now: float) -> float:
        wait = self.backoff.refused(status, now)
        refusal = classify(status)
        if refusal is RefusalClass.SYSTEM:
            self._host_index += 1
        self._tell("bind_refused", self._handler.bind_refused, self, status, refusal, wait)
        return wait

    async def _unless_closing(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Do `work`, but give it up when `close` is asked for."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            for task_ in (task, closing):
                task_.cancel()
            await asyncio.gather(task, closing, return_exceptions=True)

    # Events ---------------------------------------------------------------------

    def _on_events(self, events: list[SessionEvent]) -> None:
        handler = self._handler
        room = False
        for event in events:
            try:
                if isinstance(event, Answered):
                    room = True
                    handler.answered(self, *event)
                elif isinstance(event, Delivered):
                    handler.delivered(self, event.delivery)
                else:
                    room = self._rare(event) or room
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"bind {self.name}: {type(event).__name__}", "exception": error}
                )
        if self._closing.is_set():
            self._check_drained()
        elif room and self.bound:
            self._opened()

    def _rare(self, event: SessionEvent) -> bool:
        """Everything but answers and deliveries; True if it freed a place in the window."""
        handler = self._handler
        match event:
            case Bound():
                self._was_bound = True
                self._failed_in_round = 0
                self.smsc_system_id = event.system_id
                self.backoff.bound(asyncio.get_running_loop().time())
                if not self._closing.is_set():
                    self.bound = True
                    handler.bind_up(self)
            case BindRefused():
                self._refused = event.status
            case Ended():
                self.bound = False
            case TimedOut(token):
                if isinstance(token, asyncio.Future):
                    if not token.done():
                        token.set_exception(TimeoutError())
                else:
                    handler.timed_out(self, token)
                return True
            case Responded(token, response):
                if isinstance(token, asyncio.Future) and not token.done():
                    token.set_result(response)
                return True
            case LateAnswer():
                if self.on_late_answer is not None:
                    self.on_late_answer(*event)
            case Settled(deliveries):
                if self.on_settled is not None:
                    self.on_settled(deliveries)
            case Notified():
                if self.on_notified is not None:
                    self.on_notified(event.pdu)
            case Malformed():
                handler.malformed(self, event.data, event.reason)
        return False

    def _down(self, session: EsmeSession, reason: str) -> None:
        self.bound = False
        self._drained.set()  # nothing more will be answered here
        for future in self._requests:
            if not future.done():
                future.set_exception(NotBound(self.name))
        if self._was_bound:
            self._tell("bind_down", self._handler.bind_down, self, reason, session.unanswered())

    def _writable(self) -> None:
        if self.bound:
            self._opened()

    def _opened(self) -> None:
        self._tell("window_opened", self._handler.window_opened, self)

    def _tell(self, name: str, call: Callable[..., None], *args: object) -> None:
        """Call the handler; what it raises goes to the loop's exception handler."""
        try:
            call(*args)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"bind {self.name}: {name}", "exception": error}
            )

    def _check_drained(self) -> None:
        session = self._session
        if session is None or (not session.in_flight and not session.owed):
            self._drained.set()
