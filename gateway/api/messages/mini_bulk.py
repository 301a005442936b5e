"""`POST /v1/Messages` on the preview host: up to 100 recipients, a receipt for each
(docs/spec/twilio-api.md#older-bulk-shapes)."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.idempotency import key_of
from gateway.api.messages.bulk import Recipient, accept, drafts_of, relayed, text_list
from gateway.api.resources import Call, json_response
from gateway.routing.destination import parse_destination

MOST: Final = 100
BAD_ARRAY, DUPLICATE, BODY_WITH_VARIABLES = 35133, 35134, 35127
OWN: Final = frozenset({"Messages", "To"})


async def create(call: Call) -> Response:
    """The answer comes after the commit, and names each recipient once."""
    if key_of(call) is not None:
        raise ApiError(20001, "idempotency keys are for single sends and for operations")
    request = call.json
    entries = request.get("Messages")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST:
        raise ApiError(BAD_ARRAY, f"Messages must be an array of 1 to {MOST} recipients")
    shared = {
        name: text_list(value, name)
        for name, value in request.items()
        if name not in OWN and value is not None
    }
    recipients = [_recipient(entry, shared) for entry in entries]
    numbers = [_normal(recipient.to) for recipient in recipients]
    if len(set(numbers)) != len(numbers):
        raise ApiError(DUPLICATE, "two recipients have the same To")
    elsewhere = await relayed(call, shared, recipients)
    if elsewhere is not None:
        return elsewhere
    batch = await drafts_of(call, shared, recipients)
    if batch.drafts:
        await accept(call, batch.drafts)
    return json_response(
        {
            "total_message_count": len(entries),
            "success_count": len(batch.drafts),
            "error_count": len(batch.refusals),
            "message_receipts": [
                {"to": draft.message.recipient, "sid": draft.message.sid} for draft in batch.drafts
            ],
            "failed_message_receipts": [
                {
                    "to": refusal.to,
                    "error_code": refusal.code,
                    "error_message": refusal.message,
                }
                for refusal in batch.refusals
            ],
        }
    )


def _recipient(entry: Any, shared: dict[str, list[str]]) -> Recipient:
    if not isinstance(entry, dict) or not isinstance(entry.get("To"), str):
        raise ApiError(BAD_ARRAY, "each of Messages must be an object with a To")
    body = entry.get("Body")
    if body is not None and not isinstance(body, str):
        raise ApiError(BAD_ARRAY, "Body must be a text")
    if entry.get("ContentVariables") is not None:
        if body is not None or "Body" in shared:
            raise ApiError(BODY_WITH_VARIABLES, "Body and ContentVariables exclude each other")
        raise ApiError(20001, "ContentVariables of one recipient are not supported here")
    return Recipient(entry["To"], (lambda: body) if body is not None else None)


def _normal(to: str) -> str:
    number = parse_destination(to)
    return number.e164 if number is not None else to
