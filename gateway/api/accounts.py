"""`/Accounts`: the account and its subaccounts (twilio-api §6)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api.auth import authenticate
from gateway.api.errors import ApiError
from gateway.api.paging import cut, envelope_2010, in_memory
from gateway.api.render import API_VERSION, rfc2822_of
from gateway.api.resources import Call, answer, change
from gateway.dispatch.directory import Account, Directory
from storage import config as config_rows

NAME_LIMIT = 64
STATUSES = ("active", "suspended", "closed")
SUBRESOURCES = ("Messages", "IncomingPhoneNumbers")


def render(account: Account, directory: Directory) -> dict[str, Any]:
    owner = directory.accounts_by_id[account.owner_id or account.id]
    uri = f"/{API_VERSION}/Accounts/{account.sid}"
    return {
        "sid": account.sid,
        "owner_account_sid": owner.sid,
        "friendly_name": account.friendly_name,
        "status": account.status,
        "type": "Full",
        "auth_token": account.auth_token,
        "debugger_url": account.debugger_url,
        "date_created": rfc2822_of(account.created_at),
        "date_updated": rfc2822_of(account.updated_at),
        "uri": f"{uri}.json",
        "subresource_uris": {
            "messages": f"{uri}/Messages.json",
            "incoming_phone_numbers": f"{uri}/IncomingPhoneNumbers.json",
        },
    }


async def create(call: Call) -> Response:
    """A subaccount of the calling account."""
    if call.account.owner_id is not None:
        raise ApiError(20403, "a subaccount cannot have subaccounts")
    name = (call.form.get("FriendlyName") or "SubAccount")[:NAME_LIMIT]
    sid, token = call.new_sid("AC"), f"{call.deps.random.getrandbits(128):032x}"
    owner_id = call.account.id
    await change(
        call.deps,
        lambda connection: config_rows.insert_account(
            connection, sid=sid, owner_id=owner_id, friendly_name=name, auth_token=token
        ),
    )
    return answer(render(call.deps.directory.accounts[sid], call.deps.directory), 201)


async def list_(call: Call) -> Response:
    accounts = [
        account
        for account in call.deps.directory.accounts_by_id.values()
        if call.account.id in (account.id, account.owner_id)
        and call.filter("FriendlyName") in (None, account.friendly_name)
        and call.filter("Status") in (None, account.status)
    ]
    request = call.page
    rest = in_memory(accounts, request, lambda account: account.sid)
    page, token = cut(rest, request, lambda account: account.sid)
    rows = [render(account, call.deps.directory) for account in page]
    return answer(envelope_2010("accounts", rows, call.path, request, token))


async def fetch(call: Call) -> Response:
    return answer(render(_target(call), call.deps.directory))


async def update(call: Call) -> Response:
    """FriendlyName, (a subaccount's, by its owner) Status, and our DebuggerUrl."""
    account = _target(call)
    name = call.form.get("FriendlyName")
    status = call.form.get("Status")
    if status is not None and status not in STATUSES:
        raise ApiError(20001, f"Status must be one of {', '.join(STATUSES)}")
    if status not in (None, account.status) and account.id == call.account.id:
        raise ApiError(20403, "an account cannot change its own status")
    debugger_url = call.form.url("DebuggerUrl", 21402)
    if debugger_url is None:
        debugger_url = account.debugger_url
    await change(
        call.deps,
        lambda connection: config_rows.update_account(
            connection,
            account.id,
            friendly_name=(name or account.friendly_name)[:NAME_LIMIT],
            status=status or account.status,
            debugger_url=debugger_url or None,
        ),
    )
    return answer(render(call.deps.directory.accounts[account.sid], call.deps.directory))


def _target(call: Call) -> Account:
    """The account of the path: the credential's own, or a subaccount of it, whatever its state."""
    authorization = call.request.headers.get("authorization", "")
    credential = authenticate(call.deps.directory, authorization.encode())
    account = call.deps.directory.acts_for(credential, call.request.path_params["target"])
    if account is None:
        raise ApiError(20003)
    return account
