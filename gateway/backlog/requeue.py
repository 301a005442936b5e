"""Whether a row that waited goes from its sender's queue again, or needs a sender anew.

After a restart, when a time that was asked for has come, and when the next of a long queue is read.
"""

from __future__ import annotations

from gateway.acceptance.assigner import Assigner
from gateway.acceptance.decision import SENDER_GONE
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.messages.lifecycle import Lifecycle, Refused
from gateway.messages.message import Message, Status
from gateway.routing.destination import Destination, parse_destination
from gateway.stage_runtime import Runtime

INVALID_DESTINATION = 21211


class Requeue:
    def __init__(
        self, runtime: Runtime, router: Router, assigner: Assigner, lifecycle: Lifecycle
    ) -> None:
        self._directory = runtime.directory
        self.router = router
        self._assigner = assigner
        self.lifecycle = lifecycle
        self._clock = runtime.clock

    def belongs(self, message: Message, body: str) -> bool:
        """Whether an unfinished message goes (again) from its sender's queue.

        One that has no sender, or has lost it, is handed to who chooses one; one that can't go
        any more fails here. `body` is the text as it is stored.
        """
        destination = self.destination(message)
        if destination is None:
            return False
        if message.sender_id and self.router.retake(message, destination):
            return True
        draft = Draft.again(message, destination, self._directory, body)
        draft.weighed = True
        gone = message.service_id is None and draft.from_record is None
        if gone or message.status is Status.SENDING:
            return self.fail(message, SENDER_GONE)
        if message.status is Status.ACCEPTED and (
            message.service_id is not None or self.router.awaited.awaits(draft)
        ):
            self.router.prepare(draft)
            self._assigner.hold((draft,))
        else:
            self.anew(draft)
        return False

    def anew(self, draft: Draft) -> None:
        """Choose its sender as if it had just come: its time has come, or its number left the pool
        while it waited (docs/spec/messaging-services.md#pool-resources).
        """
        self._assigner.admit((draft,))

    def destination(self, message: Message) -> Destination | None:
        """Where it goes; one that was accepted once, by rules that have changed, fails here.

        Blocks are looked for by the recipient, so it is spelled by the rules of today.
        """
        destination = parse_destination(message.recipient)
        if destination is None:
            self.fail(message, INVALID_DESTINATION)
        else:
            message.recipient = destination.e164
        return destination

    def fail(self, message: Message, code: int) -> bool:
        """False, always: it is done with."""
        self.lifecycle.apply(message, Refused(code))
        return False
