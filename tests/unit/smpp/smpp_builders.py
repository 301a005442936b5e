"""A handler that remembers what a bind told it, and lets a test wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

from smpp.backoff import BackoffConfig
from smpp.esme import Bind, BindConfig, RefusalClass, TlsConfig
from smpp.esme_session import EsmeConfig
from smpp.pdu import DeliverSm, SmeAddress, SubmitSm, Tlvs
from smpp.session import Tap
from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioRule, Smsc
from smpp.states import BindType

PATIENCE_S = 120.0

FAST_BACKOFF = BackoffConfig(
    first_s=0.01,
    most_s=0.05,
    credentials_s=0.05,
    already_bound_probe_s=0.02,
    system_s=0.02,
    configuration_s=0.05,
    other_s=0.03,
)


@dataclass
class Recorder:
    """Answers every delivery at once unless told not to."""

    answers_deliveries: bool = True
    answer_status: int = 0
    ups: int = 0
    downs: list[tuple[str, list[object]]] = field(default_factory=list)
    refusals: list[tuple[int, RefusalClass, float]] = field(default_factory=list)
    answers: list[tuple[object, int, str, Tlvs]] = field(default_factory=list)
    timeouts: list[object] = field(default_factory=list)
    deliveries: list[DeliverSm] = field(default_factory=list)
    malformations: list[tuple[bytes, str]] = field(default_factory=list)
    openings: int = 0
    on_open: Callable[[Bind], None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is asked again after every call of the bind."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def changed(self) -> None:
        """Ask the condition again."""
        self._changed.set()

    def bind_up(self, bind: Bind) -> None:
        self.ups += 1
        if self.on_open is not None:
            self.on_open(bind)
        self._changed.set()

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        self.downs.append((reason, unanswered))
        self._changed.set()

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        self.refusals.append((status, refusal, wait_s))
        self._changed.set()

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        self.answers.append((token, status, message_id, tlvs))
        self._changed.set()

    def timed_out(self, bind: Bind, token: object) -> None:
        self.timeouts.append(token)
        self._changed.set()

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        self.deliveries.append(delivery)
        if self.answers_deliveries:
            bind.answer(delivery, self.answer_status)
        self._changed.set()

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        self.malformations.append((data, reason))
        self._changed.set()

    def window_opened(self, bind: Bind) -> None:
        self.openings += 1
        if self.on_open is not None:
            self.on_open(bind)
        self._changed.set()


def submit(
    text: bytes = b"hello", *, source: str = "15550001111", destination: str = "441632960675"
) -> SubmitSm:
    """A message with good defaults."""
    return SubmitSm(SmeAddress(1, 1, source), SmeAddress(1, 1, destination), text)


def session_config(**changes: object) -> EsmeConfig:
    """As the simulator's default carrier wants it."""
    return replace(EsmeConfig("tandem", "secret"), **changes)  # type: ignore[arg-type]


def bind_config(
    *ports: int,
    backoff: BackoffConfig = FAST_BACKOFF,
    tls: TlsConfig | None = None,
    host: str = "127.0.0.1",
    **session: object,
) -> BindConfig:
    """A bind to one or more local ports that does not wait long for anything."""
    hosts = tuple((host, port) for port in ports)
    return BindConfig("test", hosts, session_config(**session), tls=tls, backoff=backoff)


@asynccontextmanager
async def running_smsc(*rules: ScenarioRule, faults: Faults | None = None, **carrier: object):
    """A simulator with one carrier."""
    one = CarrierScenario(rules=rules, faults=faults or Faults(), **carrier)  # type: ignore[arg-type]
    smsc = Smsc(Scenario((one,)), seed=1)
    await smsc.start()
    try:
        yield smsc
    finally:
        await smsc.stop()


@asynccontextmanager
async def running_bind(
    config: BindConfig, recorder: Recorder, *, bound: bool = True, tap: Tap | None = None
):
    """A bind, up if it is to be `bound`."""
    bind = Bind(config, recorder, rng=Random(1))
    bind.on_pdu = tap
    task = asyncio.create_task(bind.run())
    try:
        if bound:
            await recorder.until(lambda: bind.bound)
        yield bind
    finally:
        await bind.close(0.5)
        async with asyncio.timeout(PATIENCE_S):
            with suppress(asyncio.CancelledError):
                await task


__all__ = ["BindType", "Recorder", "bind_config", "running_bind", "running_smsc", "submit"]
