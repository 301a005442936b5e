"""Which handler an inbound message has (docs/spec/messaging-services.md#which-handler)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.directory.directory import SenderRecord, Service
from gateway.inbound.owed_webhook import InboundMode, WebhookTarget, destination_of, inbound_mode
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NUMBER = {"sms_url": "https://n.example/", "sms_method": "GET", "sms_fallback_url": "https://f/"}
SERVICE = {"inbound_request_url": "https://s.example/", "fallback_url": "https://g/"}
OFF = {"use_inbound_webhook_on_number": False}


def record(service_id: int | None = 1, **settings: Any) -> SenderRecord:
    sender = Sender(1, "PN1", SenderKind.LONG_CODE, "+447700900101", "GB")
    return SenderRecord(sender, 1, "one", False, settings, NOW, NOW, service_id)


def service(**settings: Any) -> Service:
    return Service(1, "MG1", NOW, NOW, 1, "service", settings, SenderPool((), ServiceSettings()))


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, InboundMode.DEFER),
        (SERVICE, InboundMode.DEFER),
        (SERVICE | OFF, InboundMode.WEBHOOK),
        (OFF, InboundMode.DROP),
        (OFF | {"inbound_behavior": "autocreate_conversation"}, InboundMode.AUTOCREATE),
        (SERVICE | {"inbound_behavior": "service_webhook"}, InboundMode.WEBHOOK),
        (SERVICE | {"inbound_behavior": "drop"}, InboundMode.DROP),
    ],
)
def test_the_settings_of_a_service_decide(settings: dict[str, Any], mode: InboundMode) -> None:
    assert inbound_mode(record(), service(**settings)) is mode


def test_a_number_in_no_service_or_in_another_one_decides_itself() -> None:
    assert inbound_mode(record(None), None) is InboundMode.DEFER
    assert inbound_mode(record(2), service(**OFF)) is InboundMode.DEFER


def test_the_target_is_the_handlers() -> None:
    own = WebhookTarget("https://n.example/", "GET", "https://f/", "POST")
    assert destination_of(record(**NUMBER), service(**SERVICE)) == own
    assert destination_of(record(None, **NUMBER), None) == own
    assert destination_of(record(**NUMBER), service(**SERVICE, **OFF)) == WebhookTarget(
        "https://s.example/", "POST", "https://g/", "POST"
    )


@pytest.mark.parametrize(
    "settings", [{}, OFF, SERVICE | {"inbound_behavior": "autocreate_conversation"}]
)
def test_without_a_url_or_for_a_conversation_there_is_no_target(settings: dict[str, Any]) -> None:
    assert destination_of(record(), service(**settings)) is None
