"""The two references that a message has on the wire, kept as one signed number of 32 bits.

The *user message reference* tells messages apart, of whatever length: it is counted for all of them
together. The *concatenation reference* tells a handset which parts belong together: it is counted
for each pair of sender and recipient, since it may have eight bits only. One number for both cannot
be right: counted for all it repeats itself to one recipient too soon, and counted per pair it is
that of a message of one part sooner or later.
"""

from __future__ import annotations


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
