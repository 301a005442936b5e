"""A message on its way in, with what choosing its sender needs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from gateway.content.shortening import ShortLink
from gateway.directory.directory import Directory, SenderRecord
from gateway.messages.message import Flag, Message
from gateway.recipients.recipients import MappingKey
from gateway.routing.destination import Destination
from gateway.routing.question import Channel


class Phase(IntEnum):
    """How far a draft has come on its way to a sender, in the order of that way."""

    NEW = 0  # what its choice needs from outside is not asked for yet
    AWAITED = 1  # that is waited for, or earlier mail to its recipient that does so
    READY = 2  # it is there, or nothing was needed
    CALLED = 3  # it has waited without a sender: one has time for it now


@dataclass(slots=True, eq=False)
class Draft:
    """A validated request."""

    message: Message
    destination: Destination
    from_record: SenderRecord | None = None  # of an explicit From, where we have it
    from_address: str | None = None  # the From given along with a service
    smart: bool | None = None  # SmartEncoded; None: as the service says
    phase: Phase = Phase.NEW
    weighed: bool = False  # pumping and the day's limit were asked for: it has its place
    network: str = ""  # the recipient's, where it was looked up
    links: Sequence[ShortLink] = ()  # short ones in its text, stored along with it
    link_domain: str = ""  # its name, of those links
    long_body: str | None = None  # the text before its links were shortened
    told_at_once: bool = False  # a plain From to a blocked recipient is refused, not stored (21610)

    @classmethod
    def again(
        cls, message: Message, destination: Destination, directory: Directory, body: str
    ) -> Self:
        """Of a stored message that is to be chosen a sender for; `body` as it is stored.

        Whether to apply Smart Encoding was decided when it was accepted: the text shows it, but
        for an MMS, which may yet become an SMS.
        """
        extras = message.extras or {}
        smart: bool | None = extras.get("smart") if message.as_mms else body != message.text
        given = extras.get("from")
        record = directory.senders_by_address.get(given) if given else None
        if record is not None and record.account_id != message.account_id:
            record = None
        return cls(message, destination, from_record=record, from_address=given, smart=smart)

    @property
    def awaits_media(self) -> bool:
        return bool(self.message.flags & Flag.AWAITS_MEDIA)

    @property
    def key(self) -> MappingKey:
        """Of the recipient's sticky mapping."""
        message = self.message
        return (message.service_id or 0, Channel.SMS, message.recipient)
