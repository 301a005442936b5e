"""The other workers of this gateway, as the pipeline sees them: by slot, and without knowing how.

The committed row is what is handed over; what is said about it is a bell (docs/workers.md#workers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from smpp.pdu import DeliverSm
from storage.ids import Id


class Others(Protocol):
    """What the pipeline asks of them."""

    def take_up(self, slot: int, ids: Sequence[Id]) -> None:
        """Rows are committed, wait, and are that worker's. One that dies finds them later."""

    def deliver(
        self,
        slot: int,
        carrier: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        """A delivery for a number of that worker's; answered when it has been committed there."""

    async def have_read(self, version: int) -> None:
        """Return when they have read this version of the configuration, or do not answer."""

    def lost(self, connection: str) -> None:
        """This connection of ours to a carrier is over: tell whoever had deliveries of it."""


class NoOthers:
    """This process does everything."""

    def take_up(self, slot: int, ids: Sequence[Id]) -> None:
        raise AssertionError("nothing is another's")

    async def have_read(self, version: int) -> None:
        raise AssertionError("there is nobody else")

    def lost(self, connection: str) -> None:
        raise AssertionError("nothing is another's")

    def deliver(
        self,
        slot: int,
        carrier: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        raise AssertionError("nothing is another's")
