"""A request to an app and its answer, as an alert keeps them.

Without the text of a message: that is in its row, and goes when that goes. An app that fails often
quotes what it was told, so it is looked for in the answer, too.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_plus, urlencode

from gateway.observe.alerts import Exchange
from gateway.webhooks.client import WebhookRequest, WebhookResponse
from gateway.webhooks.signature import signed_url

BODY_KEPT: Final = 2_000  # characters
TEXTS: Final = frozenset({"Body", "MessageBody"})  # parameters


def exchange_of(hook: WebhookRequest, answer: WebhookResponse) -> Exchange:
    texts = [value for name, value in hook.parameters if name in TEXTS and value]
    parameters = [
        (name, _instead(value) if name in TEXTS and value else value)
        for name, value in hook.parameters
    ]
    return Exchange(
        hook.method,
        signed_url(hook.url),  # without credentials
        variables=urlencode(parameters, errors="replace"),
        headers=urlencode(answer.sent, errors="replace"),
        status=answer.status,
        response_headers=_without(texts, urlencode(answer.headers, errors="replace")),
        response_body=_without(texts, answer.body.decode("utf-8", "replace"))[:BODY_KEPT],
    )


def _instead(text: str) -> str:
    return f"({len(text)} characters)"


def _without(texts: list[str], kept: str) -> str:
    for text in texts:
        for form in (text, quote_plus(text, errors="replace")):
            kept = kept.replace(form, _instead(text))
    return kept
