"""The parameters of an inbound webhook (docs/spec/messaging-services.md#inbound-webhook-request,
docs/spec/twilio-api.md#inbound-request-parameters)."""

from __future__ import annotations

from typing import Final

from gateway.directory.directory import Directory
from gateway.inbound.geography import Region, place_of
from gateway.inbound.owed_webhook import opt_out_type
from gateway.messages.message import Message
from gateway.webhooks.signature import Parameters

API_VERSION: Final = "2010-04-01"


def parameters_of(message: Message, directory: Directory) -> Parameters:
    """The form that tells an app of an inbound message."""
    sid = message.sid
    sender = message.sender_address or ""
    pairs = [
        *_place("To", place_of(message.recipient)),
        ("SmsMessageSid", sid),
        ("NumMedia", "0"),
        ("SmsSid", sid),
        ("SmsStatus", "received"),
        ("Body", message.submitted_body),
        *_place("From", place_of(sender)),
        ("To", message.recipient),
        ("NumSegments", str(message.segments)),
        ("MessageSid", sid),
        ("AccountSid", directory.accounts_by_id[message.account_id].sid),
        ("From", sender),
        ("ApiVersion", API_VERSION),
    ]
    service = directory.services_by_id.get(message.service_id or 0)
    if service is not None:
        pairs.append(("MessagingServiceSid", service.sid))
    if (kind := opt_out_type(message.handling)) is not None:
        pairs.append(("OptOutType", kind))
    return pairs


def _place(whose: str, place: Region) -> list[tuple[str, str]]:
    """The country and, for numbers of the North American plan, city, state and zip."""
    if not place.in_nanp:
        return [(f"{whose}Country", place.country)]
    return [
        (f"{whose}Country", place.country),
        (f"{whose}State", place.state),
        (f"{whose}City", place.city),
        (f"{whose}Zip", place.zip),
    ]
