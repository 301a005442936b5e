"""What is known of a batch's recipients: their blocks and their sticky mappings.

Nothing is cached. A block must be read from the database for each message anyway, and the mapping
costs one more index probe in the same round trip: so it is always the true one, and fifty million
of them cost disk, not memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.directory.directory import Directory
from gateway.messages.message import Flag, Message
from gateway.routing.question import Channel, Mapping
from storage import recipients as recipient_rows
from storage.database import Connection
from storage.ids import Id
from storage.recipients import Reservation

OPTED_OUT = 21610
MappingKey = tuple[int, int, str]  # service, channel, recipient
# Of a block: a service, or minus a sender's id.
Scopes = frozenset[int] | set[int]
NOWHERE: Scopes = frozenset()
# How exactly the last use of a mapping is stored: to the day, or to a hundredth of the time after
# which it is void, if that is finer. Each step of it costs one more row written.
TOUCH_S = 86_400.0
TOUCHES = 100


class MappingUse(IntEnum):
    """What a message means for its recipient's sticky mapping."""

    NONE = 0
    FOLLOWED = 1
    MADE = 2


@dataclass(slots=True)
class RecipientFacts:
    """What is known of a batch's recipients, kept up to date as the batch is chosen."""

    wall: float = 0.0
    # By recipient and channel.
    blocks: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    mappings: dict[MappingKey, Mapping] = field(default_factory=dict)
    # Mappings that only their first message has used so far.
    single: set[MappingKey] = field(default_factory=set)
    # Mappings that this batch makes: the message that does.
    fresh: dict[MappingKey, Id] = field(default_factory=dict)
    reservations: dict[MappingKey, Reservation] = field(default_factory=dict)
    # Mappings that are void: the sender they named.
    dropped: dict[MappingKey, int] = field(default_factory=dict)

    def blocking(self, recipient: str) -> Scopes:
        """Where the recipient has opted out."""
        return self.blocks.get((recipient, Channel.SMS), NOWHERE) if self.blocks else NOWHERE

    def used(self, key: MappingKey, sender_id: int, ttl_s: float) -> None:
        """A message goes by the mapping that is there, which is void when unused for `ttl_s`."""
        unnoted = self.wall - self.mappings[key].last_used
        if (
            key in self.fresh
            or key in self.single
            or unnoted > TOUCH_S
            or unnoted * TOUCHES > ttl_s
        ):
            self.reservations[key] = Reservation(*key, sender_id, None)
            self.single.discard(key)

    def made(self, key: MappingKey, sender_id: int, message: Id) -> None:
        """A message makes a mapping."""
        self.mappings[key] = Mapping(sender_id, self.wall, self.wall)
        self.fresh[key] = message
        self.reservations[key] = Reservation(*key, sender_id, message)

    def void(self, key: MappingKey) -> int:
        """The mapping that is there is no longer right; the sender it named."""
        mapping = self.mappings.pop(key)
        self.reservations.pop(key, None)
        self.single.discard(key)
        if self.fresh.pop(key, None) is None:
            self.dropped[key] = mapping.sender_id
        return mapping.sender_id


def scopes_of(message: Message, directory: Directory) -> tuple[int, ...]:
    """The block-list scopes that can stop a message: its service, its sender's, the pair.

    The first is the scope that a STOP to its sender would be written to: its lock is taken.
    """
    record = directory.senders_by_id.get(message.sender_id)
    return scopes(message.service_id, message.sender_id, record.service_id if record else None)


def scopes(service_id: int | None, sender_id: int, home_id: int | None) -> tuple[int, ...]:
    """As `scopes_of`; `home_id` is the service that the sender is in."""
    found = [scope for scope in (home_id, service_id) if scope is not None]
    if sender_id:
        found.append(-sender_id)
    return tuple(dict.fromkeys(found))


def blocks_of(rows: Sequence[recipient_rows.StandingRow]) -> dict[tuple[str, int], set[int]]:
    """Scopes of the blocks by recipient and channel."""
    blocks: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for row in rows:
        if row["blocked"]:
            blocks[row["recipient"], row["channel"]].add(row["scope"])
    return blocks


def known_of(rows: Sequence[recipient_rows.StandingRow], wall: float) -> RecipientFacts:
    """The answer of the database, as choosing needs it."""
    known = RecipientFacts(wall=wall, blocks=blocks_of(rows))
    for row in rows:
        if row["blocked"] is True:
            continue
        key = (row["scope"], row["channel"], row["recipient"])
        known.mappings[key] = Mapping(
            row["sender_id"], row["created_at"].timestamp(), row["last_used"].timestamp()
        )
        if row["first_message"] is not None:
            known.single.add(key)
    return known


async def ask_blocks(
    connection: Connection, messages: Sequence[Message], directory: Directory
) -> set[Message]:
    """Which messages (with senders) must not go; the locks are held from here on."""
    held: dict[Message, tuple[int, ...]] = {
        message: scopes_of(message, directory) for message in messages
    }
    rows = await recipient_rows.blocks_and_mappings(
        connection,
        {scopes_held[0] for scopes_held in held.values()},
        list({message.recipient for message in messages}),
    )
    if not rows:
        return set()
    known = RecipientFacts(blocks=blocks_of(rows))
    return {
        message
        for message, scopes_held in held.items()
        if not message.flags & Flag.DESPITE_OPT_OUT
        and not known.blocking(message.recipient).isdisjoint(scopes_held)
    }
