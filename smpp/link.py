"""The connection under a session: one asyncio.Protocol, and no knowledge of messages.

It feeds the session what the socket brings, hands its events on, wakes it when
its deadline has come, and writes what has gathered once per turn of the event
loop: a hundred submits are one write().
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from smpp.events import Ended, SessionEvent
from smpp.session import Session

_KEEPALIVE: tuple[tuple[str, int], ...] = (
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
)
# How long a closing connection may try to write what is left.
LINGER_S = 2.0

OnEvents = Callable[[list[SessionEvent]], None]


class Link(asyncio.Protocol):
    """One connection. `closed` is done, with the reason, when its socket is gone for good."""

    def __init__(
        self,
        session: Session,
        on_events: OnEvents,
        *,
        on_writable: Callable[[], None] | None = None,
        accepts: Callable[[asyncio.Transport], bool] | None = None,
    ) -> None:
        self.session = session
        # False while the peer does not read: its kernel buffer and ours are full.
        self.writable = True
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._on_events = on_events
        self._on_writable = on_writable
        self._accepts = accepts
        self._transport: asyncio.Transport | None = None
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._linger: asyncio.TimerHandle | None = None
        self._opened = False
        self._reason = ""

    # What the owner asks of it ------------------------------------------------

    def now(self) -> float:
        """The loop's clock, which is the one all deadlines of the session are in."""
        return self._loop.time()

    @property
    def opened(self) -> bool:
        """Whether there ever was a socket; then `closed` will be done."""
        return self._opened

    def flush_soon(self) -> None:
        """Write what the session has gathered at the end of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def close(self, reason: str) -> None:
        """Write what is left and close; `closed` follows."""
        self._reason = self._reason or reason
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._flush()
        transport.close()
        # A peer that does not read would keep what is unwritten, and the socket, for ever.
        self._linger = self._loop.call_later(LINGER_S, transport.abort)

    def abort(self, reason: str) -> None:
        """Close at once, whatever is left to write; `closed` follows."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Let the kernel hold what comes, until `resume_reading`: back-pressure on the peer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # What asyncio tells it ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened = True
        # By duck type: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            _tune(sock)
        if self._accepts is not None and not self._accepts(self._transport):
            self.abort("the peer's certificate is not a pinned one")
            return
        self.session.connected(self._loop.time())
        self.flush_soon()

    def data_received(self, data: bytes) -> None:
        session = self.session
        self._hand_on(session.receive(data, self._loop.time()))
        if session.has_output:
            self.flush_soon()
        if self._timer is None or session.deadline() < self._timer_at:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._linger is not None:
            self._linger.cancel()
        self._transport = None
        if not self.closed.done():
            lost = f"connection lost: {exc}" if exc else f"closed by the {self.session.role.peer}"
            self.closed.set_result(self._reason or lost)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self._on_writable is not None:
            self._on_writable()

    # Inside ---------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_due = False
        session = self.session
        transport = self._transport
        if transport is None or not session.has_output:
            return
        transport.write(session.take_output())
        if self._timer is None or session.deadline() < self._timer_at:
            self._arm()

    def _hand_on(self, events: list[SessionEvent]) -> None:
        if not events:
            return
        self._on_events(events)
        last = events[-1]
        if last.__class__ is Ended:
            assert isinstance(last, Ended)
            self.close(last.reason)

    def _arm(self) -> None:
        """One timer per connection, at the earliest deadline known when it was set.

        Deadlines mostly move away; then it fires early, finds nothing due and
        is set again: a few times a minute, instead of once per PDU.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.session.deadline()
        self._timer_at = due
        if due != float("inf") and self._transport is not None:
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        session = self.session
        self._hand_on(session.tick(self._loop.time()))
        if session.has_output:
            self.flush_soon()
        self._arm()


def _tune(sock: socket.socket) -> None:
    """No delay for small writes; the kernel notices a dead peer too (SMPP 3.4 §2.8 in spirit)."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        return  # not a TCP socket, or already gone: connection_lost will tell
