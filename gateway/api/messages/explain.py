"""`…/Messages/{sid}/Explain.json` and `…/Messages/DryRun.json`: why, and what if (extensions).

The rule that chose the sender is stored with the message. The judgement of each candidate is made
anew when it is asked for, with the pool and the loads of that moment, and says so.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.acceptance.draft import Draft
from gateway.acceptance.media_conversion import settle_media
from gateway.api.http.errors import meaning
from gateway.api.messages.messages import row_of_path
from gateway.api.resources import Call, json_response
from gateway.channels.smpp import journal_view
from gateway.content.encoding import Content, Encoding, encode, is_gsm7, whole
from gateway.content.smart import replacements
from gateway.directory.directory import Service
from gateway.messages.message import Flag, Message, Status, created_at
from gateway.messages.rows import sid_of_row
from gateway.recipients.recipients import scopes
from gateway.routing.destination import Destination, parse_destination
from gateway.routing.explain import Explanation, explain
from gateway.routing.question import Channel, Mapping, Needs
from gateway.routing.selector import EXPLICIT_FROM, RULES_BY_ID
from gateway.routing.sender_pool import Sender
from gateway.runtime.times import iso8601_ms
from storage import recipients as recipient_rows
from storage import sticky as sticky_rows
from storage.messages import MessageRow

MOST_CANDIDATES = 1_000
ENCODINGS = {Encoding.GSM7: "GSM-7", Encoding.UCS2: "UCS-2"}


async def fetch(call: Call) -> Response:
    """Why a message has its sender, encoding, segments and wait; what went over the wire."""
    row = await row_of_path(call)
    owner = call.deps.forwarded.owner(row["service_id"], row["sender_id"])
    elsewhere = await call.relayed(owner)  # the loads of senders are known there
    if elsewhere is not None:
        return elsewhere
    directory = call.deps.directory
    service = directory.services_by_id.get(row["service_id"] or 0)
    destination = parse_destination(row["recipient"])
    sid, now = sid_of_row(row), call.deps.creation.clock.wall()
    submitted = row["submitted_body"] if row["submitted_body"] is not None else row["body"]
    from_address = row["sender"] if row["rule"] == EXPLICIT_FROM.id else None
    return json_response(
        {
            "message_sid": sid,
            "account_sid": call.account.sid,
            "status": Status(row["status"]).shown,
            "error_code": row["error_code"],
            "error_message": meaning(row["error_code"]) if row["error_code"] else None,
            "possible_duplicate": bool(row["flags"] & Flag.POSSIBLE_DUPLICATE),
            "destination": _destination(destination),
            "sender": await _sender(call, row, service, destination, from_address),
            "encoding": _encoding(submitted, _content(call, row), row["segments"]),
            "media": _media(row),
            "route": _route(call, row["carrier_id"]),
            "timeline": _timeline(row),
            **await journal_view.of_message(call.deps.journal, row, sid, now),
        }
    )


async def dry_run(call: Call) -> Response:
    """What would become of a message; nothing is stored, and nothing is sent."""
    creation = call.deps.creation
    elsewhere = await call.relayed(call.deps.forwarded.place(call.account, call.form))
    if elsewhere is not None:
        return elsewhere
    draft = creation.draft(call.account, call.form)
    message = draft.message
    router = creation.router
    if router.awaited.lookup is not None and router.awaited.asks_carrier(
        draft
    ):  # as the send would
        draft.network = await router.awaited.lookup.carrier(message.recipient)
    against = settle_media(draft, call.deps.directory)
    router.prepare(draft)
    service = call.deps.directory.services_by_id.get(message.service_id or 0)
    mapping, blocked = await _recipient_state(call, draft, service)
    explanation = _explained(call, draft.destination, message, service, mapping, draft)
    chosen = explanation.choice.sender
    content = message.content
    assert content is not None, "it was prepared"
    if chosen is not None:
        ways = router.ways(chosen.carrier_id)
        if ways is not None and not message.as_mms:
            content = ways.fit(content)
    code = against or (21610 if blocked else explanation.choice.code)
    backlog = router.loads.backlog(chosen.id) if chosen is not None else 0
    rate = router.loads.rate(chosen.id, draft.destination) if chosen is not None else 0.0
    return json_response(
        {
            "account_sid": call.account.sid,
            "would_be": "failed" if code else "sent",
            "error_code": code or None,
            "error_message": meaning(code) if code else None,
            "destination": _destination(draft.destination),
            "carrier": draft.network or _carrier(call, draft.destination),
            "media": _media_of(message),
            "opted_out": blocked,
            "sender": _explanation(explanation, mapping, call),
            "encoding": _encoding(message.submitted_body, content, content.segments),
            "route": _route(call, chosen.carrier_id if chosen is not None else None),
            "wait": {
                "segments_ahead": int(backlog),
                "segments_per_second": rate,
                "expected_s": round(backlog / rate, 3) if rate else None,
            },
        }
    )


def _carrier(call: Call, destination: Destination) -> str | None:
    """The recipient's carrier by the operator's table."""
    return call.deps.directory.facts.carrier_of(destination.e164) or None


def _media_of(message: Message) -> dict[str, Any] | None:
    """How media would go; their links are not known before they are stored."""
    if not message.flags & Flag.MEDIA:
        return None
    files = len((message.extras or {}).get("media_urls", ()))
    return {"files": files, "carried_as": "MMS" if message.as_mms else "links in an SMS"}


async def _recipient_state(
    call: Call, draft: Draft, service: Service | None
) -> tuple[Mapping | None, bool]:
    """The recipient's mapping, and whether it has opted out."""
    recipient, mapping = draft.message.recipient, None
    if service is not None and service.pool.settings.sticky:
        mapping = await _mapping(call, service, recipient)
    sender = draft.from_record
    home = sender.service_id if sender is not None else None
    held = scopes(
        service.id if service is not None else None, sender.sender.id if sender else 0, home
    )
    async with call.deps.pool.acquire() as connection:
        keys = [(recipient, int(Channel.SMS), scope) for scope in held]
        return mapping, bool(await recipient_rows.blocked_now(connection, keys))


