"""The two references that a message has on the wire, kept as one signed number of 32 bits.

The *user message reference* tells messages apart, of whatever length: it is counted for all of them
together. The *concatenation reference* tells a handset which parts belong together: it is counted
for each pair of sender and recipient, since it may have eight bits only. One number for both cannot
be right: counted for all it repeats itself to one recipient too soon, and counted per pair it is
that of a message of one part sooner or later.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

PAIRS: Final = 100_000  # of sender and recipient, whose concatenation reference is remembered
# A run begins its references beyond what the one before it gave, if that gave fewer a second: after
# a crash two messages to one recipient must not bear the same, or their parts would be joined.
PER_S: Final = 2_048


class References:
    """One count for all messages; where parts must be joined, one for each pair as well."""

    def __init__(self, at: float) -> None:
        self._pairs: OrderedDict[tuple[int, str], int] = OrderedDict()
        self.begin(at)

    def begin(self, at: float) -> None:
        """Begin with those of a moment, which is no earlier than any of a former run's."""
        self._last = int(at * PER_S) & 0xFFFF

    def next(self, sender_id: int, recipient: str, segments: int) -> int:
        """Both references of one more message, in one number."""
        self._last = self._last % 0xFFFF + 1
        if segments == 1:
            return self._last
        pair = (sender_id, recipient)
        reference = self._pairs.pop(pair, self._last - 1) % 0xFFFF + 1
        self._pairs[pair] = reference
        if len(self._pairs) > PAIRS:
            self._pairs.popitem(last=False)
        return joined(reference, self._last)


def joined(concatenation: int, message: int) -> int:
    """Both as a column of 32 bits with a sign holds them."""
    both = (concatenation & 0xFFFF) << 16 | (message & 0xFFFF)
    return both - (1 << 32) if both >= 1 << 31 else both


def message_reference(both: int) -> int:
    """What user_message_reference says."""
    return both & 0xFFFF


def concatenation_reference(both: int) -> int:
    """What the parts bear; that of the message where none was counted."""
    return both >> 16 & 0xFFFF or both & 0xFFFF
