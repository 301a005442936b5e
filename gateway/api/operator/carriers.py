"""`/tandem/v1/Carriers`: the operator's carriers, changed at run time, and how their binds are.

The body of a request is a JSON object with the fields of a `[[carriers]]` table. Only a parent
account may ask: carriers are the installation's, not a customer's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.paging import cut, in_memory
from gateway.api.http.render import iso8601
from gateway.api.http.values import read_whole
from gateway.api.resources import Call, Deps, change, gone, json_response
from gateway.channels.smpp.receipts import Receipts
from gateway.channels.smpp.settings import CarrierSettings
from gateway.directory.directory import CarrierRecord
from gateway.submission.connectors import (
    CarrierUnusable,
    Connectors,
    changed_settings,
    stored_settings,
)
from storage import carriers as carrier_rows
from storage import deliveries as delivery_rows
from storage.database import BadRow, Connection, UniqueViolation


async def render(carriers: Sequence[CarrierRecord], call: Call) -> list[dict[str, Any]]:
    """Carriers as they are configured and as they are, in all workers together."""
    here = statuses(carriers, call.deps.connectors, call.deps.receipts)
    others = await call.deps.forwarded.carriers()
    rows = []
    for carrier in carriers:
        sid = carrier.sid
        everywhere = [here[sid], *(other[sid] for other in others if sid in other)]
        rows.append({**_settings_of(carrier, call.deps, call.origin), "status": _sum(everywhere)})
    return rows


def _settings_of(carrier: CarrierRecord, deps: Deps, origin: str) -> dict[str, Any]:
    connectors = deps.connectors
    try:
        settings = connectors.settings_of(carrier)
        fields = settings.model_dump(mode="json", exclude={"name", "password"})
        has_password = bool(settings.password)
    except CarrierUnusable:
        fields, has_password = carrier.settings, carrier.password is not None
    return {
        "sid": carrier.sid,
        "name": carrier.name,
        **fields,
        "has_password": has_password,
        "date_created": iso8601(carrier.created_at),
        "date_updated": iso8601(carrier.updated_at),
        "url": f"{origin}/v1/Carriers/{carrier.sid}",
        "links": {"deliveries": f"{origin}/v1/Carriers/{carrier.sid}/Deliveries"},
    }


def statuses(
    carriers: Iterable[CarrierRecord], connectors: Connectors, receipts: Receipts
) -> dict[str, dict[str, Any]]:
    """How the carriers are in this process, by SID."""
    return {carrier.sid: _status(carrier, connectors, receipts) for carrier in carriers}


def _sum(everywhere: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One status out of those of several workers, of which each has some of the binds."""
    if len(everywhere) == 1:
        return everywhere[0]
    used = [part for part in everywhere if part["binds"]] or everywhere[:1]
    rates = [part["rate_now"] for part in used]
    receipts: Counter[str] = Counter()
    for part in everywhere:
        receipts.update(part["receipts"])
    return {
        "up": any(part["up"] for part in used),
        "trouble": next((part["trouble"] for part in everywhere if part["trouble"]), None),
        "rate_now": None if None in rates else sum(rates),
        "rate_reason": next((part["rate_reason"] for part in used if part["rate_reason"]), None),
        "receipt_ids": next(
            (part["receipt_ids"] for part in everywhere if part["receipt_ids"]), None
        ),
        "receipts": dict(receipts),
        "binds": sorted((bind for part in used for bind in part["binds"]), key=_number),
    }


def _number(bind: dict[str, Any]) -> int:
    return int(bind["name"].rpartition("/")[2])


def _status(carrier: CarrierRecord, connectors: Connectors, receipts: Receipts) -> dict[str, Any]:
    connector = connectors.by_id.get(carrier.id)
    spelling = receipts.spelling[carrier.id]
    form = spelling.pinned or spelling.learnt
    return {
        "up": connector is not None and connector.up,
        "trouble": connectors.unusable.get(carrier.id),
        "rate_now": connector.rate_now if connector else None,
        "rate_reason": (connector.rate_reason or None) if connector else None,
        "receipt_ids": form.value if form is not None else None,
        "receipts": dict(receipts.counts_of(carrier.id)),
        "binds": [bind._asdict() for bind in connector.binds()] if connector else [],
    }


