"""One carrier: its binds as one thing with room, and outcomes by message and segment.

This is all that dispatch knows of a carrier: submit, room, and the events of `Outcomes`.
Other kinds of carrier (an HTTP API, MM7) are to be this narrow too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Generic, Protocol, TypeVar

from gateway.carriers.profile import Outgoing, Profile
from gateway.clock import Clock
from gateway.settings import CarrierSettings
from smpp.describe import describe
from smpp.esme import Bind, BindConfig, RefusalClass, TlsConfig
from smpp.pdu import DeliverSm, SubmitSm, Tlvs
from smpp.session import BindType, SessionConfig

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Outgoing)
M_contra = TypeVar("M_contra", bound=Outgoing, contravariant=True)


class Outcomes(Protocol[M_contra]):
    """What becomes of segments, told in the order in which it happens."""

    def answered(self, message: M_contra, segment: int, status: int, carrier_id: str) -> None:
        """The carrier answered the segment with `status` (ESME_ROK: 0)."""

    def lost(self, message: M_contra, segment: int) -> None:
        """Its bytes were written and no answer will come: nobody knows what it did."""

    def unsent(self, message: M_contra, segment: int) -> None:
        """Its bytes never left."""

    def room_changed(self) -> None:
        """There may be room again."""

    def delivered(
        self, carrier: int, delivery: DeliverSm, answer: Callable[[DeliverSm, int], object]
    ) -> None:
        """A receipt or an inbound message; to be answered once it is committed."""


class Connector(Generic[M]):
    """The binds of one carrier."""

    def __init__(
        self,
        carrier_id: int,
        settings: CarrierSettings,
        outcomes: Outcomes[M],
        clock: Clock,
        random: Random,
        *,
        log_pdus: bool = False,
        mask: bool = True,
    ) -> None:
        self.carrier_id = carrier_id
        self.name = settings.name
        self.settings = settings
        self.reserved = 0
        """Segments promised to messages that are being committed or claimed."""
        self._profile = Profile(user_message_reference=settings.user_message_reference)
        self._outcomes = outcomes
        self._clock = clock
        self._paused_until = 0.0
        self._binds = [
            Bind(_bind_config(settings, index), self, rng=random) for index in range(settings.binds)
        ]
        # Segments of a message that is longer than its bind's window, in their order.
        self._overflow: dict[str, deque[tuple[SubmitSm, tuple[M, int]]]] = {
            bind.name: deque() for bind in self._binds
        }
        if log_pdus:
            for bind in self._binds:
                bind.on_pdu = _pdu_logger(bind.name, mask)

    async def run(self) -> None:
        """Keep every bind up, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for bind in self._binds:
                tasks.create_task(bind.run(), name=f"bind {bind.name}")

    async def close(self, drain_s: float) -> None:
        """Wait for the answers under way, then unbind."""
        await asyncio.gather(*(bind.close(drain_s) for bind in self._binds))

    @property
    def up(self) -> bool:
        return any(bind.bound for bind in self._binds)

    @property
    def window(self) -> int:
        return self.settings.window

    @property
    def room(self) -> int:
        """Segments that may be written now and are promised to nobody."""
        if self._clock.monotonic() < self._paused_until:
            return 0
        free = sum(
            bind.window_free - len(self._overflow[bind.name]) for bind in self._binds if bind.bound
        )
        return max(0, free - self.reserved)

    def pause(self, wait_s: float) -> float:
        """Submit nothing for `wait_s`; returns when (monotonic) it may go on."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + wait_s)
        return self._paused_until

    def submit(self, message: M) -> None:
        """Write the segments not yet answered, back to back on one bind."""
        bind = max(
            (bind for bind in self._binds if bind.bound),
            key=lambda bind: bind.window_free - len(self._overflow[bind.name]),
            default=None,
        )
        for segment in range(message.segments):
            if message.answered >> segment & 1:
                continue
            if bind is None:
                self._outcomes.unsent(message, segment)
                continue
            submit = self._profile.submit(message, segment)
            overflow = self._overflow[bind.name]
            if overflow or bind.window_free <= 0:
                overflow.append((submit, (message, segment)))
            else:
                bind.submit(submit, (message, segment))

    # The events of the binds ------------------------------------------------------------

    def bind_up(self, bind: Bind) -> None:
        log.info("bind %s is up", bind.name, extra={"bind": bind.name})
        self._outcomes.room_changed()

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        log.warning(
            "bind %s is down: %s (%d unanswered)",
            bind.name,
            reason,
            len(unanswered),
            extra={"bind": bind.name},
        )
        overflow = self._overflow[bind.name]
        never_written = [token for _, token in overflow]
        overflow.clear()
        for token in unanswered:
            message, segment = token  # type: ignore[misc]
            self._outcomes.lost(message, segment)  # type: ignore[has-type]
        for message, segment in never_written:
            self._outcomes.unsent(message, segment)
        self._outcomes.room_changed()

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        log.error(
            "bind %s refused with 0x%08X (%s); next try in %.0f s",
            bind.name,
            status,
            refusal.name.lower(),
            wait_s,
            extra={"bind": bind.name},
        )

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        message, segment = token  # type: ignore[misc]
        self._outcomes.answered(message, segment, status, message_id)  # type: ignore[has-type]

    def timed_out(self, bind: Bind, token: object) -> None:
        message, segment = token  # type: ignore[misc]
        self._outcomes.lost(message, segment)  # type: ignore[has-type]

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        self._outcomes.delivered(self.carrier_id, delivery, bind.answer)

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        log.warning(
            "malformed PDU on %s: %s: %s",
            bind.name,
            reason,
            data[:256].hex(),
            extra={"bind": bind.name},
        )

    def window_opened(self, bind: Bind) -> None:
        overflow = self._overflow[bind.name]
        while overflow and bind.window_free > 0:
            submit, token = overflow.popleft()
            bind.submit(submit, token)
        self._outcomes.room_changed()


def _pdu_logger(name: str, mask: bool) -> Callable[[str, bytes], None]:
    def on_pdu(direction: str, data: bytes) -> None:
        log.info(
            "%s %s %s",
            name,
            direction,
            describe(data, mask=mask),
            extra={"bind": name, "event": "pdu"},
        )

    return on_pdu


def _bind_config(settings: CarrierSettings, index: int) -> BindConfig:
    tls = settings.tls
    return BindConfig(
        name=f"{settings.name}/{index + 1}",
        hosts=tuple(
            (host.strip("[]"), int(port))
            for host, _, port in (address.rpartition(":") for address in settings.hosts)
        ),
        session=SessionConfig(
            system_id=settings.system_id,
            password=settings.password,
            system_type=settings.system_type,
            bind_type=BindType[settings.bind.upper()],
            window=settings.window,
            response_timeout_s=settings.response_timeout_s,
            enquire_interval_s=settings.enquire_interval_s,
        ),
        tls=TlsConfig(
            verify=tls.verify,
            ca_file=str(tls.ca_file or ""),
            certificate_file=str(tls.certificate_file or ""),
            key_file=str(tls.key_file or ""),
            server_name=tls.server_name or "",
        )
        if tls
        else None,
    )
