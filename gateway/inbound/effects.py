"""What an inbound message changes for its writer, before any app hears of it.

Its keyword (`opt_outs`) and its sticky mapping (`sticky`) are stored with it; what follows a commit
follows here, and what was counted before one that failed is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.directory.directory import SenderRecord
from gateway.inbound.opt_outs import Arrival, KeywordOutcome, OptOuts
from gateway.inbound.sticky import map_sticky_sender
from gateway.messages.message import Message
from gateway.stage_runtime import Runtime
from storage.database import Connection


@dataclass(slots=True)
class Judged:
    """What a batch of arrivals led to, as far as it got."""

    outcomes: dict[Message, KeywordOutcome] = field(default_factory=dict)
    replies: list[Draft] = field(default_factory=list)
    mapped: list[int] = field(default_factory=list)


class InboundEffects:
    """Applies both in one transaction. `send` takes stored messages that have a sender."""

    def __init__(
        self,
        runtime: Runtime,
        router: Router,
        network_handles: Callable[[SenderRecord], bool],
        send: Callable[[Sequence[Draft]], None],
    ) -> None:
        """`network_handles`: whether the carrier's network answers a STOP to this number."""
        self._directory = runtime.directory
        self._opt_outs = OptOuts(runtime, router, network_handles)
        self._loads = router.loads
        self._send = send

    async def effects(
        self, connection: Connection, arrivals: Sequence[Arrival], judged: Judged
    ) -> None:
        """Store what `arrivals` change, in the caller's transaction."""
        judged.outcomes = await self._opt_outs.process(connection, arrivals, judged.replies)
        # After the lock of a STOP, never before it: an accept batch that holds that lock may wait
        # for the row of a mapping.
        judged.mapped = await map_sticky_sender(connection, self._directory, arrivals)

    def committed(self, judged: Judged) -> None:
        for sender_id in judged.mapped:
            self._loads.mapped(sender_id)
        self._send(judged.replies)

    def give_back(self, judged: Judged) -> None:
        """Nothing of it was committed."""
        self._opt_outs.give_back(judged.replies)
