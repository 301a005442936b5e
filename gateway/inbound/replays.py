"""Webhooks that rows owe once more: status callbacks of what was sent, the webhook of the rest."""

from __future__ import annotations

from gateway.inbound.handlers import Handlers
from gateway.messages.message import Direction
from gateway.messages.rows import from_row
from gateway.stage_runtime import Runtime
from gateway.webhooks.callbacks import Callbacks
from storage.messages import MessageRow


class Replays:
    def __init__(self, runtime: Runtime, callbacks: Callbacks, handlers: Handlers) -> None:
        self._live = runtime.live
        self._callbacks = callbacks
        self._handlers = handlers

    def again(self, row: MessageRow) -> None:
        """Call them."""
        if row["direction"] == Direction.INBOUND:
            self._handlers.again(from_row(row))
            return
        message = self._live.get(row["id"])
        if message is None:
            message = self._live[row["id"]] = from_row(row)
        message.callbacks_done = 0
        self._callbacks.owe(message)