async def _mapping(call: Call, service: Service, recipient: str) -> Mapping | None:
    row = await sticky_rows.one(call.deps.pool, service.id, Channel.SMS, recipient)
    if row is None:
        return None
    return Mapping(row["sender_id"], row["created_at"].timestamp(), row["last_used"].timestamp())


async def _sender(
    call: Call,
    row: MessageRow,
    service: Service | None,
    destination: Destination | None,
    from_address: str | None,
) -> dict[str, Any]:
    record = call.deps.directory.senders_by_id.get(row["sender_id"] or 0)
    found: dict[str, Any] = {
        "address": row["sender"],
        "sid": record.sid if record is not None else None,
        "decided_by": _decided_by(row),
    }
    if service is None or destination is None or row["rule"] is None:
        return found
    mapping = await _mapping(call, service, row["recipient"])
    message = Message(
        row["id"],
        row["account_id"],
        row["recipient"],
        "",
        service_id=service.id,
        flags=row["flags"],
    )
    message.segments = max(1, row["segments"])
    draft = Draft(message, destination, from_address=from_address)
    awaited = call.deps.creation.router.awaited
    awaited.asks_carrier(draft)  # what a lookup said, while it is remembered
    again = _explained(call, destination, message, service, mapping, draft)
    return found | {"now": _explanation(again, mapping, call)}


def _decided_by(row: MessageRow) -> dict[str, str] | None:
    if row["rule"] is not None:
        rule = RULES_BY_ID[row["rule"]]
        return {"rule": rule.name, "source": rule.source}
    if row["sender"] and row["service_id"] is None:
        return {
            "rule": "From of the request",
            "source": "docs/spec/twilio-api.md#create-parameters",
        }
    return None


def _explained(
    call: Call,
    destination: Destination,
    message: Message,
    service: Service | None,
    mapping: Mapping | None,
    draft: Draft,
) -> Explanation:
    creation = call.deps.creation
    if service is not None:
        pool, from_address = service.pool, draft.from_address
    else:
        assert draft.from_record is not None, "without a service there is a From"
        sender = draft.from_record.sender
        pool, from_address = creation.router.decider.alone(sender), sender.address
    return explain(
        destination,
        Needs(message.as_mms, message.segments, carrier=draft.network),
        pool,
        creation.router.loads,
        mapping,
        from_address,
        call.deps.directory.facts,
        creation.clock.wall(),
    )


