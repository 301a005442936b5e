"""Every state of a session, every move between them, and what may arrive in each.

SMPP 3.4 §2.2 and §2.3 as two tables. A pair that is not in `MOVES` cannot
happen; a command that is not in `RECEIVABLE` is answered with an error and
reported, and changes nothing.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from smpp import vocabulary as v


class BindType(Enum):
    """What a bind may carry (SMPP 3.4 §2.1)."""

    TRANSMITTER = v.BIND_TRANSMITTER
    RECEIVER = v.BIND_RECEIVER
    TRANSCEIVER = v.BIND_TRANSCEIVER


class State(Enum):
    """Where a session stands (SMPP 3.4 §2.2)."""

    OPEN = auto()
    BINDING = auto()
    BOUND_TX = auto()
    BOUND_RX = auto()
    BOUND_TRX = auto()
    UNBINDING = auto()
    CLOSED = auto()


class Move(Enum):
    """What can happen to a session's state."""

    BIND_SENT = auto()
    ACCEPTED_TX = auto()
    ACCEPTED_RX = auto()
    ACCEPTED_TRX = auto()
    UNBIND_SENT = auto()
    ENDED = auto()


ACCEPTED: Final = {
    BindType.TRANSMITTER: Move.ACCEPTED_TX,
    BindType.RECEIVER: Move.ACCEPTED_RX,
    BindType.TRANSCEIVER: Move.ACCEPTED_TRX,
}
BOUND: Final = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})

MOVES: Final[dict[tuple[State, Move], State]] = {
    (State.OPEN, Move.BIND_SENT): State.BINDING,
    (State.BINDING, Move.ACCEPTED_TX): State.BOUND_TX,
    (State.BINDING, Move.ACCEPTED_RX): State.BOUND_RX,
    (State.BINDING, Move.ACCEPTED_TRX): State.BOUND_TRX,
    **{(state, Move.UNBIND_SENT): State.UNBINDING for state in BOUND},
    **{(state, Move.ENDED): State.CLOSED for state in State},
}

_ALWAYS: Final = frozenset({v.GENERIC_NACK, v.ENQUIRE_LINK, v.ENQUIRE_LINK_RESP, v.UNBIND})
_RESPONSES: Final = frozenset(
    {
        v.SUBMIT_SM_RESP,
        v.SUBMIT_MULTI | v.RESPONSE,
        v.DATA_SM_RESP,
        v.QUERY_SM | v.RESPONSE,
        v.CANCEL_SM | v.RESPONSE,
        v.REPLACE_SM | v.RESPONSE,
    }
)
_DELIVERIES: Final = frozenset({v.DELIVER_SM, v.DATA_SM, v.ALERT_NOTIFICATION})

RECEIVABLE: Final[dict[State, frozenset[int]]] = {
    # An SMSC that opened the connection may say who it is before we bind.
    State.OPEN: _ALWAYS | {v.OUTBIND},
    State.BINDING: _ALWAYS | {bind | v.RESPONSE for bind in v.BINDS} | {v.OUTBIND},
    # Receipts on a transmitter are against §2.3, and some carriers send them.
    State.BOUND_TX: _ALWAYS | _RESPONSES | _DELIVERIES,
    State.BOUND_RX: _ALWAYS | _RESPONSES | _DELIVERIES,
    State.BOUND_TRX: _ALWAYS | _RESPONSES | _DELIVERIES,
    State.UNBINDING: _ALWAYS | _RESPONSES | _DELIVERIES | {v.UNBIND_RESP},
    State.CLOSED: frozenset(),
}
