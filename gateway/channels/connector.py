"""The seam between the pipeline and what messages leave over: one protocol in each direction.

A `Connector` is one carrier as the pipeline sees it, whatever it speaks: whether it is up, how much
it takes now, and "send this". What became of it comes back by `Outcomes`, in the pipeline's words.
A message leaves in *segments*, bit i of a mask being segment i; what knows no segments has one.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import IntEnum, StrEnum
from typing import Final, Protocol, TypeVar

from gateway.content.encoding import Content

M_contra = TypeVar("M_contra", contravariant=True)

TIMEOUT: Final = 30410  # the answer never came, and the policy is not to send again


class Outcome(IntEnum):
    """What a carrier answered."""

    TAKEN = 0  # it is on its way there, under the name that it was given
    CONGESTED = 1  # later: the carrier is sent too much
    BUSY = 2  # later: there is no room for this recipient's just now
    REFUSED = 3  # never


class Doubt(StrEnum):
    """What is done with a message whose bytes left and whose answer is lost
    (docs/reliability.md#the-one-ambiguity)."""

    RESUBMIT = "resubmit"
    GIVE_UP = "give_up"


class Ways(Protocol):
    """What a carrier makes of texts and parts."""

    @property
    def message_tlvs(self) -> AbstractSet[int]:
        """Tags of SMPP parameters that a message may bring along."""

    def fit(self, content: Content) -> Content:
        """`content` as this carrier can take it: the same, or encoded or cut in another way."""

    def receipt_parts(self, segments: int) -> int:
        """The segments whose receipts will come (a bit mask)."""

    def answered_parts(self, answered: int, segments: int) -> int:
        """The segments that recorded answers stand for (bit masks)."""


class Connector(Protocol[M_contra]):
    """One carrier, as the pipeline sees it."""

    carrier_id: int
    reserved: int  # segments promised to messages that are being committed or claimed

    @property
    def name(self) -> str: ...

    @property
    def up(self) -> bool: ...

    @property
    def room(self) -> int:
        """Segments that may be written now and are promised to nobody."""

    @property
    def rate_now(self) -> float | None:
        """Segments per second that the carrier is given at present; None: no limit."""

    @property
    def doubt(self) -> Doubt: ...

    def submit(self, message: M_contra) -> None:
        """Write the segments that are not yet answered. What becomes of each is told."""


class Names(Protocol[M_contra]):
    """Who finds a message by the name that its carrier gave it, when that reports on it later."""

    def expect(self, message: M_contra, segment: int, name: str) -> None:
        """The segment (from 0) got its name; a report may be here already."""


class Outcomes(Protocol[M_contra]):
    """What becomes of segments, told in the order in which it happens."""

    def answered(
        self, message: M_contra, segments: int, outcome: Outcome, name: str, code: int, notes: bytes
    ) -> None:
        """The carrier answered them, under one name of its own; `code` is the public one of what
        is refused. `notes` are what the answer said besides, as it is kept with the message.
        """

    def answered_late(self, message: M_contra, segments: int, name: str) -> None:
        """Segments that had been told as lost were taken after all."""

    def lost(self, message: M_contra, segments: int, timed_out: bool) -> None:
        """The segments' bytes were written and no answer will come: nobody knows what it did."""

    def unsent(self, message: M_contra, segments: int) -> None:
        """The segments' bytes never left."""

    def room_changed(self) -> None:
        """There may be room again."""

    def rate_changed(self, carrier_id: int, lowered: bool) -> None:
        """The carrier's present rate is another; `lowered`: it is to be given a rest, too."""

    def refused(self, carrier_id: int, reason: str) -> None:
        """The carrier turned us away for what only the operator can put right."""
