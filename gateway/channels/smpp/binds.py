"""The binds of a carrier as its settings ask for them, and what is known of each."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from gateway.channels.smpp.settings import CarrierSettings
from smpp.backoff import BackoffConfig
from smpp.describe import describe
from smpp.esme import Bind, BindConfig
from smpp.esme_session import EsmeConfig
from smpp.framing import pieces
from smpp.pdu import FramedSubmit, SubmitSm
from smpp.states import BindType

log = logging.getLogger(__name__)

M = TypeVar("M")


class Sent(NamedTuple, Generic[M]):
    """What a bind gives back with the answer: whose segments they were, and when they left."""

    message: M
    segments: int  # a bit mask
    at: float


class BindStatus(NamedTuple):
    """One bind as an operator sees it. Times in seconds."""

    name: str
    type: str
    bound: bool
    host: str | None
    window: int
    in_flight: int
    connections: int
    refusals: int
    # Why it is not bound; empty while it is.
    trouble: str
    next_try_s: float | None


class Wire(Generic[M]):
    """A bind, what waits for room in its window, and what went wrong with it."""

    def __init__(self, bind: Bind) -> None:
        self.bind = bind
        self.sends = bind.config.session.bind_type is not BindType.RECEIVER
        # Segments of a message that is longer than the bind's window, in their order.
        self.overflow: deque[tuple[SubmitSm | FramedSubmit, Sent[M]]] = deque()
        self.refusals = 0
        self.trouble = "connecting"
        self.next_try_at: float | None = None

    @property
    def ready(self) -> bool:
        """Whether messages may be written to it."""
        return self.sends and self.bind.bound

    @property
    def free(self) -> int:
        """Places of the window that nobody waits for."""
        return self.bind.window_free - len(self.overflow)

    def up(self) -> None:
        self.trouble, self.next_try_at = "", None

    def down(self, trouble: str, next_try_at: float | None = None) -> None:
        self.trouble, self.next_try_at = trouble, next_try_at

    def status(self, now: float) -> BindStatus:
        bind = self.bind
        return BindStatus(
            name=bind.name,
            type=bind.config.session.bind_type.name.lower(),
            bound=bind.bound,
            host="{}:{}".format(*bind.host) if bind.host is not None else None,
            window=bind.config.session.window,
            in_flight=bind.in_flight,
            connections=bind.connections,
            refusals=self.refusals,
            trouble=self.trouble,
            next_try_s=max(0.0, self.next_try_at - now) if self.next_try_at is not None else None,
        )


def bind_configs(settings: CarrierSettings) -> list[BindConfig]:
    """Every bind that the settings ask for. Names count through, and so stay when more come."""
    tls = settings.tls.config() if settings.tls is not None else None
    waits = settings.refusal_waits
    backoff = BackoffConfig(
        first_s=waits.first_s,
        most_s=waits.most_s,
        credentials_s=waits.credentials_s,
        already_bound_s=waits.already_bound_s,
        system_s=waits.system_s,
        configuration_s=waits.configuration_s,
        other_s=waits.other_s,
    )
    configs: list[BindConfig] = []
    for kind in settings.bind_plan:
        session = EsmeConfig(
            system_id=settings.system_id,
            password=settings.password,
            system_type=settings.system_type,
            bind_type=BindType[kind.type.upper()],
            window=kind.window or settings.window,
            response_timeout_s=settings.response_timeout_s,
            enquire_interval_s=settings.enquire_interval_s,
            confirm_interval_s=settings.confirm_interval_s,
        )
        hosts = tuple(_host(address) for address in kind.hosts or settings.hosts)
        for _ in range(kind.count):
            name = f"{settings.name}/{len(configs) + 1}"
            configs.append(BindConfig(name, hosts, session, tls, backoff))
    return configs


def _host(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def pdu_logger(name: str, mask: bool) -> Callable[[str, bytes], None]:
    """A tap that writes one line per PDU."""

    def on_octets(direction: str, octets: bytes) -> None:
        for start, end in pieces(octets):
            log.info(
                "%s %s %s",
                name,
                direction,
                describe(octets[start:end], mask=mask),
                extra={"bind": name, "event": "pdu"},
            )

    return on_octets
