"""`/tandem/v1/Tables`, `SenderRegistrations`, `GeoPermissions`: facts and permissions, ours.

Registrations and permissions are each account's own; the operator sees and changes those of his
subaccounts with his own credentials, as `/tandem/v1` has no account in its paths.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway import data
from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.directory.directory import Account, Registration
from gateway.routing import alpha, tables
from storage import facts as fact_rows
from storage.database import UniqueViolation

CSV: Final = "text/csv"
STATUSES: Final = ("draft", "in_review", "approved", "rejected")


# Tables ------------------------------------------------------------------------------------


async def list_tables(call: Call) -> Response:
    call.operator_only("tables are the operator's")
    shown = []
    for name in tables.TABLES:
        row = await fact_rows.one(call.deps.pool, name)
        shown.append(
            {"name": name, "updated": iso8601(row["updated_at"]) if row is not None else None}
        )
    return json_response({"tables": shown})


async def fetch_table(call: Call) -> Response:
    """As CSV: the operator's, else the packaged one, else its header alone."""
    call.operator_only("tables are the operator's")
    name = _table(call)
    row = await fact_rows.one(call.deps.pool, name)
    table = tables.TABLES[name]
    content = row["content"] if row is not None else ""
    if row is None:
        content = data.text(table.packaged) if table.packaged else ",".join(table.columns) + "\n"
    return Response(content, media_type=CSV)


async def put_table(call: Call) -> Response:
    """Replace it whole; in force on return, in other processes a moment later. Raises 20001."""
    call.operator_only("tables are the operator's")
    name = _table(call)
    content_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != CSV:
        raise ApiError(20415, f"the body must be {CSV}")
    try:
        content = call.body.decode("utf-8-sig")
        # Ten megabytes take over a second: the loop goes on meanwhile.
        rows = await asyncio.to_thread(tables.read, name, content)
    except UnicodeDecodeError:
        raise ApiError(20001, "the table is not UTF-8") from None
    except ValueError as error:
        raise ApiError(20001, f"{name}: {error}") from None
    if "\x00" in content:
        raise ApiError(20001, "the table contains a NUL character")
    await change(call.deps, lambda connection: fact_rows.put(connection, name, content))
    return json_response({"name": name, "rows": len(rows)})


async def delete_table(call: Call) -> Response:
    """Back to the packaged one."""
    call.operator_only("tables are the operator's")
    name = _table(call)

    async def remove(connection: Any) -> None:
        await fact_rows.remove(connection, name)

    await change(call.deps, remove)
    return gone()


def _table(call: Call) -> str:
    name = str(call.request.path_params["table"])
    if name not in tables.TABLES:
        raise call.missing()
    return name


# Registrations of sender IDs ----------------------------------------------------------------


def _render(call: Call, registration: Registration) -> dict[str, Any]:
    return {
        "sid": registration.sid,
        "account_sid": call.deps.directory.accounts_by_id[registration.account_id].sid,
        "alpha_sender": registration.alpha_sender,
        "iso_country_code": registration.country,
        "status": registration.status,
        "date_created": iso8601(registration.created_at),
        "date_updated": iso8601(registration.updated_at),
    }


async def list_registrations(call: Call) -> Response:
    """The registrations that the request sees; with `AccountSid` those of one account."""
    sid = call.filter("AccountSid")
    wanted = call.named_account(sid).id if sid else None
    found = [
        registration
        for registration in call.deps.directory.registrations.values()
        if call.sees(registration.account_id) and wanted in (None, registration.account_id)
    ]
    return call.listed_by_sid("sender_registrations", found, partial(_render, call))


async def create_registration(call: Call) -> Response:
    """`AlphaSender`, `IsoCountryCode`, `Status`, for `AccountSid` (default: the caller); approved
    only by the operator.
    """
    account = call.named_account(call.form.get("AccountSid"))
    sender, country = call.form.get("AlphaSender") or "", call.form.get("IsoCountryCode") or ""
    if not alpha.is_alpha_sender(sender):
        raise unreadable(21709, sender)
    if country not in alpha.packaged():
        raise ApiError(20001, "IsoCountryCode must be an ISO code of a country")
    sid = call.new_sid("RG")
    values = {
        "sid": sid,
        "account_id": account.id,
        "alpha_sender": sender,
        "country": country,
        "status": _status(call) or "draft",
    }
    add = adding(
        call.deps,
        lambda c: fact_rows.insert_registration(c, values),
        account.id,
        "sender_registrations",
    )
    try:
        await change(call.deps, add)
    except UniqueViolation:
        raise ApiError(20409, f"{sender} has a registration for {country}") from None
    return json_response(_render(call, call.deps.directory.registrations[sid]), 201)


async def fetch_registration(call: Call) -> Response:
    return json_response(_render(call, _registration(call)))


async def update_registration(call: Call) -> Response:
    registration, status = _registration(call), _status(call)
    if status is None:
        raise ApiError(20001, "Status is missing")
    await change(call.deps, lambda c: fact_rows.update_registration(c, registration.id, status))
    return json_response(_render(call, call.deps.directory.registrations[registration.sid]))


async def delete_registration(call: Call) -> Response:
    registration = _registration(call)
    await change(call.deps, lambda c: fact_rows.delete_registration(c, registration.id))
    return gone()


def _registration(call: Call) -> Registration:
    sid = call.request.path_params["sid"]
    registration = call.deps.directory.registrations.get(sid[:2].upper() + sid[2:].lower())
    if registration is None or not call.sees(registration.account_id):
        raise call.missing()
    return registration


def _status(call: Call) -> str | None:
    status = call.form.get("Status")
    if status is None:
        return None
    if status not in STATUSES:
        raise ApiError(20001, f"Status must be one of {', '.join(STATUSES)}")
    if status in ("approved", "rejected"):
        call.operator_only("registrations are approved by the operator")
    return status


# Geographic permissions ---------------------------------------------------------------------


async def fetch_permissions(call: Call) -> Response:
    """The countries that the account, or that of `AccountSid`, does not send to; all others are
    open.
    """
    return _permissions(call, call.named_account(call.filter("AccountSid")))


async def update_permissions(call: Call) -> Response:
    """`IsoCountryCode` (repeatable) and `Enabled`, for `AccountSid` (default: the caller).

    Raises ApiError 20001.
    """
    call.managers_only()
    account = call.named_account(call.form.get("AccountSid"))
    countries, enabled = call.form.all("IsoCountryCode"), call.form.flag("Enabled")
    unknown = [country for country in countries if country not in alpha.packaged()]
    if not countries or unknown:
        raise ApiError(20001, "IsoCountryCode must be ISO codes of countries")
    if enabled is None:
        raise ApiError(20001, "Enabled must be true or false")
    closed = account.closed_countries
    closed = closed - set(countries) if enabled else closed | set(countries)
    await change(call.deps, lambda c: fact_rows.close_countries(c, account.id, sorted(closed)))
    return _permissions(call, call.deps.directory.accounts_by_id[account.id])


def _permissions(call: Call, account: Account) -> Response:
    closed = sorted(account.closed_countries)
    return json_response({"account_sid": account.sid, "closed_countries": closed})
