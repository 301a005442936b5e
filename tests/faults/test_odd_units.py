"""A message that no stage can handle: it is set aside with an Alert, and the others go on.

Each stage is given one among good ones. What is wrong with it is nothing that a request could still
bring: it stands for whatever nobody thought of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from odd_carrier import OddCarrier
from testing import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    NUMBERS,
    TO,
    WAIT_S,
    GatewayUnderTest,
    Receiver,
    Sdk,
    carrier,
    free_port,
    sdk_client,
    until,
)
from twilio.rest import Client

from gateway.acceptance.acceptor import Rejected
from gateway.acceptance.committer import Also
from gateway.acceptance.draft import Draft
from gateway.messages.message import Flag, Message
from gateway.observe.wall import SET_ASIDE
from gateway.routing.destination import parse_destination
from smpp import vocabulary as v
from smpp.smsc import Smsc
from storage.database import Connection

Start = Callable[..., Awaitable[GatewayUnderTest]]


@pytest.fixture
def away() -> int:
    """The port of a carrier that is not there, so that messages wait."""
    return free_port()


def client_of(gateway: GatewayUnderTest) -> Client:
    return sdk_client(gateway.base_url, ACCOUNT_SID, AUTH_TOKEN)


def draft_of(gateway: GatewayUnderTest, **more: Any) -> Draft:
    """As of a request for the first number of the world."""
    directory = gateway.pipeline.runtime.directory
    destination = parse_destination(TO)
    assert destination is not None
    record = directory.senders_by_address[NUMBERS[0]]
    message = Message(
        gateway.pipeline.runtime.next_id(), record.account_id, destination.e164, "hello", **more
    )
    message.valid_until = datetime.now(UTC).timestamp() + 3_600
    return Draft(message, destination, from_record=record)


async def outcomes(
    gateway: GatewayUnderTest, units: Sequence[tuple[Draft, Any]]
) -> list[Exception | None]:
    """What the accept stage answers to units that come at once."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Exception | None]] = []
    for draft, also in units:
        answer: asyncio.Future[Exception | None] = loop.create_future()
        gateway.pipeline.acceptor.submit((draft,), answer.set_result, also)
        answers.append(answer)
    return list(await asyncio.gather(*answers))


async def told(sdk: Sdk, sid: str | None = None) -> list[Any]:
    """The alerts of what was set aside, once there is one."""
    async with asyncio.timeout(WAIT_S):
        while True:
            alerts = await sdk.call(sdk.client.monitor.v1.alerts.list)
            found = [
                alert
                for alert in alerts
                if alert.error_code == str(SET_ASIDE) and sid in (None, alert.resource_sid)
            ]
            if found:
                return found
            await asyncio.sleep(0.02)


def held(gateway: GatewayUnderTest, sid: str) -> Message:
    """The message in memory."""
    messages: list[Message] = list(gateway.pipeline.runtime.live.values())
    return next(message for message in messages if message.sid == sid)


async def all_stages_run(gateway: GatewayUnderTest, sdk: Sdk, *, delivered: bool = True) -> None:
    sent = await sdk.send("still here", to="+441632960999")
    await sdk.reaches(sent.sid, "delivered" if delivered else "sent")
    assert not any(task.done() for task in gateway.pipeline.stages._tasks)


async def test_accept_refuses_the_unit_alone(gateway: GatewayUnderTest, sdk: Sdk) -> None:
    async def breaks(connection: Connection) -> None:
        raise KeyError("nobody thought of this")

    async def goes(connection: Connection) -> None:
        await connection.execute("SELECT 1")

    units = [(draft_of(gateway), Also(breaks if number == 3 else goes)) for number in range(7)]
    # What is unsuited for its column, or for choosing a sender.
    units.append((draft_of(gateway, extras={"a set": {1}}), None))
    units.append((draft_of(gateway, service_id=2**70), None))
    answers = await outcomes(gateway, units)
    refused = [number for number, answer in enumerate(answers) if answer is not None]
    assert refused == [3, 7, 8]
    assert all(isinstance(answers[number], Rejected) for number in refused)
    for number in set(range(9)) - set(refused):
        await sdk.reaches(units[number][0].message.sid, "delivered")
    await told(sdk, units[3][0].message.sid)
    await all_stages_run(gateway, sdk)