async def list_(call: Call) -> Response:
    _operator(call)
    carriers = list(call.deps.directory.carriers.values())
    rest = in_memory(carriers, call.page, lambda carrier: carrier.sid)
    page, tokens = cut(rest, call.page, lambda carrier: carrier.sid)
    return call.page_shown("carriers", await render(page, call), tokens)


async def create(call: Call) -> Response:
    _operator(call)
    settings = _settings(call.json)
    sealed = _sealed(call.deps.connectors, settings.password)

    async def insert(connection: Connection) -> None:
        await carrier_rows.insert(connection, settings.name, stored_settings(settings), sealed)

    try:
        await change(call.deps, insert)
    except UniqueViolation:
        raise ApiError(20409, f"there is a carrier named {settings.name}") from None
    except BadRow as error:
        raise ApiError(20001, f"the carrier can't be stored: {error}") from None
    return await _answer(call, call.deps.directory.carriers[settings.name], 201)


async def fetch(call: Call) -> Response:
    return await _answer(call, _carrier(call))


async def update(call: Call) -> Response:
    """Replace the fields that are given; null goes back to a field's default."""
    carrier, connectors = _carrier(call), call.deps.connectors
    given = dict(call.json)
    if given.pop("name", carrier.name) != carrier.name:
        raise ApiError(20001, "name: a carrier keeps its name")
    sealed = carrier.password
    password = given.pop("password", None)
    if password is not None:
        # Checked like any other field, and with them.
        given["password"] = password
    settings = _settings({**changed_settings(carrier.settings, given), "name": carrier.name})
    if password is not None:
        sealed = _sealed(connectors, settings.password)
    try:
        await change(
            call.deps,
            lambda connection: carrier_rows.update(
                connection, carrier.id, stored_settings(settings), sealed
            ),
        )
    except BadRow as error:
        raise ApiError(20001, f"the carrier can't be stored: {error}") from None
    return await _answer(call, call.deps.directory.carriers[carrier.name])


async def delete(call: Call) -> Response:
    """A carrier that no number belongs to; its binds are drained first."""
    carrier = _carrier(call)
    try:
        await change(call.deps, lambda connection: carrier_rows.delete(connection, carrier.id))
    except BadRow:
        raise ApiError(20409, "numbers or senders belong to this carrier") from None
    return gone()


async def deliveries(call: Call) -> Response:
    """What this carrier delivered and nobody could use, newest first, with its octets."""
    carrier = _carrier(call)
    request = call.page
    reason = call.filter("Reason")
    before = None
    if request.token is not None:
        before = read_whole(request.key or "")
        if before is None:
            raise ApiError(20001, "PageToken is not valid")
    async with call.listing() as lists:
        rows = await delivery_rows.kept(
            lists,
            carrier.id,
            reason=reason,
            before=before,
            back=request.back,
            most=request.size + 1,
        )
    return call.listed("deliveries", rows, lambda row: str(row["id"]), _delivery)


def _delivery(row: delivery_rows.KeptDeliveryRow) -> dict[str, Any]:
    return {
        "reason": row["reason"],
        "date_created": iso8601(row["at"]),
        "carrier_message_id": row["carrier_message_id"],
        "source": row["source"],
        "destination": row["destination"],
        "esm_class": row["esm_class"],
        "data_coding": row["data_coding"],
        "payload": row["payload"].hex(),
        "tlvs": row["tlvs"].hex(),
    }


def _operator(call: Call) -> None:
    call.operator_only("carriers are the parent account's")


def _carrier(call: Call) -> CarrierRecord:
    """The carrier of the path, by SID or by name. Raises ApiError."""
    _operator(call)
    wanted = call.request.path_params["carrier"]
    for carrier in call.deps.directory.carriers.values():
        if wanted in (carrier.sid, carrier.name):
            return carrier
    raise call.missing()


def _settings(given: Mapping[str, Any]) -> CarrierSettings:
    """Raises ApiError, naming each field that can't be used and why."""
    try:
        return CarrierSettings(**given)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(step) for step in problem['loc']) or 'the carrier'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ApiError(20001, "; ".join(problems)) from None


def _sealed(connectors: Connectors, password: str) -> bytes | None:
    if not password:
        return None
    if connectors.seal is None:
        raise ApiError(
            20001,
            "password: it is stored encrypted only; set TANDEM_SECRET_KEY and start the gateway"
            " again",
        )
    return connectors.seal.close(password)


async def _answer(call: Call, carrier: CarrierRecord, status: int = 200) -> Response:
    [row] = await render([carrier], call)
    return json_response(row, status)
