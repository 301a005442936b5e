"""What a session has to tell its owner: one small class for each kind of news."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from smpp.pdu import DeliverSm, Pdu, SmeAddress, Tlvs
from smpp.states import BindType

# To the ESME -----------------------------------------------------------------


class Bound(NamedTuple):
    """The SMSC took our bind."""

    system_id: str
    interface_version: int


class BindRefused(NamedTuple):
    """The SMSC refused our bind with this command_status."""

    status: int


class Delivered(NamedTuple):
    """A message or receipt that must be answered."""

    delivery: DeliverSm


class Settled(NamedTuple):
    """Our answers to these deliveries have arrived: the peer has said something after them."""

    deliveries: tuple[DeliverSm, ...]


class Notified(NamedTuple):
    """alert_notification or outbind: news that takes no answer."""

    pdu: Pdu


# To the SMSC -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BindRequested:
    """An ESME wants to bind: accept or refuse it. `address` is what it serves, a pattern."""

    bind_type: BindType
    system_id: str
    password: str = field(repr=False)
    system_type: str
    interface_version: int
    address: SmeAddress


class SubmitsReceived(list[tuple[int, bytes]]):
    """Some submit_sm that came one behind the other: sequence_number and octets of each.

    They are not read yet (`codec.decode_submit`), and each must be answered.
    """

    __slots__ = ()


class Requested(NamedTuple):
    """Another request that must be answered: data_sm, submit_multi, query_sm, …"""

    request: Pdu


class DeliveriesTaken(list[object]):
    """Tokens of deliveries that the ESME took; the answers came one behind the other."""

    __slots__ = ()


# To both ---------------------------------------------------------------------


class Answered(NamedTuple):
    """The response to the message sent with `token`, or a generic_nack in its place.

    To an SMSC: one that refuses the delivery.
    """

    token: object
    status: int
    message_id: str
    tlvs: Tlvs


class LateAnswer(NamedTuple):
    """As Answered, after its request had been reported as TimedOut."""

    token: object
    status: int
    message_id: str
    tlvs: Tlvs


class Responded(NamedTuple):
    """The response to a `request` (query_sm, cancel_sm, replace_sm, …)."""

    token: object
    response: Pdu


class TimedOut(NamedTuple):
    """No response within response_timeout_s."""

    token: object


class Malformed(NamedTuple):
    """A PDU that could not be used, or not all of it, and why."""

    data: bytes
    reason: str


class Ended(NamedTuple):
    """The session is over: write what is left and close the connection."""

    reason: str


SessionEvent = (
    Bound
    | BindRefused
    | Answered
    | LateAnswer
    | Responded
    | TimedOut
    | Delivered
    | Settled
    | Notified
    | BindRequested
    | SubmitsReceived
    | Requested
    | DeliveriesTaken
    | Malformed
    | Ended
)