async def test_claim_and_submit_fail_the_message_alone(
    start_gateway: Start, smsc: Smsc, away: int
) -> None:
    gateway = await start_gateway(away)
    sdk = await Sdk.provisioned(gateway.base_url)
    sent = [await sdk.send(to=f"+44163296067{number}") for number in range(6)]
    held(gateway, sent[1].sid).service_id = []  # type: ignore[assignment]
    held(gateway, sent[3].sid).content = "no content"  # type: ignore[assignment]
    held(gateway, sent[4].sid).recipient = None  # type: ignore[assignment]
    port = smsc.port
    await sdk.operate(
        "POST", "/tandem/v1/Carriers/simulator", json={"hosts": [f"127.0.0.1:{port}"]}
    )
    for number in (0, 2, 5):
        await sdk.reaches(sent[number].sid, "delivered")
    assert (await sdk.reaches(sent[3].sid, "failed")).error_code == 30020
    await told(sdk)
    await all_stages_run(gateway, sdk)


async def test_write_behind_writes_all_but_the_row_that_nothing_can_hold(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    broken, good = [await sdk.send(to=f"+44163296068{number}") for number in range(2)]
    for sid in (broken.sid, good.sid):
        await sdk.reaches(sid, "delivered")
    message = Message(gateway.pipeline.runtime.next_id(), 1, TO, "x")
    message.done_date = object()  # type: ignore[assignment]
    never = Message(gateway.pipeline.runtime.next_id(), 1, TO, "x")
    never.sent_at = "not a time"  # type: ignore[assignment]
    for odd in (message, never):
        gateway.pipeline.writer.mark(odd)
    gateway.pipeline.writer.after_commit(lambda: 1 // 0)
    await told(sdk, message.sid)
    await told(sdk, never.sid)
    await all_stages_run(gateway, sdk)


async def test_schedule_and_recovery_leave_an_unreadable_row_where_it_is(
    start_gateway: Start, smsc: Smsc, away: int
) -> None:
    gateway = await start_gateway(away, scheduling={"least_s": 0})
    sdk = await Sdk.provisioned(gateway.base_url)
    waiting = [await sdk.send(to=f"+44163296067{number}") for number in range(3)]
    at = datetime.now(UTC) + timedelta(seconds=2)
    later = [
        await sdk.send(to=f"+44163296069{number}", schedule_type="fixed", send_at=at)
        for number in range(3)
    ]
    await gateway.stop()
    connection = await asyncpg.connect(gateway.database_url)
    for sent in (waiting[1], later[1]):
        await connection.execute(
            "UPDATE messages SET direction = 99 WHERE id = $1::text::uuid", sent.sid[2:]
        )
    await connection.close()
    gateway = await start_gateway(smsc.port, scheduling={"least_s": 0})
    sdk = replace(sdk, base_url=gateway.base_url, client=client_of(gateway))
    for sent in (waiting[0], waiting[2], later[0], later[2]):
        await sdk.reaches(sent.sid, "delivered")
    await told(sdk, waiting[1].sid)
    await told(sdk, later[1].sid)
    await all_stages_run(gateway, sdk)


async def test_gathering_fails_the_message_alone(gateway: GatewayUnderTest, sdk: Sdk) -> None:
    flags = Flag.MEDIA | Flag.AWAITS_MEDIA
    odd = draft_of(gateway, flags=flags, extras={"media_urls": 7})
    assert await outcomes(gateway, [(odd, None)]) == [None]
    await told(sdk, odd.message.sid)
    await until(lambda: odd.message.committed.final)
    assert odd.message.error_code == 30020
    await all_stages_run(gateway, sdk)


async def test_callbacks_to_no_url_keep_nobody_elses(
    gateway: GatewayUnderTest, sdk: Sdk, receiver: Receiver
) -> None:
    odd = draft_of(gateway, callback_url="http://[nowhere/")
    good = draft_of(gateway, callback_url=receiver.url)
    assert await outcomes(gateway, [(odd, None), (good, None)]) == [None, None]
    await receiver.has([good.message.sid])
    await told(sdk, odd.message.sid)
    await all_stages_run(gateway, sdk)


async def test_a_service_that_can_not_be_read_leaves_out_that_service(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    odd = await sdk.call(sdk.client.messaging.v1.services.create, "Odd")
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute(
        """UPDATE services SET settings = '{"number_priority": {"US": ["nonsense"]}}'
        WHERE sid = $1""",
        odd.sid,
    )
    await connection.execute("UPDATE config_version SET version = version + 1")
    await connection.close()
    await gateway.pipeline.configuration.read()
    assert odd.sid not in gateway.pipeline.runtime.directory.services
    await told(sdk, odd.sid)
    await all_stages_run(gateway, sdk)


async def kept(gateway: GatewayUnderTest) -> list[tuple[str, bytes]]:
    connection = await asyncpg.connect(gateway.database_url)
    rows = await connection.fetch("SELECT reason, payload FROM kept_deliveries ORDER BY id")
    await connection.close()
    return [(row["reason"], row["payload"]) for row in rows]


async def odd_world(start_gateway: Start, odd: OddCarrier) -> tuple[GatewayUnderTest, Sdk]:
    """A gateway bound to a carrier that says what it is told."""
    gateway = await start_gateway(odd.port, carriers=(carrier(odd.port, delivers_for="any"),))
    return gateway, await gateway.sdk()


async def test_a_delivery_that_can_not_be_stored_is_kept_and_its_carrier_goes_on(
    start_gateway: Start, odd: OddCarrier
) -> None:
    """Also at its third time, when it is taken so that it comes no more."""
    gateway, sdk = await odd_world(start_gateway, odd)
    alone = "+447700900311"
    await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number=alone)
    form = {"FriendlyName": "x", "MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    status, _ = await sdk.operate("POST", "/messaging/v3/OptOuts", data=form)
    assert status == 201
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE opt_out_configs SET keywords = '[{\"keywords\": 5}]'")
    await connection.execute("UPDATE config_version SET version = version + 1")
    await connection.close()
    await gateway.pipeline.configuration.read()
    for number in range(20):  # in one batch, most likely
        odd.deliver(
            number + 1,
            b"odd" if number == 7 else b"good %d" % number,
            to=NUMBERS[0] if number == 7 else alone,
        )
    await odd.answered(20)
    assert sorted(odd.answers) == [v.ESME_ROK] * 19 + [v.ESME_RX_R_APPN]
    assert await kept(gateway) == [("set aside", b"odd")]
    assert await odd.delivered(b"odd") == v.ESME_RX_R_APPN
    assert await odd.delivered(b"odd") == v.ESME_ROK
    assert await kept(gateway) == [("set aside", b"odd")]
    await told(sdk, "simulator")
    found = await sdk.call(sdk.client.messages.list, to=alone)
    assert sorted(message.body for message in found) == sorted(
        f"good {number}" for number in range(20) if number != 7
    )
    await all_stages_run(gateway, sdk, delivered=False)


async def spoil(gateway: GatewayUnderTest, keywords: str) -> None:
    """Opt-out keywords as no request could leave them; or `[]` again."""
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE opt_out_configs SET keywords = $1::jsonb", keywords)
    await connection.execute("UPDATE config_version SET version = version + 1")
    await connection.close()
    await gateway.pipeline.configuration.read()


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        [(b"secret", {})],
        [(b"", {"tlvs": ((v.MESSAGE_PAYLOAD, b"secret"),)})],
        [
            (bytes((5, 0, 3, 9, 2, 1)) + b"sec", {"esm_class": 0x40}),
            (bytes((5, 0, 3, 9, 2, 2)) + b"ret", {"esm_class": 0x40}),
        ],
    ],
)
async def test_what_was_set_aside_and_stored_after_all_is_erased_with_its_message(
    start_gateway: Start, odd: OddCarrier, parts: list[tuple[bytes, Any]], deleted: bool
) -> None:
    """The others of its sender and its words stay."""
    gateway, sdk = await odd_world(start_gateway, odd)
    form = {"FriendlyName": "x", "MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    assert (await sdk.operate("POST", "/messaging/v3/OptOuts", data=form))[0] == 201
    await spoil(gateway, '[{"keywords": 5}]')
    others: list[tuple[bytes, Any]] = [
        (b"secrets", {}),
        (b"", {"tlvs": ((v.MESSAGE_PAYLOAD, b"our secret"),)}),
        (b"secret", {"source": "447700900501"}),
    ]
    if len(parts) > 1:  # the last makes it whole
        assert await odd.delivered(parts[0][0], **parts[0][1]) == v.ESME_ROK
    for octets, fields in (parts[-1], *others):
        assert await odd.delivered(octets, **fields) == v.ESME_RX_R_APPN
    await spoil(gateway, "[]")
    assert await odd.delivered(parts[-1][0], **parts[-1][1]) == v.ESME_ROK
    [message] = await sdk.call(sdk.client.messages.list)
    assert message.body == "secret"
    await sdk.call(message.delete) if deleted else await sdk.call(message.update, body="")
    connection = await asyncpg.connect(gateway.database_url)
    rows = await connection.fetch("SELECT payload, tlvs FROM kept_deliveries ORDER BY id")
    await connection.close()
    assert [bool(row["payload"] or row["tlvs"]) for row in rows] == [False, True, True, True]


async def test_parts_that_make_no_message_are_kept_when_their_time_is_over(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway, sdk = await odd_world(start_gateway, odd)
    assert gateway.inner.inbound is not None
    gateway.inner.inbound.join_for_s = 0.5
    alone = "+447700900311"
    await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number=alone)
    form = {"FriendlyName": "x", "MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    assert (await sdk.operate("POST", "/messaging/v3/OptOuts", data=form))[0] == 201
    first = bytes((5, 0, 3, 9, 2, 1))
    assert await odd.delivered(first + b"odd", to=NUMBERS[0], esm_class=0x40) == v.ESME_ROK
    assert await odd.delivered(first + b"good", to=alone, esm_class=0x40) == v.ESME_ROK
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute("UPDATE opt_out_configs SET keywords = '[{\"keywords\": 5}]'")
    await connection.execute("UPDATE config_version SET version = version + 1")
    await connection.close()
    await gateway.pipeline.configuration.read()
    async with asyncio.timeout(WAIT_S):
        while not await sdk.call(sdk.client.messages.list, to=alone):
            await asyncio.sleep(0.02)
    await told(sdk, "simulator")
    assert [reason for reason, _ in await kept(gateway)] == ["set aside"]
    await all_stages_run(gateway, sdk, delivered=False)


async def test_a_receipt_that_can_not_be_applied_is_kept_and_the_others_count(
    start_gateway: Start, odd: OddCarrier
) -> None:
    gateway, sdk = await odd_world(start_gateway, odd)
    sent = [await sdk.send(to=f"+44163296067{number}") for number in range(4)]
    for message in sent:
        await sdk.reaches(message.sid, "sent")
    recipients = {held(gateway, message.sid).recipient for message in sent}
    held(gateway, sent[1].sid).receipts = None  # type: ignore[assignment]

    def receipt(number: int) -> bytes:
        return (
            f"id:{number + 1:08x} sub:001 dlvrd:001 submit date:2611300900 done date:2611300900"
            f" stat:DELIVRD err:000 text:x"
        ).encode()

    statuses = [
        await odd.delivered(
            receipt(number), source=f"44163296067{number}", to=NUMBERS[0], esm_class=4
        )
        for number in range(4)
    ]
    assert len(recipients) == 4
    assert sorted(statuses) == [v.ESME_ROK] * 3 + [v.ESME_RX_R_APPN]
    assert [reason for reason, _ in await kept(gateway)] == ["set aside"]
    connection = await asyncpg.connect(gateway.database_url)
    names = (
        "SELECT k.carrier_message_id = s.carrier_message_id FROM kept_deliveries k, submissions s"
    )
    assert await connection.fetchval(f"{names} WHERE s.message_id = $1", UUID(sent[1].sid[2:]))
    await connection.close()
    delivered = [(await sdk.fetch(message.sid)).status for message in sent]
    assert delivered.count("delivered") >= 2
    await told(sdk, "simulator")
    await all_stages_run(gateway, sdk, delivered=False)
