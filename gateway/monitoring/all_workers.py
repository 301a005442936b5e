"""What a process says of itself, and with it what the other workers say: any answers for all."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import orjson

from gateway.api.http.probes import Probes, Readiness
from gateway.api.operator.carriers import statuses
from gateway.cluster.transport import FrameKind
from gateway.monitoring.merge import merged
from gateway.monitoring.metrics import Exposition, Stages
from gateway.monitoring.readiness import readiness, stuck, together
from gateway.settings import MetricsSettings

ASKED_S: Final = 2.0  # for the others to answer


class AllWorkers:
    """Asks them whenever somebody asks."""

    def __init__(self, stages: Stages, settings: MetricsSettings, stop: asyncio.Event) -> None:
        """`stop` is set once the process is to end."""
        runtime = stages.pipeline.runtime
        self._stages = stages
        self._token = settings.token
        self._stop = stop
        self._directory = runtime.directory
        self._slot = runtime.ownership.share.slot
        self._exposition = Exposition(stages, runtime.clock, settings.most_senders).render
        self._peers = peers = runtime.peers
        peers.on(FrameKind.CARRIERS, lambda _, reply: reply(orjson.dumps(self._carriers())))
        peers.on(FrameKind.STUCK, lambda _, reply: reply(orjson.dumps(stuck(stages.watch))))
        peers.on(
            FrameKind.METRICS, lambda accept, reply: reply(self._exposition(accept.decode())[0])
        )

    def probes(self) -> Probes:
        return Probes(
            readiness=self._readiness,
            loop_lag=lambda: self._stages.watch.loop_lag,
            exposition=self._metrics,
            token=self._token.get_secret_value() if self._token is not None else None,
        )

    def _carriers(self) -> dict[str, dict[str, Any]]:
        """How the carriers are in this worker, by SID."""
        pipeline = self._stages.pipeline
        known = self._directory.carriers.values()
        return statuses(known, pipeline.connectors, pipeline.receipts)

    async def _readiness(self) -> Readiness:
        """Of this process, with the binds of all workers, and what is stuck at any."""
        stages = self._stages
        own = readiness(stages.pipeline, stages.watch, stopping=self._stop.is_set())
        if self._peers.links is None:
            return own
        names = {carrier.sid: carrier.name for carrier in self._directory.carriers.values()}
        ask = partial(self._peers.ask_all, payload=b"", most_s=ASKED_S)
        carriers, reasons = await asyncio.gather(ask(FrameKind.CARRIERS), ask(FrameKind.STUCK))
        elsewhere = [reason for reply in reasons.values() for reason in orjson.loads(reply)]
        return together(own, [orjson.loads(told) for told in carriers.values()], names, elsewhere)

    async def _metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics of this process, or of all workers."""
        text, kind = self._exposition(accept)
        if self._peers.links is None:
            return text, kind
        others = await self._peers.ask_all(FrameKind.METRICS, accept.encode(), ASKED_S)
        return merged([(self._slot, text), *others.items()]), kind
