"""A request to an app and its answer, as an alert keeps them."""

from __future__ import annotations

from urllib.parse import urlencode

from gateway.observe.alerts import Exchange
from gateway.webhooks.client import Answer, Hook
from gateway.webhooks.signature import signed_url

BODY_KEPT = 2_000  # octets


def exchange_of(hook: Hook, answer: Answer) -> Exchange:
    return Exchange(
        hook.method,
        signed_url(hook.url),  # without credentials
        variables=urlencode(hook.parameters),
        headers=urlencode(answer.sent),
        status=answer.status,
        response_headers=urlencode(answer.headers, errors="replace"),
        response_body=answer.body[:BODY_KEPT].decode("utf-8", "replace"),
    )
