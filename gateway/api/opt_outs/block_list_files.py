"""The block list as CSV: `/tandem/v1/OptOuts/Import` and `…/Export` (ours).

Columns `to`, `scope` (a service's SID or a number of ours), and on the way in `action` (`opt-out`,
the default, or `opt-in`) and `note`. What was exported may be imported. An import is one request of
at most a megabyte; it is taken in portions, each committed by itself, and may be repeated.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from starlette.responses import Response, StreamingResponse

from gateway.api.http.errors import ApiError
from gateway.api.http.render import iso8601
from gateway.api.opt_outs.block_list import (
    NOTE_LIMIT,
    OF_NETWORK,
    START,
    WHY,
    operator_change,
    scope_shown,
)
from gateway.api.resources import Call, json_response
from gateway.opt_out.scope import scope_named
from gateway.routing.destination import parse_destination
from gateway.routing.hidden import naming_hidden
from gateway.routing.question import Channel
from storage import block_list, recipients
from storage.block_list import BlockKey

IMPORT_LIMIT: Final = 1_000_000  # octets
PORTION: Final = 1_000  # rows in one transaction, and in one page of an export
MOST_ERRORS: Final = 100  # that an answer names
CSV_TYPE: Final = "text/csv"
COLUMNS: Final = ("to", "scope", "channel", "account_sid", "source", "date_created")
ACTIONS: Final = {"": True, "opt-out": True, "opt-in": False}


class Wish(NamedTuple):
    """One line of an import that makes sense."""

    line: int
    key: BlockKey
    account_id: int
    blocked: bool
    note: str | None


class _Errors:
    """What was wrong with lines: all are counted, the first ones named."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[dict[str, Any]] = []

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if len(self.named) < MOST_ERRORS:
            self.named.append({"line": line, "error": text})


async def import_(call: Call) -> Response:
    """Block and unblock what a CSV says. Lines that make no sense are named and left out."""
    call.operator_only(WHY)
    lines = _lines(call)
    errors = _Errors()
    changed = 0
    wishes = _wishes(call, lines, errors)
    while portion := list(islice(wishes, PORTION)):
        changed += await _apply(call, portion, errors)
    return json_response({"changed": changed, "wrong": errors.count, "errors": errors.named})


async def export(call: Call) -> Response:
    """The whole list, a page at a time."""
    call.operator_only(WHY)

    async def pages() -> AsyncIterator[str]:
        yield _line(COLUMNS)
        after = START
        while rows := await block_list.page(call.deps.pool, after=after, most=PORTION):
            last = rows[-1]
            after = (last["recipient"], last["channel"], last["scope"])
            accounts = call.deps.directory.accounts_by_id
            for row in rows:
                account, shown = accounts.get(row["account_id"]), scope_shown(call, row["scope"])
                yield _line(
                    (
                        row["recipient"],
                        shown["messaging_service_sid"] or shown["from"] or "",
                        Channel(row["channel"]).name.lower(),
                        account.sid if account is not None else "",
                        row["source"],
                        iso8601(row["at"]),
                    )
                )

    return StreamingResponse(pages(), media_type=CSV_TYPE)


def _lines(call: Call) -> csv.DictReader[str]:
    content_type = call.request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != CSV_TYPE:
        raise ApiError(20415, f"the body must be {CSV_TYPE}")
    try:
        text = call.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ApiError(20001, "the body is not valid UTF-8") from None
    lines = csv.DictReader(io.StringIO(text, newline=""), restkey="more", restval="")
    try:
        columns = lines.fieldnames or ()
    except csv.Error as error:
        raise ApiError(20001, f"the body is no CSV: {error}") from None
    if not {"to", "scope"} <= set(columns):
        raise ApiError(20001, "the first line must name the columns `to` and `scope`")
    return lines


def _wishes(call: Call, lines: csv.DictReader[str], errors: _Errors) -> Iterator[Wish]:
    while True:
        try:
            row = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            errors.add(lines.line_num, str(error))
            return
        number = parse_destination(row["to"].strip())
        scoped = scope_named(call.deps.directory, row["scope"].strip())
        blocked = ACTIONS.get((row.get("action") or "").strip().lower())
        if number is None:
            problem = naming_hidden("`to` is no phone number", row["to"].strip())
            errors.add(lines.line_num, problem)
        elif scoped is None:
            errors.add(lines.line_num, "`scope` is neither a service's SID nor a number of ours")
        elif blocked is None:
            errors.add(lines.line_num, "`action` is opt-out or opt-in")
        else:
            note = (row.get("note") or "").replace("\x00", "")[:NOTE_LIMIT] or None
            key = (number.e164, int(Channel.SMS), scoped.scope)
            yield Wish(lines.line_num, key, scoped.account_id, blocked, note)


async def _apply(call: Call, portion: Sequence[Wish], errors: _Errors) -> int:
    async with call.deps.pool.acquire() as connection, connection.transaction():
        await recipients.exclude(connection, {wish.key[2] for wish in portion})
        held = await block_list.held_by_network(
            connection, [wish.key for wish in portion if not wish.blocked]
        )
        able = []
        for wish in portion:
            if wish.key in held and not wish.blocked:
                errors.add(wish.line, OF_NETWORK)
            else:
                able.append(wish)
        await recipients.change_blocks(
            connection,
            [
                operator_change(call, wish.key, wish.account_id, wish.blocked, wish.note, "import")
                for wish in able
            ],
        )
    return len(able)


def _line(values: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()
