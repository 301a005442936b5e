"""Registrations that are made with Twilio's own registry: lists of nothing
(docs/spec/twilio-api.md#other-v1-endpoints).

Brands of A2P and verifications of toll-free numbers are kept elsewhere, if anywhere. An app that
looks for its own finds none, and goes on.
"""

from __future__ import annotations

from starlette.responses import Response

from gateway.api.http.resources import Call


async def brands(call: Call) -> Response:
    return _nothing(call, "data")


async def verifications(call: Call) -> Response:
    return _nothing(call, "verifications")


def _nothing(call: Call, key: str) -> Response:
    return call.page_shown(key, [])
