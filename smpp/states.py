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


class SessionState(Enum):
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
BOUND: Final = frozenset({SessionState.BOUND_TX, SessionState.BOUND_RX, SessionState.BOUND_TRX})

MOVES: Final[dict[tuple[SessionState, Move], SessionState]] = {
    (SessionState.OPEN, Move.BIND_SENT): SessionState.BINDING,
    (SessionState.BINDING, Move.ACCEPTED_TX): SessionState.BOUND_TX,
    (SessionState.BINDING, Move.ACCEPTED_RX): SessionState.BOUND_RX,
    (SessionState.BINDING, Move.ACCEPTED_TRX): SessionState.BOUND_TRX,
    **{(state, Move.UNBIND_SENT): SessionState.UNBINDING for state in BOUND},
    **{(state, Move.ENDED): SessionState.CLOSED for state in SessionState},
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

RECEIVABLE: Final[dict[SessionState, frozenset[int]]] = {
    # An SMSC that opened the connection may say who it is before we bind.
    SessionState.OPEN: _ALWAYS | {v.OUTBIND},
    SessionState.BINDING: _ALWAYS | {bind | v.RESPONSE for bind in v.BINDS} | {v.OUTBIND},
    # Receipts on a transmitter are against §2.3, and some carriers send them.
    SessionState.BOUND_TX: _ALWAYS | _RESPONSES | _DELIVERIES,
    SessionState.BOUND_RX: _ALWAYS | _RESPONSES | _DELIVERIES,
    SessionState.BOUND_TRX: _ALWAYS | _RESPONSES | _DELIVERIES,
    SessionState.UNBINDING: _ALWAYS | _RESPONSES | _DELIVERIES | {v.UNBIND_RESP},
    SessionState.CLOSED: frozenset(),
}
