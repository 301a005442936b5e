"""STOP, START and HELP: what inbound keywords change, in the transaction that stores them.

The block is committed with the message that asked for it, and only then is the SMSC answered;
whoever is letting messages of that scope go has written them by then, or sees the block
(docs/reliability.md#opt-out). The confirmation is stored in the same transaction,
so it is sent once, however the process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.directory.directory import SenderRecord
from gateway.messages.message import Direction, Flag, Message
from gateway.messages.rows import insert_row
from gateway.opt_out.configured_book import ServiceBooks
from gateway.opt_out.keywords import (
    NO_EFFECT,
    Keyword,
    KeywordEffect,
    Match,
    default_book,
    effect,
)
from gateway.opt_out.scope import scopes_at
from gateway.routing.destination import parse_destination
from gateway.routing.question import Channel
from gateway.routing.sender_pool import SenderKind
from gateway.stage_runtime import Runtime
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage.database import Connection
from storage.recipients import BlockChange

LOCK_TIMEOUT = "2s"  # a process that holds up its messages longer than this delays the answer
BY_DEFAULT = frozenset({SenderKind.LONG_CODE, SenderKind.TOLL_FREE})


@dataclass(frozen=True, slots=True)
class Arrival:
    """An inbound message to be stored, with the number of ours that it was sent to."""

    message: Message
    record: SenderRecord


@dataclass(frozen=True, slots=True)
class KeywordOutcome:
    """What became of one arrival's text."""

    keyword: Keyword = Keyword.NONE
    told: bool = False  # Advanced Opt-Out: the webhook hears of it as OptOutType


NO_KEYWORD = KeywordOutcome()


class OptOuts:
    """Reads keywords out of arrivals, keeps the block list, and answers."""

    def __init__(
        self,
        runtime: Runtime,
        router: Router,
        network_handles: Callable[[SenderRecord], bool],
    ) -> None:
        self._directory = runtime.directory
        self._router = router
        self._next_id = runtime.next_id
        self._clock = runtime.clock
        self._network_handles = network_handles
        self._books = ServiceBooks(runtime.directory)

    async def process(
        self, connection: Connection, arrivals: Sequence[Arrival], replies: list[Draft]
    ) -> dict[Message, KeywordOutcome]:
        """Apply the keywords of `arrivals`, in their order, inside the caller's transaction.

        Returns what each keyword was. The confirmations are added to `replies`: stored, with a
        sender; they may be enqueued after the commit, and must be given back if there is none.
        """
        matches = [
            (arrival, match) for arrival in arrivals if (match := self._match(arrival)) is not None
        ]
        if not matches:
            return {}
        keys = {
            match.message: [
                (match.message.sender_address or "", int(Channel.SMS), scope)
                for scope in scopes_at(match.record)
            ]
            for match, _ in matches
        }
        all_keys = [key for some in keys.values() for key in some]
        await recipient_rows.exclude(connection, {scope for _, _, scope in all_keys}, LOCK_TIMEOUT)
        blocked = await recipient_rows.blocked_now(connection, all_keys)
        outcomes: dict[Message, KeywordOutcome] = {}
        changes: list[BlockChange] = []
        for arrival, match in matches:
            home, *_ = some = keys[arrival.message]
            on_list = [key for key in some if key in blocked]
            # A STOP is about the whole service, even of who had stopped the number alone before.
            stops = match.entry.keyword is Keyword.STOP
            decided = self._effect(
                arrival.record, match, home in on_list if stops else bool(on_list)
            )
            if decided is NO_EFFECT:
                continue
            if decided.blocks is not None:
                for key in [home] if decided.blocks else on_list:
                    changes.append(self._change(arrival, match, key, decided))
                    (blocked.add if decided.blocks else blocked.discard)(key)
            told = self._books.of(arrival.record.service_id) is not None
            outcomes[arrival.message] = KeywordOutcome(decided.keyword, told)
            if decided.replies and (reply := self._reply(arrival, match)) is not None:
                replies.append(reply)
        await recipient_rows.change_blocks(connection, changes)
        if replies:
            await message_rows.insert(connection, [insert_row(draft.message) for draft in replies])
        return outcomes

    def give_back(self, replies: Sequence[Draft]) -> None:
        """The changes were not committed after all."""
        for draft in replies:
            self._router.release(draft.message)

    # Rules ----------------------------------------------------------------------------------

    def _match(self, arrival: Arrival) -> Match | None:
        record = arrival.record
        own = self._books.of(record.service_id)
        if own is None and record.sender.kind not in BY_DEFAULT:
            # short codes and the like: the app's own duty
            # (docs/spec/messaging-services.md#modes-of-opt-out)
            return None
        book = default_book() if own is None else own
        source = parse_destination(arrival.message.sender_address or "")
        return book.match(arrival.message.submitted_body, source.country if source else "")

    def _effect(self, record: SenderRecord, match: Match, blocked: bool) -> KeywordEffect:
        return effect(
            match,
            advanced=self._books.of(record.service_id) is not None,
            blocked=blocked,
            network=self._network_handles(record),
        )

    def _change(
        self, arrival: Arrival, match: Match, key: tuple[str, int, int], decided: KeywordEffect
    ) -> BlockChange:
        return BlockChange(
            *key,
            account_id=arrival.record.account_id,
            source="network" if self._network_handles(arrival.record) else "keyword",
            blocked=bool(decided.blocks),
            actor=arrival.message.sid,
            note=match.word,
        )

    def _reply(self, arrival: Arrival, match: Match) -> Draft | None:
        """The confirmation, from the number that was texted; None where it can't be sent."""
        destination = parse_destination(arrival.message.sender_address or "")
        text, record = match.entry.reply, arrival.record
        if destination is None or not text:
            return None
        service = self._directory.services_by_id.get(record.service_id or 0)
        wall = self._clock.wall()
        message = Message(
            self._next_id(),
            record.account_id,
            destination.e164,
            text,
            service_id=record.service_id,
            direction=Direction.OUTBOUND_REPLY,
            callback_url=service.status_callback if service is not None else None,
            valid_until=wall + (service.validity_s if service is not None else 36_000),
            flags=Flag.DESPITE_OPT_OUT,
        )
        draft = Draft(message, destination, from_record=record)
        self._router.give(draft, record.sender)
        return draft
