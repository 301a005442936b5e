"""Status callbacks that rows owe and memory let go of: what is to be told is told in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.messages.message import Direction, Message
from gateway.messages.rows import from_row
from gateway.stage_runtime import Runtime
from storage import messages as message_rows
from storage.database import ConnectionPool
from storage.ids import BELOW_ALL, id_at
from storage.messages import MessageRow

PAGE: Final = 5_000
RECENT_S: Final = 3 * 86_400  # longer than any validity period, and than the retries of a callback


class OwedSweep:
    """Reads rows that owe status callbacks, a page at a time and round and round."""

    def __init__(
        self,
        runtime: Runtime,
        owe_callbacks: Callable[[Message], None],
    ) -> None:
        self._wall = runtime.walls.of("callbacks")
        self._ownership = runtime.ownership
        self._live = runtime.live
        self._clock = runtime.clock
        self.owe_callbacks = owe_callbacks
        self._after = BELOW_ALL

    async def sweep(self, pool: ConnectionPool) -> bool:
        """Owe the next page's callbacks; False when the last row was reached."""
        rows = await message_rows.owed(
            pool,
            after=self._after,
            since=id_at(self._clock.wall() - RECENT_S),
            inbound=Direction.INBOUND,
            most=PAGE,
        )
        for row, why in self._wall.each(rows, self._owe):
            self._wall.tell(why, resource=f"SM{row['id'].hex}", account_id=row["account_id"])
        done = len(rows) < PAGE
        self._after = BELOW_ALL if done else rows[-1]["id"]
        return not done

    def _owe(self, row: MessageRow) -> None:
        if not self._ownership.mine(row["service_id"], row["sender_id"]):
            return
        message = self._live.get(row["id"])
        if message is None:
            message = self._live[row["id"]] = from_row(row)
        self.owe_callbacks(message)
