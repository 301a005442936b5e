"""What waits for a sender whose number moved, left its service or was deleted
(docs/spec/messaging-services.md#pool-resources).
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakSet

from gateway.acceptance.assigner import Assigner
from gateway.acceptance.decision import SENDER_GONE
from gateway.acceptance.draft import Draft, Phase
from gateway.backlog.overflow import Overflow
from gateway.directory.directory import SenderRecord
from gateway.messages.message import Message, Status
from gateway.recipients.sticky_upkeep import StickyUpkeep
from gateway.routing.destination import parse_destination
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import Submitter

Senders = Mapping[int, SenderRecord]  # by id


class Reassignment:
    """Follows changes of the configuration for what waits in senders' queues."""

    def __init__(
        self,
        runtime: Runtime,
        assigner: Assigner,
        submitter: Submitter,
        overflow: Overflow,
        mappings: StickyUpkeep,
    ) -> None:
        self._live = runtime.live
        self._router = assigner.router
        self._assigner = assigner
        self._submitter = submitter
        self._overflow = overflow
        self._mappings = mappings
        # Whose sender left its pool, or was deleted, while their batch was being committed.
        self._leaving: WeakSet[Message] = WeakSet()

    def follow(self, before: Senders, now: Senders) -> None:
        """The senders were others before."""
        self._follow_moved_numbers(before, now)
        self._follow_left_pools(before, now)

    def committed(self, message: Message) -> None:
        """The batch of a message is committed: its sender may have gone meanwhile."""
        if self._leaving and message in self._leaving:
            self._leaving.discard(message)
            self._lost_sender(message)

    def _follow_moved_numbers(self, before: Senders, now: Senders) -> None:
        moved = {
            id: record.sender.carrier_id
            for id, record in now.items()
            if id in before and before[id].sender.carrier_id != record.sender.carrier_id
        }
        if moved:
            waiting = [message for message in self._live.values() if message.status < Status.SENT]
            self._submitter.moved(waiting, moved)

    def _follow_left_pools(self, before: Senders, now: Senders) -> None:
        """Choose anew what waits for a sender that left its service.

        What waits for one that was deleted, and named it itself, fails: its address may be
        another account's by now.
        """
        left = {
            id: record.service_id
            for id, record in before.items()
            if record.service_id is not None
            and (id not in now or now[id].service_id != record.service_id)
        }
        gone = before.keys() - now.keys()
        if left:
            self._mappings.sweep_soon()
            self._overflow.left_pool(left)
        if not left and not gone:
            return
        for message in list(self._live.values()):
            if message.status is not Status.QUEUED:
                continue
            if message.sender_id not in gone and (
                # A plain From stays with its number, whatever pool that is in.
                message.service_id is None or left.get(message.sender_id) != message.service_id
            ):
                continue
            if message.committed is not Status.QUEUED:  # its batch is being committed just now
                self._leaving.add(message)
            else:
                self._lost_sender(message)
        for sender_id in gone:  # the rest of its queue, in rows
            self._overflow.released(sender_id)

    def _lost_sender(self, message: Message) -> None:
        """The message's sender is gone: unless it goes just now, it gets another, or fails."""
        if message.service_id is not None:
            self._choose_anew(message)
        else:
            self._submitter.give_up(message, SENDER_GONE)

    def _choose_anew(self, message: Message) -> None:
        if message.spilled and message.service_id is not None:
            self._overflow.left_pool({message.sender_id: message.service_id})
        if not self._submitter.take_out(message):
            return
        self._router.release(message)
        destination = parse_destination(message.recipient)
        assert destination is not None, "it was routed once"
        text = message.content.text if message.content is not None else message.text
        draft = Draft(message, destination, smart=text != message.text, phase=Phase.READY)
        draft.weighed = True
        self._assigner.admit((draft,))
