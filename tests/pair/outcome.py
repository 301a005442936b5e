"""What a row ended with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    row: str
    accepted: int = 0
    refused: int = 0
    """Answered with 503 or 429."""
    unanswered: int = 0
    """Timed out, or ended without an answer."""
    lost: int = 0
    """Answered with 201, and not there or not sent."""
    stranded: int = 0
    """Waited in nobody's memory."""
    doubled: int = 0
    """Taken twice by the carrier, and not marked; or taken, and without a row."""
    marked: int = 0
    stops: int = 0
    """STOPs that were written to the second gateway."""
    stops_answered: int = 0
    sent_after_stop: int = 0
    ended: int | None = None
    """The exit status of the first gateway, where it was to end."""
    times: dict[str, float] = field(default_factory=dict)
    """In seconds from the fault."""
    notes: list[str] = field(default_factory=list)
    """What is wrong beside that."""

    @property
    def clean(self) -> bool:
        return (
            not (self.lost or self.stranded or self.doubled or self.sent_after_stop or self.notes)
            and self.stops_answered == self.stops > 0
        )
