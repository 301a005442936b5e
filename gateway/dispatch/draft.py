"""A message on its way in, with what choosing its sender needs beside it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.dispatch.directory import SenderRecord
from gateway.dispatch.message import Message
from gateway.routing.destination import Destination
from gateway.routing.question import Channel

MappingKey = tuple[int, int, str]  # service, channel, recipient


@dataclass(slots=True)
class Draft:
    """A validated request."""

    message: Message
    destination: Destination
    sender: SenderRecord | None = None  # of an explicit From, where we have it
    explicit: str | None = None  # the From given along with a service
    smart: bool | None = None  # SmartEncoded; None: as the service says
    its_turn: bool = False  # it has waited in the lobby: a sender has time for it now
    told_at_once: bool = False  # a plain From to a blocked recipient is refused, not stored (21610)

    @property
    def key(self) -> MappingKey:
        """Of the recipient's sticky mapping."""
        message = self.message
        return (message.service_id or 0, Channel.SMS, message.recipient)
