"""`/v1/AuthTokens` on the accounts host: a token is replaced without a moment of refusals.

A secondary token works beside the primary one; promoted, it takes its place. Webhooks are
signed with the primary (docs/spec/twilio-api.md#authentication).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.render import iso8601
from gateway.api.resources import Call, change, gone, json_response
from gateway.directory.directory import Account
from storage import credentials
from storage.database import Connection


async def create_secondary(call: Call) -> Response:
    """Raises ApiError 20409 when there is one: an app may be using it."""
    call.managers_only()
    token = f"{call.deps.random.getrandbits(128):032x}"

    async def work(connection: Connection) -> None:
        if not await credentials.set_secondary(connection, call.account.id, token):
            raise ApiError(20409, "the account has a secondary token: promote or delete it first")

    await change(call.deps, work)
    account = call.deps.directory.accounts[call.account.sid]
    return json_response(_render(call, account, "Secondary", "secondary_auth_token", token), 201)


async def delete_secondary(call: Call) -> Response:
    call.managers_only()

    async def work(connection: Connection) -> None:
        if not await credentials.set_secondary(connection, call.account.id, None):
            raise call.missing()

    await change(call.deps, work)
    return gone()


async def promote(call: Call) -> Response:
    call.managers_only()

    async def work(connection: Connection) -> None:
        if not await credentials.promote_secondary(connection, call.account.id):
            raise call.missing()

    await change(call.deps, work)
    account = call.deps.directory.accounts[call.account.sid]
    return json_response(_render(call, account, "Promote", "auth_token", account.auth_token))


def _render(call: Call, account: Account, path: str, field: str, token: str) -> dict[str, Any]:
    return {
        "account_sid": account.sid,
        field: token,
        "date_created": iso8601(account.updated_at),
        "date_updated": iso8601(account.updated_at),
        "url": f"{call.origin}/v1/AuthTokens/{path}",
    }
