"""A database as 0.2.0 left it, killed in the middle: it is migrated, its messages are finished."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from time import time
from typing import Any

import asyncpg
import pytest
from former_schema import until_before
from hooks import Hooks
from testing import ACCOUNT_SID, AUTH_TOKEN, NUMBERS, GatewayUnderTest, Sdk, sdk_client, until

from gateway.messages.message import Flag, IdSource, Status
from smpp.smsc import Smsc
from storage.ids import Id
from storage.partitions import ensure_partitions

FIRST_SINCE = "rule_ids"  # the migration after 0.2.0
TO = "+447400900001"
SERVICE_SID = "MG5e1f3bf2a9dde6bf185d32495729747c"
HALF_SENT = "a" * 200  # two segments
Start = Callable[..., Awaitable[GatewayUnderTest]]
next_id = IdSource(time, lambda: 0.0, Random(2).randbytes)

CONFIGURATION = """
INSERT INTO accounts (sid, friendly_name, status, auth_token) VALUES ($1, 'Main', 'active', $2);
"""
CARRIER = """
INSERT INTO carriers (name, sid, settings) VALUES
       ('simulator', 'CR294f46a18bea4b2fb68dabe17cc0ca87',
        '{"hosts": ["127.0.0.1:1"], "system_id": "tandem"}')
"""
SERVICE = """
INSERT INTO services (sid, account_id, friendly_name, settings)
VALUES ($1, 1, 'Test', '{}')
"""
SENDER = """
INSERT INTO senders (sid, account_id, carrier_id, kind, address, country, friendly_name, sms, mms,
                     voice, settings)
VALUES ($1, 1, 1, 0, $2, 'GB', $2, true, false, false, $3)
"""
POOL = "INSERT INTO service_senders (service_id, sender_id) SELECT 1, id FROM senders"
MESSAGE = """
INSERT INTO messages (id, account_id, service_id, sender_id, carrier_id, direction, status,
                      encoding, segments, flags, reference, callbacks_done, waiting, queued_at,
                      sent_at, done_at, expires_at, recipient, sender, body, callback_url, handling,
                      send_at, rule)
VALUES ($1, 1, $2, $3, $4, $5, $6, 0, $7, 0, 7, 0, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
        $18, $19)
"""
SUBMISSION = """
INSERT INTO submissions (carrier_id, carrier_message_id, message_id, segment, at)
VALUES (1, $1, $2, 1, now())
"""


class FormerVersion:
    """Writes rows as it did."""

    def __init__(self, connection: Any, hooks: Hooks) -> None:
        self.connection = connection
        self._hooks = hooks

    async def message(
        self,
        status: Status,
        *,
        to: str = TO,
        body: str = "hello",
        service: int | None = 1,
        sender: int | None = 1,
        waits: bool = True,
        send_at: datetime | None = None,
        rule: int | None = None,
        inbound: bool = False,
    ) -> Id:
        now = datetime.now(UTC)
        id = next_id()
        settled = status >= Status.SENT
        ours, theirs = NUMBERS[0], to
        await self.connection.execute(
            MESSAGE,
            id,
            service,
            sender,
            1 if sender else None,
            0 if inbound else 1,
            status,
            len(body) // 153 + 1 if sender else 0,
            0 if waits and not settled else None,
            now if sender else None,
            now if settled else None,
            now if status >= Status.DELIVERED else None,
            now + timedelta(hours=10),
            ours if inbound else theirs,
            theirs if inbound else ours if sender else None,
            body,
            None if inbound else self._hooks.url("/status"),
            1 if inbound else None,
            send_at,
            rule,
        )
        return id


@pytest.fixture
async def former(empty_database_url: str, hooks: Hooks) -> AsyncIterator[FormerVersion]:
    connection = await asyncpg.connect(empty_database_url)
    await until_before(connection, FIRST_SINCE)
    await ensure_partitions(connection, datetime.now(UTC).date())
    await connection.execute(CONFIGURATION, ACCOUNT_SID, AUTH_TOKEN)
    await connection.execute(CARRIER)
    await connection.execute(SERVICE, SERVICE_SID)
    for number, address in enumerate(NUMBERS):
        settings = f'{{"sms_url": "{hooks.url("/in")}"}}'
        await connection.execute(SENDER, f"PN{number:032x}", address, settings)
    await connection.execute(POOL)
    yield FormerVersion(connection, hooks)
    await connection.close()


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    return empty_database_url


def sent_to(smsc: Smsc, to: str) -> list[dict[str, Any]]:
    lines = map(json.loads, smsc.ledger.lines())
    return [line for line in lines if line["destination"] == to.lstrip("+")]


async def test_it_is_taken_over_and_finishes_its_messages(
    former: FormerVersion, start_gateway: Start, smsc: Smsc, hooks: Hooks
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    ends: dict[Id, str] = {}
    ends[await former.message(Status.ACCEPTED, sender=None)] = "delivered"
    queued = [await former.message(Status.QUEUED, body=str(n), rule=1) for n in range(5)]
    ends |= dict.fromkeys(queued, "delivered")
    plain = await former.message(Status.QUEUED, service=None, sender=2)
    scheduled = await former.message(Status.SCHEDULED, sender=None, send_at=soon)
    claimed = await former.message(Status.SENDING, waits=False, to="+447400900002")
    half = await former.message(Status.SENDING, waits=False, to="+447400900003", body=HALF_SENT)
    await former.connection.execute(SUBMISSION, "first", half)
    ends |= dict.fromkeys((plain, scheduled, claimed), "delivered")
    ends[half] = "sent"  # the receipt of its first half never comes
    ends[await former.message(Status.SENT, waits=False, to="+447400900004")] = "sent"
    owed = await former.message(Status.DELIVERED, waits=False, to="+447400900005")
    ends[owed] = "delivered"
    ends[await former.message(Status.CANCELED, sender=None, waits=False)] = "canceled"
    inbound = await former.message(Status.RECEIVED, service=None, inbound=True, waits=False)

    gateway = await start_gateway(smsc.port)
    sdk = Sdk(gateway.base_url, sdk_client(gateway.base_url, ACCOUNT_SID, AUTH_TOKEN), SERVICE_SID)
    for id, status in ends.items():
        await sdk.reaches(f"SM{id.hex}", status)
    texts = [line["text"] for line in sent_to(smsc, TO)]
    assert [text for text in texts if text.isdigit()] == ["0", "1", "2", "3", "4"]
    assert len(texts) == 8
    assert len(sent_to(smsc, "+447400900003")) == 1  # the half that had no answer
    assert not sent_to(smsc, "+447400900004")
    told = await hooks.has("/in")
    assert told[0].form["MessageSid"] == f"SM{inbound.hex}"
    await until(
        lambda: f"SM{owed.hex}" in {call.form["MessageSid"] for call in hooks.at("/status")}
    )
    flags = await former.connection.fetchval("SELECT flags FROM messages WHERE id = $1", claimed)
    assert flags & Flag.POSSIBLE_DUPLICATE
