"""Which connections deliveries came on, and which of these have ended."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

CONNECTIONS_KEPT: Final = 10_000  # that have ended; more than can end while repetitions come


class DeliveryConnections:
    """Connections are named `run:bind#number`; those of another worker `run:run.bind#number`."""

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}  # of each bind
        self._over: OrderedDict[str, None] = OrderedDict()

    def used(self, connection: str) -> None:
        """A delivery came on it."""
        self._newest[_bind_of(connection)] = connection

    def lost(self, connection: str) -> None:
        """A connection is over, or all of another worker (by its run)."""
        self._over[connection] = None
        if len(self._over) > CONNECTIONS_KEPT:
            self._over.popitem(last=False)

    def live(self) -> list[str]:
        return [connection for connection in self._newest.values() if not self.is_gone(connection)]

    def is_gone(self, connection: str) -> bool:
        """Whether that connection has ended: we saw it, its bind has a newer one, or it is another
        run's.
        """
        if connection in self._over or connection.partition(".")[0] in self._over:
            return True
        return self._newest.get(_bind_of(connection)) != connection


def _bind_of(connection: str) -> str:
    return connection.rpartition("#")[0]
