"""How many connections to apps' servers are under way at once: of all accounts, and of each.

A server that takes connections and says nothing holds each for as long as we wait, and anybody can
name any number of servers. So both are bounded, and taken in fair turns. A receiver that let us
wait in vain gets one connection at a time until it answers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.runtime.fair_turns import FairTurns

MOST: Final = 500
MOST_OF_ACCOUNT: Final = 100
MOST_SILENT: Final = 10_000  # receivers that are known to be silent


class AppServer(NamedTuple):
    """A server of an account; without a host: nobody outside."""

    account_id: int
    host: str


class Connections(FairTurns):
    """Turns to be connected, and who lets us wait."""

    def __init__(
        self,
        most: int = MOST,
        most_of_account: int = MOST_OF_ACCOUNT,
        most_silent: int = MOST_SILENT,
    ) -> None:
        super().__init__(most, most_of_account)
        self._most_silent = most_silent
        self._silent: dict[AppServer, None] = {}

    @property
    def silent(self) -> int:
        """Receivers that get one connection at a time."""
        return len(self._silent)

    def heard(self, receiver: AppServer, answered: bool) -> None:
        """How a receiver did: it answered, whatever it was, or nothing came in time."""
        if not answered:
            if receiver not in self._silent and len(self._silent) >= self._most_silent:
                del self._silent[next(iter(self._silent))]
            self._silent[receiver] = None
        elif self._silent:
            self._silent.pop(receiver, None)

    def is_silent(self, receiver: AppServer) -> bool:
        return receiver in self._silent
