"""What moves from one worker to another when a change gives it a new owner.

The old owner lets go: what waits is in its row, what is under way gets its answer first, what was
claimed and never left waits again. The new one takes up those rows before it commits anything new,
so mail to a recipient keeps its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from gateway.acceptance.acceptor import Acceptor
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft
from gateway.backlog.overflow import Overflow
from gateway.backlog.takeover import AGAIN_S, Takeover
from gateway.cluster.peers import VERSION, pack_ids, unpack_ids
from gateway.cluster.transport import FrameKind, SendReply
from gateway.messages.message import Message, Status
from gateway.observe.outage_log import AWAY
from gateway.stage_runtime import Runtime
from storage import messages as message_rows
from storage.database import DatabaseUnavailable
from storage.ids import Id

log = logging.getLogger(__name__)

# When it looks again for what is another's since a change: what was being given a sender, and what
# comes back from a bind that is drained.
AGAIN: Final = (0.5, AGAIN_S, 10.0, 40.0)
UNDER_WAY_S: Final = 2.5  # for the answers of what was under way then
LOOK_S: Final = 0.02
LETS_GO_S: Final = 3.0  # for the others to let go of what is ours now
UNSENT: Final = (Status.ACCEPTED, Status.QUEUED, Status.SENDING)


class Handover:
    """Lets go of what became another worker's, and takes up what became ours."""

    def __init__(
        self,
        runtime: Runtime,
        overflow: Overflow,
        acceptor: Acceptor,
        assigner: Assigner,
        takeover: Takeover,
        *,
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = runtime.pool
        self._ownership = runtime.ownership
        self._router = assigner.router
        self._live = runtime.live
        self._pacer = overflow.pacer
        self._assigner = assigner
        self._overflow = overflow
        self._written = written
        self._acceptor = acceptor
        self._takeover = takeover
        self._clock = runtime.clock
        self._directory = runtime.directory
        self._peers = runtime.peers
        self._peers.on(FrameKind.TAKE_UP, self._on_take_up)
        self._peers.on_work(FrameKind.REFRESH, self._on_refresh)
        self._tasks: set[asyncio.Task[None]] = set()
        self._unclaiming: set[asyncio.Task[None]] = set()
        self._letting_go_until = 0.0

    def follow(self, version: int, gained: bool) -> None:
        """The configuration is this version now, and gave us something, or took something."""
        if gained:
            self._acceptor.pause()
            self._start(self._take_over(version), "taking over")
        if self._ownership.lost:
            # Kept beyond this change: the same one may be read twice, and then loses nothing more.
            self._letting_go_until = self._clock.monotonic() + UNDER_WAY_S
            self._let_go()
            for wait_s in AGAIN:
                asyncio.get_running_loop().call_later(wait_s, self._let_go)

    def hand_over(self, draft: Draft) -> None:
        """A draft was committed here, and is another worker's."""
        message = draft.message
        self._router.awaited.end(draft)
        self._forget(message)
        if message.status is not Status.SCHEDULED:  # its scheduler reads the row by itself
            self._tell([message])

    async def let_go(self) -> None:
        """Return once nothing of another's is under way here any more, or soon after.

        What its owner sends next to the same recipient must not meet it at the carrier.
        """
        await self._acceptor.settled()  # what was accepted before is handed over
        while self._clock.monotonic() < self._letting_go_until:
            self._let_go()
            if self._unclaiming:  # else its owner looks before their rows say that they wait
                await asyncio.wait(self._unclaiming)
            elif not any(message.status in UNSENT for message in self._foreign()):
                return
            else:
                await asyncio.sleep(LOOK_S)

    def _foreign(self) -> list[Message]:
        """What is in memory and another's."""
        mine = self._ownership.mine
        return [
            message
            for message in list(self._live.values())
            if message.status <= Status.SENDING and not mine(message.service_id, message.sender_id)
        ]

    def _let_go(self) -> None:
        waiting, claimed = [], []
        for message in self._foreign():
            if message.status is Status.SENDING:
                if self._pacer.remove(message):  # claimed, and back in its queue unsent
                    claimed.append(message)
            elif (
                message.committed is message.status and message.waiting and self._take_out(message)
            ):
                if message.spilled:
                    self._overflow.let_go(message)
                waiting.append(message)
        for message in (*waiting, *claimed):
            self._forget(message)
        for sender_id in self._overflow.senders():
            if not self._ownership.mine(None, sender_id):
                self._overflow.forget(sender_id)
        if claimed:
            task = self._start(self._unclaim(claimed), "unclaiming")
            self._unclaiming.add(task)
            task.add_done_callback(self._unclaiming.discard)
        if waiting:
            log.info("%d messages that wait are other workers' now", len(waiting))
            self._tell(waiting)

    def _take_out(self, message: Message) -> bool:
        """Of whatever it waits in; False where it is on its way already."""
        return message.spilled or self._pacer.remove(message) or self._assigner.withdraw(message)

    def _forget(self, message: Message) -> None:
        self._router.release(message)
        self._live.pop(message.id, None)

    def _tell(self, messages: Sequence[Message]) -> None:
        """Tell the owners of messages that these wait in their rows."""
        by_slot: defaultdict[int, list[Id]] = defaultdict(list)
        for message in messages:
            slot = self._ownership.of(message.service_id, message.sender_id)
            by_slot[slot].append(message.id)
        for slot, ids in by_slot.items():
            payload = pack_ids(self._directory.version, ids)
            self._peers.tell(slot, FrameKind.TAKE_UP, payload)

    async def _unclaim(self, messages: Sequence[Message]) -> None:
        """Let these wait again, for the worker whose they are: it claims them for itself."""
        await self._written()  # what is written of them comes before
        ids = [message.id for message in messages]
        try:
            async with self._pool.acquire() as connection:
                await message_rows.unclaim(connection, ids, Status.SENDING, Status.QUEUED)
        except DatabaseUnavailable as error:
            log.error(
                "database: %s; a restart finds %d claimed messages", error, len(ids), extra=AWAY
            )
            return
        self._tell(messages)

    async def _take_over(self, version: int) -> None:
        """Take up the rows of what became ours; what is new waits for that, and comes behind.

        Who had them lets go of them as it reads the same change; so that is waited for first.
        """
        try:
            await self._peers.ask_all(FrameKind.REFRESH, VERSION.pack(version), LETS_GO_S)
            await self._takeover.take_up_all()
        except DatabaseUnavailable as error:
            log.error("database: %s; rows that became ours are taken up later", error, extra=AWAY)
        finally:
            self._acceptor.resume()
        self._takeover.look()  # for what was on its way just then

    def _on_take_up(self, payload: bytes, reply: SendReply) -> None:
        """Rows are committed, wait, and are ours."""
        version, ids = unpack_ids(payload)

        def named() -> None:
            # While we take over, all that waits is read in its order once everything is there.
            if not self._acceptor.paused:
                self._takeover.named(list(ids))
            reply(b"")

        self._peers.at_version(version, named, reply)

    async def _on_refresh(self, payload: bytes) -> bytes:
        """The configuration changed."""
        (version,) = VERSION.unpack(payload)
        if version > self._directory.version:
            await self._peers.read()
        await self.let_go()
        return b""

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
