"""A request to an app and its answer, as an alert keeps them."""

from __future__ import annotations

from urllib.parse import urlencode

from gateway.observe.alerts import Exchange
from gateway.webhooks.client import Answer, Hook
from gateway.webhooks.signature import signed_url

BODY_KEPT = 2_000  # octets
TEXTS = frozenset({"Body", "MessageBody"})


def exchange_of(hook: Hook, answer: Answer) -> Exchange:
    """Both, but for the text of a message: that is in its row, and goes when that goes."""
    parameters = [
        (name, f"({len(value)} characters)" if name in TEXTS and value else value)
        for name, value in hook.parameters
    ]
    return Exchange(
        hook.method,
        signed_url(hook.url),  # without credentials
        variables=urlencode(parameters, errors="replace"),
        headers=urlencode(answer.sent),
        status=answer.status,
        response_headers=urlencode(answer.headers, errors="replace"),
        response_body=answer.body[:BODY_KEPT].decode("utf-8", "replace"),
    )
