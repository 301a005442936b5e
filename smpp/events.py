"""What a session has to tell its owner: one small class for each kind of news."""

from __future__ import annotations

from typing import NamedTuple

from smpp.pdu import DeliverSm, Pdu, Tlvs


class Bound(NamedTuple):
    """The SMSC took our bind."""

    system_id: str
    interface_version: int


class BindRefused(NamedTuple):
    """The SMSC refused our bind with this command_status."""

    status: int


class Answered(NamedTuple):
    """submit_sm_resp (or a generic_nack in its place) to the request sent with `token`."""

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


class Delivered(NamedTuple):
    """A message or receipt that must be answered."""

    delivery: DeliverSm


class Settled(NamedTuple):
    """Our answers to these deliveries have arrived: the peer has said something after them."""

    deliveries: tuple[DeliverSm, ...]


class Notified(NamedTuple):
    """alert_notification or outbind: news that takes no answer."""

    pdu: Pdu


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
    | Malformed
    | Ended
)
