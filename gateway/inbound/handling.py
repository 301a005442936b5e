"""What is still to be done with an inbound message, as the bits of its column `handling`. Pure.

Bits 0 and 1 are owed work; a column is NULL (here 0) once nothing is owed. The rest is what the
work must know and the message itself does not say: which keyword it was, and whether an app with
Advanced Opt-Out is told (`OptOutType`).
"""

from __future__ import annotations

from enum import IntEnum

WEBHOOK = 1  # its webhook is owed
AUTO_REPLY = 2  # the reply to its keyword is owed
_KEYWORD_SHIFT = 2  # bits 2 and 3
_KEYWORD_MASK = 3 << _KEYWORD_SHIFT
ADVANCED = 16  # the keyword's type is told to the webhook

OWED = WEBHOOK | AUTO_REPLY


class Keyword(IntEnum):
    """What an inbound text asks for (messaging-services §7)."""

    NONE = 0
    STOP = 1
    START = 2
    HELP = 3


def handling(
    *, webhook: bool, auto_reply: bool = False, keyword: Keyword = Keyword.NONE, told: bool = False
) -> int:
    """The column's value; 0 when nothing is owed, whatever the keyword was."""
    if not (webhook or auto_reply):
        return 0
    return (
        (WEBHOOK if webhook else 0)
        | (AUTO_REPLY if auto_reply else 0)
        | (keyword << _KEYWORD_SHIFT)
        | (ADVANCED if told else 0)
    )


def keyword_of(handling: int) -> Keyword:
    return Keyword((handling & _KEYWORD_MASK) >> _KEYWORD_SHIFT)


def opt_out_type(handling: int) -> str | None:
    """The webhook's `OptOutType`; None when the parameter is not sent (messaging-services §9.2)."""
    keyword = keyword_of(handling)
    return keyword.name if handling & ADVANCED and keyword else None


def done(handling: int, what: int) -> int:
    """The column after `what` was done; 0 when nothing more is owed."""
    rest = handling & ~what
    return rest if rest & OWED else 0
