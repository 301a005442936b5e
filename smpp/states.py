"""Every state of a session, every move between them, and what may arrive in each.

SMPP 3.4 §2.2 and §2.3 as tables. A pair that is not in `MOVES` cannot happen; a
command that is not in its role's `receivable` is answered with an error and
reported, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    BIND_CAME = auto()
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
    (SessionState.OPEN, Move.BIND_CAME): SessionState.BINDING,
    (SessionState.BINDING, Move.ACCEPTED_TX): SessionState.BOUND_TX,
    (SessionState.BINDING, Move.ACCEPTED_RX): SessionState.BOUND_RX,
    (SessionState.BINDING, Move.ACCEPTED_TRX): SessionState.BOUND_TRX,
    **{(state, Move.UNBIND_SENT): SessionState.UNBINDING for state in BOUND},
    **{(state, Move.ENDED): SessionState.CLOSED for state in SessionState},
}

_ALWAYS: Final = frozenset({v.GENERIC_NACK, v.ENQUIRE_LINK, v.ENQUIRE_LINK_RESP, v.UNBIND})
_SUBMISSIONS: Final = frozenset(
    {v.SUBMIT_SM, v.SUBMIT_MULTI, v.DATA_SM, v.QUERY_SM, v.CANCEL_SM, v.REPLACE_SM}
)
_RESPONSES: Final = frozenset({command | v.RESPONSE for command in _SUBMISSIONS})
_DELIVERIES: Final = frozenset({v.DELIVER_SM, v.DATA_SM, v.ALERT_NOTIFICATION})
_DELIVERY_RESPONSES: Final = frozenset({v.DELIVER_SM_RESP, v.DATA_SM_RESP})


@dataclass(frozen=True, slots=True)
class Role:
    """One side of a session: what it is told may arrive, and what it sends."""

    peer: str
    # The request that carries its messages.
    message: int
    # The states in which it may send its messages.
    sends_in: frozenset[SessionState]
    receivable: dict[SessionState, frozenset[int]]


ESME: Final = Role(
    peer="SMSC",
    message=v.SUBMIT_SM,
    sends_in=frozenset({SessionState.BOUND_TX, SessionState.BOUND_TRX}),
    receivable={
        # An SMSC that opened the connection may say who it is before we bind.
        SessionState.OPEN: _ALWAYS | {v.OUTBIND},
        SessionState.BINDING: _ALWAYS | {bind | v.RESPONSE for bind in v.BINDS} | {v.OUTBIND},
        # Receipts on a transmitter are against §2.3, and some carriers send them.
        SessionState.BOUND_TX: _ALWAYS | _RESPONSES | _DELIVERIES,
        SessionState.BOUND_RX: _ALWAYS | _RESPONSES | _DELIVERIES,
        SessionState.BOUND_TRX: _ALWAYS | _RESPONSES | _DELIVERIES,
        SessionState.UNBINDING: _ALWAYS | _RESPONSES | _DELIVERIES | {v.UNBIND_RESP},
        SessionState.CLOSED: frozenset(),
    },
)
SMSC: Final = Role(
    peer="ESME",
    message=v.DELIVER_SM,
    sends_in=frozenset({SessionState.BOUND_RX, SessionState.BOUND_TRX}),
    receivable={
        SessionState.OPEN: _ALWAYS | v.BINDS,
        # What comes behind a bind waits until it is accepted or refused.
        SessionState.BINDING: frozenset(),
        SessionState.BOUND_TX: _ALWAYS | _SUBMISSIONS,
        SessionState.BOUND_RX: _ALWAYS | _DELIVERY_RESPONSES,
        SessionState.BOUND_TRX: _ALWAYS | _SUBMISSIONS | _DELIVERY_RESPONSES,
        # Of this, what the bound state before it takes.
        SessionState.UNBINDING: _ALWAYS | _SUBMISSIONS | _DELIVERY_RESPONSES | {v.UNBIND_RESP},
        SessionState.CLOSED: frozenset(),
    },
)
