"""`/Accounts`: the account and its subaccounts (docs/spec/twilio-api.md#account-inventory)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.render import API_VERSION, rfc2822_of
from gateway.api.http.resources import Call, change, json_response
from gateway.api.numbers.sender_fields import rate
from gateway.directory.directory import Account, Directory
from gateway.directory.shared_rates import mms_rate
from gateway.routing.sender_pool import SenderKind
from storage import config as config_rows
from storage.database import Connection

NAME_LIMIT = 64
MOST_DAILY = 2_000_000_000
STATUSES = ("active", "suspended", "closed")
BALANCE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,5})?")
CURRENCY = re.compile(r"[A-Z]{3}")
RATES = {
    "MessagesPerSecond": "messages_per_second",
    "MmsPerSecond": "mms_per_second",
    "TollFreeMmsPerSecond": "toll_free_mms_per_second",
}
SUBRESOURCES = {
    "applications": "Applications",
    "available_phone_numbers": "AvailablePhoneNumbers",
    "balance": "Balance",
    "incoming_phone_numbers": "IncomingPhoneNumbers",
    "keys": "Keys",
    "messages": "Messages",
    "short_codes": "SMS/ShortCodes",
}


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
        "pumping_protection": account.pumping_protection,
        "daily_messages": account.daily_messages,
        "messages_per_second": account.messages_per_second,
        "mms_per_second": mms_rate(owner, SenderKind.LONG_CODE),
        "toll_free_mms_per_second": mms_rate(owner, SenderKind.TOLL_FREE),
        "date_created": rfc2822_of(account.created_at),
        "date_updated": rfc2822_of(account.updated_at),
        "uri": f"{uri}.json",
        "subresource_uris": {name: f"{uri}/{path}.json" for name, path in SUBRESOURCES.items()},
    }


async def create(call: Call) -> Response:
    """A subaccount of the calling account. Raises ApiError 20403, 21480."""
    call.managers_only()
    if call.account.owner_id is not None:
        raise ApiError(20403, "a subaccount cannot have subaccounts")
    name = (call.form.get("FriendlyName") or "SubAccount")[:NAME_LIMIT]
    sid, token = call.new_sid("AC"), f"{call.deps.random.getrandbits(128):032x}"
    owner_id = call.account.id

    async def work(connection: Connection) -> None:
        await config_rows.insert_account(
            connection, sid=sid, owner_id=owner_id, friendly_name=name, auth_token=token
        )
        try:
            most = call.deps.subaccount_limit
            await config_rows.check_held(connection, "subaccount_limit", most, owner_id)
        except config_rows.AtLimit:
            raise ApiError(21480) from None

    await change(call.deps, work)
    return json_response(render(call.deps.directory.accounts[sid], call.deps.directory), 201)


async def list_(call: Call) -> Response:
    call.managers_only()
    accounts = [
        account
        for account in call.deps.directory.accounts_by_id.values()
        if call.account.id in (account.id, account.owner_id)
        and call.filter("FriendlyName") in (None, account.friendly_name)
        and call.filter("Status") in (None, account.status)
    ]
    return call.listed_by_sid(
        "accounts", accounts, lambda account: render(account, call.deps.directory)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(_target(call), call.deps.directory))


async def update(call: Call) -> Response:
    """FriendlyName, and (a subaccount's, by its owner) Status: 21475, 21477, 21479.

    `DebuggerUrl` is an extension (the account's Debugger webhook), and so are `Balance` and
    `Currency`: what the operator's billing says (see `balance`).
    """
    account = _target(call)
    values: dict[str, Any] = {}
    if name := call.form.get("FriendlyName"):
        values["friendly_name"] = name[:NAME_LIMIT]
    status = call.form.get("Status")
    if status is not None:
        if status not in STATUSES:
            raise ApiError(21475)
        if account.owner_id is None:
            raise ApiError(21477)
        if account.id == call.account.id:
            raise ApiError(20403, "an account cannot change its own status")
        values["status"] = status
    if (debugger_url := call.form.url("DebuggerUrl", 21402)) is not None:
        values["debugger_url"] = debugger_url or None
    values |= _billing(call) | _protection(call) | _rates(call, account)

    async def work(connection: Connection) -> None:
        opens = values.get("status", "closed") != "closed"
        # Asked here and not before: another request may be closing it.
        if opens and await config_rows.is_closed(connection, account.id):
            raise ApiError(21479)
        await config_rows.update_account(connection, account.id, values)

    if values:
        await change(call.deps, work)
    return json_response(render(call.deps.directory.accounts[account.sid], call.deps.directory))


async def balance(call: Call) -> Response:
    """The account's balance; a subaccount shows its parent's, as it has none of its own."""
    account = call.account
    owner = call.deps.directory.accounts_by_id[account.owner_id or account.id]
    return json_response(
        {
            "account_sid": account.sid,
            "balance": f"{owner.balance:.2f}",
            "currency": owner.currency,
        }
    )


def _billing(call: Call) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if text := call.form.get("Balance"):
        call.operator_only("balances are set by the operator")
        if not BALANCE.fullmatch(text):
            raise ApiError(20001, "Balance must be an amount, as 12.50")
        values["balance"] = Decimal(text)
    if currency := call.form.get("Currency"):
        call.operator_only("balances are set by the operator")
        if not CURRENCY.fullmatch(currency):
            raise ApiError(20001, "Currency must be three letters (ISO 4217)")
        values["currency"] = currency
    return values


def _protection(call: Call) -> dict[str, Any]:
    """`PumpingProtection`, and `DailyMessages` (the operator's; empty: no limit): extensions."""
    values: dict[str, Any] = {}
    if (protected := call.form.flag("PumpingProtection")) is not None:
        values["pumping_protection"] = protected
    if "DailyMessages" in call.form:
        call.operator_only("limits are set by the operator")
        given = call.form.get("DailyMessages")
        most = call.form.integer("DailyMessages", 0, MOST_DAILY, code=20001) if given else None
        values["daily_messages"] = most
    return values


def _rates(call: Call, account: Account) -> dict[str, Any]:
    """What the account and its subaccounts may send together
    (docs/spec/messaging-services.md#token-bucket), the operator's to set.

    An empty value goes back to the default: no limit, or the 50 and 25 MMS of all numbers.
    """
    values: dict[str, Any] = {}
    for parameter, column in RATES.items():
        if parameter in call.form:
            call.operator_only("rates are set by the operator")
            if account.owner_id is not None and parameter != "MessagesPerSecond":
                raise ApiError(20001, f"{parameter} is of a parent account with its subaccounts")
            values[column] = rate(call.form, parameter)
    return values


def _target(call: Call) -> Account:
    """The account of the path: the credential's own, or a subaccount of it, whatever its state."""
    call.managers_only()
    wanted = call.request.path_params["target"]
    account = call.deps.directory.acts_for(call.credential.account, wanted)
    if account is None or (call.credential.key is not None and account is not call.account):
        raise ApiError(20003)
    return account
