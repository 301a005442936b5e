"""`/tandem/v1/OptOuts/Recipients` and `…/Log`: the block list in the operator's hands (ours).

A block of the network itself (toll-free numbers in the US and Canada) can be seen here, and not be
taken away: only the recipient can, with START
(docs/spec/messaging-services.md#effects-of-keywords).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from gateway.api.http.values import read_time, read_whole
from gateway.opt_out.scope import Scoped, scope_named
from gateway.routing.destination import parse_destination
from gateway.routing.question import Channel
from storage import block_list, recipients
from storage.block_list import BlockKey, BlockRow, LoggedBlockRow
from storage.recipients import BlockChange

WHY: Final = "the block list is the operator's"
START: Final[BlockKey] = ("", 0, 0)
NOTE_LIMIT: Final = 200
OF_NETWORK: Final = "the network itself has blocked this; only the recipient can lift it"


def render(call: Call, row: BlockRow) -> dict[str, Any]:
    directory = call.deps.directory
    account = directory.accounts_by_id.get(row["account_id"])
    return {
        "to": row["recipient"],
        "channel": Channel(row["channel"]).name.lower(),
        "account_sid": account.sid if account is not None else None,
        **scope_shown(call, row["scope"]),
        "source": row["source"],
        "date_created": iso8601(row["at"]),
        "url": f"{call.origin}/v1/OptOuts/Recipients/{row['recipient']}",
    }


def scope_shown(call: Call, scope: int) -> dict[str, str | None]:
    """A scope by its names: a service's, or a number's; neither when that is gone."""
    directory = call.deps.directory
    service = directory.services_by_id.get(scope)
    record = directory.senders_by_id.get(-scope)
    return {
        "messaging_service_sid": service.sid if service is not None else None,
        "from": record.sender.address if record is not None else None,
    }


async def list_(call: Call) -> Response:
    """By recipient; filters `To`, `AccountSid`, a scope (as in `add`), `Source`, `Since`."""
    call.operator_only(WHY)
    request = call.page
    scoped = _scope_of(call, call.filter("MessagingServiceSid") or call.filter("From"))
    async with call.listing() as lists:
        rows = await block_list.page(
            lists,
            after=_key_of(request.key),
            back=request.back,
            most=request.size + 1,
            recipient=_number(call.filter("To")),
            account_id=_account(call),
            scope=scoped.scope if scoped is not None else None,
            source=call.filter("Source"),
            since=_time(call.filter("Since")),
        )
    return call.listed("recipients", rows, _token_of, partial(render, call))


async def fetch(call: Call) -> Response:
    """Every block of one recipient."""
    call.operator_only(WHY)
    rows = await _of_recipient(call)
    return json_response(
        {"to": rows[0]["recipient"], "blocks": [render(call, row) for row in rows]}
    )


async def add(call: Call) -> Response:
    """Block `To` for a `MessagingServiceSid` or a `From`; the same again changes nothing."""
    call.operator_only(WHY)
    recipient = _number(call.form.get("To"))
    scoped = _scope_of(call, call.form.get("MessagingServiceSid") or call.form.get("From"))
    if recipient is None or scoped is None:
        raise ApiError(20001, "To, and MessagingServiceSid or From, are needed")
    key = (recipient, int(Channel.SMS), scoped.scope)
    async with call.deps.pool.acquire() as connection, connection.transaction():
        change = operator_change(call, key, scoped.account_id, True, note_of(call))
        await recipients.change_blocks(connection, [change])
    rows = await block_list.page(
        call.deps.pool, after=START, most=1, recipient=recipient, scope=scoped.scope
    )
    if not rows:  # lifted by its recipient just now
        raise ApiError(20409)
    return json_response(render(call, rows[0]), 201)


async def remove(call: Call) -> Response:
    """Lift the block for a `MessagingServiceSid` or `From` of the query; without either, all."""
    call.operator_only(WHY)
    scoped = _scope_of(call, call.filter("MessagingServiceSid") or call.filter("From"))
    rows = [
        row for row in await _of_recipient(call) if scoped is None or row["scope"] == scoped.scope
    ]
    if not rows:
        raise call.missing()
    accounts = {_key(row): row["account_id"] for row in rows}
    async with call.deps.pool.acquire() as connection, connection.transaction():
        await recipients.exclude(connection, {row["scope"] for row in rows})
        if await block_list.held_by_network(connection, list(accounts)):
            raise ApiError(20403, OF_NETWORK)
        note = (call.filter("Note") or "")[:NOTE_LIMIT] or None
        await recipients.change_blocks(
            connection,
            [
                operator_change(call, key, account_id, False, note)
                for key, account_id in accounts.items()
            ],
        )
    return gone()


async def log(call: Call) -> Response:
    """Every change of the list, newest first; filters `To`, `AccountSid`."""
    call.operator_only(WHY)
    request = call.page
    before = block_list.LAST if request.key is None else read_whole(request.key)
    if before is None:
        raise ApiError(20001, "PageToken is not valid")
    async with call.listing() as lists:
        rows = await block_list.log_page(
            lists,
            before=before,
            back=request.back,
            most=request.size + 1,
            recipient=_number(call.filter("To")),
            account_id=_account(call),
        )
    return call.listed("changes", rows, lambda row: str(row["id"]), partial(_render_change, call))


def _render_change(call: Call, row: LoggedBlockRow) -> dict[str, Any]:
    account = call.deps.directory.accounts_by_id.get(row["account_id"])
    return {
        "date": iso8601(row["at"]),
        "to": row["recipient"],
        "channel": Channel(row["channel"]).name.lower(),
        "account_sid": account.sid if account is not None else None,
        **scope_shown(call, row["scope"]),
        "blocked": row["blocked"],
        "source": row["source"],
        "actor": row["actor"],
        "note": row["note"],
    }


def operator_change(
    call: Call,
    key: BlockKey,
    account_id: int,
    blocked: bool,
    note: str | None,
    source: str = "operator",
) -> BlockChange:
    """A change by whoever asks."""
    key_used = call.credential.key
    actor = key_used.sid if key_used is not None else call.credential.account.sid
    return BlockChange(*key, account_id, source, blocked, actor, note)


def note_of(call: Call) -> str | None:
    return (call.form.get("Note") or "").replace("\x00", "")[:NOTE_LIMIT] or None


async def _of_recipient(call: Call) -> Sequence[BlockRow]:
    number = call.found(parse_destination(call.request.path_params["recipient"]))
    rows = await block_list.page(call.deps.pool, after=START, most=1_000, recipient=number.e164)
    if not rows:
        raise call.missing()
    return rows


def _key(row: BlockRow) -> BlockKey:
    return row["recipient"], row["channel"], row["scope"]


def _token_of(row: BlockRow) -> str:
    return base64.urlsafe_b64encode("|".join(map(str, _key(row))).encode()).decode()


def _key_of(token: str | None) -> BlockKey:
    if token is None:
        return START
    try:
        text = base64.urlsafe_b64decode(token).decode()
        recipient, channel, scope = text.split("|")
    except (binascii.Error, ValueError):
        raise ApiError(20001, "PageToken is not valid") from None
    channel_id = read_whole(channel, 0, 2**15 - 1)
    distance = read_whole(scope.removeprefix("-"), 0, 2**31 - 1)  # of a sender: below 0
    if "\x00" in recipient or channel_id is None or distance is None:
        raise ApiError(20001, "PageToken is not valid")
    return recipient, channel_id, -distance if scope.startswith("-") else distance


def _number(text: str | None) -> str | None:
    if not text:
        return None
    number = parse_destination(text)
    if number is None:
        raise unreadable(21211, text)
    return number.e164


def _scope_of(call: Call, text: str | None) -> Scoped | None:
    if not text:
        return None
    scoped = scope_named(call.deps.directory, text)
    if scoped is None:
        raise ApiError(20001, f"{text[:40]} is neither a service's SID nor a number of ours")
    return scoped


def _account(call: Call) -> int | None:
    sid = call.filter("AccountSid")
    if sid is None:
        return None
    account = call.deps.directory.accounts.get(sid)
    if account is None:
        raise ApiError(20001, "AccountSid is not known")
    return account.id


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    at = read_time(text)
    if at is None:
        raise ApiError(20001, f"{text[:40]} is not an ISO 8601 time")
    return at