def _explanation(found: Explanation, mapping: Mapping | None, call: Call) -> dict[str, Any]:
    chosen = found.choice.sender
    return {
        "as_of": iso8601_ms(call.deps.creation.clock.wall()),
        "address": chosen.address if chosen is not None else None,
        "sid": chosen.sid if chosen is not None else None,
        "sticky": _sticky(mapping, call),
        "steps": [step._asdict() for step in found.steps],
        "candidates": [
            {
                "sid": verdict.sender.sid,
                "address": verdict.sender.address,
                "type": verdict.sender.kind.name.lower(),
                "chosen": verdict.chosen,
                "reason": verdict.reason,
                **_load(verdict.sender, call),
            }
            for verdict in found.verdicts[:MOST_CANDIDATES]
        ],
    }


def _load(sender: Sender, call: Call) -> dict[str, Any]:
    loads = call.deps.creation.router.loads
    return {
        "queued_segments": int(loads.backlog(sender.id)),
        "mappings": loads.mappings(sender.id),
        "up": loads.carrier_up(sender.carrier_id),
    }


def _sticky(mapping: Mapping | None, call: Call) -> dict[str, Any] | None:
    if mapping is None:
        return None
    record = call.deps.directory.senders_by_id.get(mapping.sender_id)
    return {
        "sender": record.sender.address if record is not None else None,
        "since": iso8601_ms(mapping.created_at),
    }


def _destination(destination: Destination | None) -> dict[str, Any] | None:
    if destination is None:
        return None
    return {
        "to": destination.e164,
        "country": destination.country or None,
        "area_code": destination.area_code,
        "kind": destination.kind.name.lower(),
    }


def _content(call: Call, row: MessageRow) -> Content:
    """The text of a message as its carrier takes it, by the carrier's settings of now."""
    if row["flags"] & (Flag.MEDIA | Flag.CONVERTED) == Flag.MEDIA:
        return whole(row["body"])
    content = encode(row["body"])
    ways = call.deps.creation.router.ways(row["carrier_id"] or 0)
    return ways.fit(content) if ways is not None else content


def _encoding(submitted: str, content: Content, segments: int) -> dict[str, Any]:
    """Why the text has its encoding and its count of segments
    (docs/spec/messaging-services.md#smart-encoding,
    docs/spec/messaging-services.md#encoding-and-segmentation)."""
    sent = content.text
    gsm7 = is_gsm7(sent)
    table = replacements()
    replaced = (
        sorted({character for character in submitted if ord(character) in table})
        if sent != submitted
        else []
    )
    return {
        "encoding": ENCODINGS[content.encoding],
        # Of 3GPP TS 23.038, where the carrier passes them on.
        "national_tables": {"locking": content.locking or None, "single": content.single or None},
        "segments": segments or content.segments,
        "octets_of_segments": [len(part) for part in content.parts],
        "smart_encoding": {
            "applied": bool(replaced),
            "replaced": {character: table[ord(character)] for character in replaced},
        },
        # What alone kept the text out of GSM-7.
        "not_in_gsm7": sorted({character for character in sent if not is_gsm7(character)})[:50]
        if not gsm7
        else [],
    }


def _media(row: MessageRow) -> dict[str, Any] | None:
    """What became of a message's media (docs/spec/messaging-services.md#mms-and-mms-converter);
    null for a text."""
    flags, extras = row["flags"], row["extras"] or {}
    if not flags & Flag.MEDIA:
        return None
    carried = "links in an SMS" if flags & Flag.CONVERTED else "MMS"
    return {
        "files": len(extras.get("media_urls", ())),
        "fetched": not flags & Flag.AWAITS_MEDIA,
        "carried_as": carried if row["sender_id"] else None,
        "links": extras.get("links", []),
    }


def _route(call: Call, carrier_id: int | None) -> dict[str, Any] | None:
    connector = call.deps.connectors.by_id.get(carrier_id or 0)
    if connector is None:
        return None
    return {
        "carrier": connector.name,
        "up": connector.up,
        "segments_per_second": connector.rate_now,
        "slowed_because": connector.rate_reason or None,
    }


def _timeline(row: MessageRow) -> list[dict[str, Any]]:
    """What happened when, with the seconds since the step before."""
    accepted = created_at(row["id"])
    events = [("accepted", accepted)]
    for name, moment in (
        ("scheduled for", row["send_at"]),
        ("queued", row["queued_at"]),
        ("sent", row["sent_at"]),
        (Status(row["status"]).shown, row["done_at"]),
    ):
        if moment is not None:
            events.append((name, moment.timestamp()))
    shown, before = [], accepted
    for name, at in events:
        shown.append({"event": name, "at": iso8601_ms(at), "after_s": round(at - before, 3)})
        before = at
    return shown
