"""What is to be done with an inbound message: who handles it, and what is still owed. Pure.

What is owed stands in the message's column `handling`: NULL (here 0) once nothing is. Beside the
webhook that is owed it says what that must know and the message itself does not say: which
keyword it was, and whether an app with Advanced Opt-Out is told (`OptOutType`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from gateway.directory.directory import SenderRecord, Service
from gateway.messages.message import WEBHOOK_OWED
from gateway.opt_out.keywords import Keyword

WEBHOOK = WEBHOOK_OWED  # its webhook is owed
_KEYWORD_SHIFT = 2  # bits 2 and 3
_KEYWORD_MASK = 3 << _KEYWORD_SHIFT
ADVANCED = 16  # the keyword's type is told to the webhook


def handling(*, webhook: bool, keyword: Keyword = Keyword.NONE, told: bool = False) -> int:
    """The column's value; 0 when nothing is owed, whatever the keyword was."""
    if not webhook:
        return 0
    return WEBHOOK | (keyword << _KEYWORD_SHIFT) | (ADVANCED if told else 0)


def keyword_of(handling: int) -> Keyword:
    return Keyword((handling & _KEYWORD_MASK) >> _KEYWORD_SHIFT)


def opt_out_type(handling: int) -> str | None:
    """The webhook's `OptOutType`; None when the parameter is not sent
    (docs/spec/messaging-services.md#inbound-webhook-request)."""
    keyword = keyword_of(handling)
    return keyword.name if handling & ADVANCED and keyword else None


class InboundMode(StrEnum):
    """Which handler an inbound message has (docs/spec/messaging-services.md#which-handler)."""

    DEFER = "defer_to_sender"
    WEBHOOK = "service_webhook"
    AUTOCREATE = "autocreate_conversation"
    DROP = "drop"  # not stored, not shown; opt-out processing runs all the same


def inbound_mode(record: SenderRecord, service: Service | None) -> InboundMode:
    """The handler of what is written to a number; of one in no service, its own."""
    if service is None or record.service_id != service.id:
        return InboundMode.DEFER
    return InboundMode(service.inbound_behavior)


class WebhookTarget(NamedTuple):
    """Where a webhook goes, and where if that fails."""

    url: str
    method: str
    fallback_url: str | None
    fallback_method: str


def destination_of(record: SenderRecord, service: Service | None) -> WebhookTarget | None:
    """The webhook of what is written to a number; None where there is none."""
    mode = inbound_mode(record, service)
    if mode is InboundMode.WEBHOOK and service is not None:
        return _target(service.settings, "inbound_request_url", "inbound_method", "fallback")
    if mode is InboundMode.DEFER:
        return _target(record.webhooks, "sms_url", "sms_method", "sms_fallback")
    return None


def _target(
    settings: Mapping[str, Any], url: str, method: str, fallback: str
) -> WebhookTarget | None:
    if not settings.get(url):
        return None
    return WebhookTarget(
        settings[url],
        settings.get(method, "POST"),
        settings.get(f"{fallback}_url"),
        settings.get(f"{fallback}_method", "POST"),
    )
