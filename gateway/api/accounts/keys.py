"""`/Keys`: API keys (docs/spec/twilio-api.md#account-inventory). The secret is told once, at
creation."""

from __future__ import annotations

import string
from hashlib import sha256
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.render import rfc2822_of
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.directory.directory import ApiKey
from storage import credentials

NAME_LIMIT: Final = 64
SECRET_LENGTH: Final = 32
ALPHABET: Final = string.ascii_letters + string.digits
KEY_TYPES: Final = ("standard", "main")


def render(key: ApiKey) -> dict[str, Any]:
    return {
        "sid": key.sid,
        "friendly_name": key.friendly_name,
        "date_created": rfc2822_of(key.created_at),
        "date_updated": rfc2822_of(key.updated_at),
    }


async def create(call: Call) -> Response:
    """A Standard key; with `KeyType=main` (an extension) one that manages accounts and keys."""
    call.managers_only()
    key_type = (call.form.get("KeyType") or "standard").lower()
    if key_type not in KEY_TYPES:
        raise ApiError(20001, f"KeyType must be one of {', '.join(KEY_TYPES)}")
    secret = "".join(call.deps.random.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    sid = call.new_sid("SK")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "friendly_name": (call.form.get("FriendlyName") or "")[:NAME_LIMIT],
        "main": key_type == "main",
        "secret_hash": sha256(secret.encode()).digest(),
    }
    add = adding(call.deps, lambda c: credentials.insert_key(c, values), call.account.id, "keys")
    await change(call.deps, add)
    return json_response({**render(call.deps.directory.keys[sid]), "secret": secret}, 201)


async def list_(call: Call) -> Response:
    call.managers_only()
    keys = [key for key in call.deps.directory.keys.values() if key.account_id == call.account.id]
    return call.listed_by_sid("keys", keys, render)


async def fetch(call: Call) -> Response:
    return json_response(render(_key(call)))


async def update(call: Call) -> Response:
    key = _key(call)
    name = call.form.get("FriendlyName")
    if name is not None:
        await change(call.deps, lambda c: credentials.rename_key(c, key.id, name[:NAME_LIMIT]))
    return json_response(render(call.deps.directory.keys[key.sid]))


async def delete(call: Call) -> Response:
    key = _key(call)
    await change(call.deps, lambda connection: credentials.delete_key(connection, key.id))
    return gone()


def _key(call: Call) -> ApiKey:
    call.managers_only()
    key = call.deps.directory.keys.get("SK" + call.request.path_params["sid"][2:].lower())
    if key is None or key.account_id != call.account.id:
        raise call.missing()
    return key
