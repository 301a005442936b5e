"""What becomes of a message after it was created: cancel, redact, delete, feedback (SDK)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from testing import NUMBERS, TO, WAIT_S, GatewayUnderTest, Receiver, Sdk

from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]


@pytest.fixture
async def slow(start_gateway: Start, smsc: Smsc) -> Sdk:
    """A gateway on which one message leaves and the next waits for hours."""
    gateway = await start_gateway(smsc.port, default_rate_per_second=0.0001)
    return await gateway.sdk()


async def test_a_message_that_waits_in_its_queue_is_canceled(
    slow: Sdk, smsc: Smsc, receiver: Receiver
) -> None:
    first = await slow.send("one", from_=NUMBERS[0])
    await slow.reaches(first.sid, "delivered")
    waiting = await slow.send("two", from_=NUMBERS[0], status_callback=receiver.url)
    assert waiting.status == "queued"
    messages = slow.client.messages
    canceled = await slow.call(lambda: messages(waiting.sid).update(status="canceled"))
    assert (canceled.status, canceled.error_code) == ("canceled", None)
    await receiver.has([waiting.sid], last="canceled")
    assert receiver.statuses[waiting.sid] == ["canceled"]
    assert (await slow.fetch(waiting.sid)).status == "canceled"
    assert [line for line in smsc.ledger.lines() if b"two" in line] == []

    await slow.refused(30409, 409, lambda: messages(waiting.sid).update(status="canceled"))
    await slow.refused(30409, 409, lambda: messages(first.sid).update(status="canceled"))
    await slow.refused(20404, 404, lambda: messages("SM" + "0" * 32).update(status="canceled"))


async def test_a_message_without_a_sender_is_canceled(slow: Sdk, receiver: Receiver) -> None:
    sids = []
    for number in range(6):  # two numbers: the rest finds both busy
        message = await slow.send(
            to=f"+44163296070{number}", body="x" * 400, status_callback=receiver.url
        )
        sids.append(message.sid)
    accepted = [sid for sid in sids if (await slow.fetch(sid)).status == "accepted"]
    assert accepted
    context = slow.client.messages(accepted[0])
    assert (await slow.call(lambda: context.update(status="canceled"))).status == "canceled"
    await receiver.has([accepted[0]], last="canceled")
    assert receiver.statuses[accepted[0]] == ["canceled"]


async def test_cancels_and_claims_never_both_have_a_message(
    sdk: Sdk, smsc: Smsc, receiver: Receiver
) -> None:
    """Cancel while it is on its way, many times over: canceled means never sent."""
    sent, canceled = 0, 0

    async def race(number: int) -> None:
        nonlocal sent, canceled
        to, body = f"+4416329601{number:02d}", f"race {number}"
        message = await sdk.send(body, to=to, status_callback=receiver.url)
        context = sdk.client.messages(message.sid)
        try:
            await sdk.call(lambda: context.update(status="canceled"))
        except Exception:
            sent += 1
            await receiver.has([message.sid])
            assert any(body.encode() in line for line in smsc.ledger.lines(to))
        else:
            canceled += 1
            await receiver.has([message.sid], last="canceled")
            assert not any(body.encode() in line for line in smsc.ledger.lines(to))

    await asyncio.gather(*(race(number) for number in range(40)))
    assert sent + canceled == 40


async def test_a_final_message_is_redacted_and_another_is_not(slow: Sdk) -> None:
    messages = slow.client.messages
    done = await slow.send("secret", from_=NUMBERS[0])
    await slow.reaches(done.sid, "delivered")
    waiting = await slow.send("secret", from_=NUMBERS[0])
    redacted = await slow.call(lambda: messages(done.sid).update(body=""))
    assert (redacted.body, redacted.status, redacted.to) == ("", "delivered", TO)
    assert (await slow.fetch(done.sid)).body == ""
    await slow.refused(20009, 409, lambda: messages(waiting.sid).update(body=""))
    assert (await slow.fetch(waiting.sid)).body == "secret"
    await slow.refused(20404, 404, lambda: messages("SM" + "0" * 32).update(body=""))
    for wrong in ({}, {"body": "new"}, {"body": "", "status": "canceled"}, {"status": "sent"}):
        await slow.refused(30400, 400, lambda given=wrong: messages(done.sid).update(**given))


async def test_a_final_message_is_deleted_and_another_is_not(slow: Sdk) -> None:
    messages = slow.client.messages
    done = await slow.send("x", from_=NUMBERS[0], provide_feedback=True)
    await slow.reaches(done.sid, "delivered")
    await slow.call(lambda: messages(done.sid).feedback.create(outcome="confirmed"))
    waiting = await slow.send("x", from_=NUMBERS[0])
    await slow.refused(20009, 409, messages(waiting.sid).delete)
    assert await slow.call(messages(done.sid).delete) is True
    await slow.refused(20404, 404, messages(done.sid).fetch)
    await slow.refused(20404, 404, messages(done.sid).delete)
    await slow.refused(20404, 404, lambda: messages(done.sid).feedback.create())
    assert [message.sid for message in await slow.call(messages.list)] == [waiting.sid]


async def test_feedback_is_for_messages_that_asked_for_it(sdk: Sdk) -> None:
    asked = await sdk.send(provide_feedback=True)
    feedback = sdk.client.messages(asked.sid).feedback
    told = await sdk.call(lambda: feedback.create(outcome="confirmed"))
    assert (told.message_sid, told.outcome) == (asked.sid, "confirmed")
    assert isinstance(told.date_created, datetime)
    assert (await sdk.call(lambda: feedback.create(outcome="unconfirmed"))).outcome == "unconfirmed"
    await sdk.refused(20001, 400, lambda: feedback.create(outcome="perhaps"))
    other = sdk.client.messages((await sdk.send()).sid).feedback
    await sdk.refused(20001, 400, lambda: other.create(outcome="confirmed"))


async def test_a_message_has_no_media(sdk: Sdk) -> None:
    media = sdk.client.messages((await sdk.send()).sid).media
    assert await sdk.call(media.list) == []
    await sdk.refused(20404, 404, media("ME" + "0" * 32).fetch)
    await sdk.refused(20404, 404, media("ME" + "0" * 32).delete)
    await sdk.refused(20404, 404, sdk.client.messages("SM" + "0" * 32).media.list)


async def test_tags_come_back_and_an_application_gets_the_callbacks(
    sdk: Sdk, receiver: Receiver
) -> None:
    application = await sdk.call(
        sdk.client.applications.create, message_status_callback=receiver.url
    )
    path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    form = {
        "To": TO,
        "MessagingServiceSid": sdk.service_sid,
        "Body": "x",
        "Tags": '{"campaign": "spring"}',
        "ApplicationSid": application.sid,
    }
    status, made = await sdk.operate("POST", path, data=form)
    assert (status, made["tags"]) == (201, {"campaign": "spring"})
    await receiver.has([made["sid"]])
    fetched = await sdk.operate("GET", made["uri"])
    assert fetched[1]["tags"] == {"campaign": "spring"}
    # A StatusCallback of the message wins.
    other = await sdk.send(application_sid=application.sid, status_callback=receiver.url + "?own=1")
    await sdk.reaches(other.sid, "delivered")
    await sdk.send(application_sid=application.sid)


async def test_what_is_to_be_forgotten_is_forgotten(
    sdk: Sdk, gateway: GatewayUnderTest, receiver: Receiver
) -> None:
    refusals = [404]

    async def answer(form: dict[str, str]) -> int:
        return refusals.pop() if refusals else 200

    receiver.answer = answer  # an alert is raised, which has the form
    message = await sdk.send(
        "the secret code",
        content_retention="discard",
        address_retention="obfuscate",
        status_callback=receiver.url,
    )
    assert message.body == "the secret code"
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute(
        "INSERT INTO kept_deliveries (carrier_id, reason, source, destination, esm_class,"
        " data_coding, payload, tlvs, at, message_id)"
        " VALUES (1, 'duplicate', $1, '447700900101', 4, 0, 'id:1', '', now(), $2)",
        TO.lstrip("+"),
        UUID(message.sid[2:]),
    )
    await receiver.has([message.sid])
    assert {form["To"] for form in receiver.forms} == {TO}

    async def forgotten() -> Any:
        async with asyncio.timeout(WAIT_S):
            while (one := await sdk.fetch(message.sid)).body or one.to == TO:
                await asyncio.sleep(0.05)
            return one

    final = await forgotten()
    assert (final.body, final.to, final.status) == ("", TO[:-4] + "XXXX", "delivered")
    row = await connection.fetchrow("SELECT * FROM messages")
    assert "secret" not in str(row)
    assert TO not in str(row)
    for table in ("alerts", "kept_deliveries"):
        rows = await connection.fetch(f"SELECT * FROM {table}")
        assert TO.lstrip("+") not in str(rows), table
        assert rows, table
    await connection.close()


# Scheduling --------------------------------------------------------------------------------


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_a_message_is_scheduled_within_its_window(sdk: Sdk) -> None:
    early, late = soon(305), soon(35 * 86_400 - 5)
    for at in (early, late):
        message = await sdk.send(schedule_type="fixed", send_at=at)
        assert (message.status, message.from_, message.num_segments) == ("scheduled", None, "0")
        fetched = await sdk.fetch(message.sid)
        assert (fetched.status, fetched.from_, fetched.body) == ("scheduled", None, "hello")
    for at in (soon(290), soon(35 * 86_400 + 5)):
        await sdk.refused(
            35114,
            400,
            sdk.client.messages.create,
            to=TO,
            body="x",
            messaging_service_sid=sdk.service_sid,
            schedule_type="fixed",
            send_at=at,
        )


async def test_a_scheduled_message_is_canceled(sdk: Sdk, receiver: Receiver) -> None:
    message = await sdk.send(schedule_type="fixed", send_at=soon(600), status_callback=receiver.url)
    context = sdk.client.messages(message.sid)
    await sdk.refused(20009, 409, context.delete)
    assert (await sdk.call(lambda: context.update(status="canceled"))).status == "canceled"
    await receiver.has([message.sid], last="canceled")
    assert receiver.statuses[message.sid] == ["canceled"]
    assert await sdk.call(context.delete) is True


async def test_an_account_holds_so_many_scheduled_messages(
    start_gateway: Start, smsc: Smsc
) -> None:
    sdk = await (await start_gateway(smsc.port, scheduling={"most_held": 2})).sdk()
    sids = []
    for _ in range(2):
        sids.append((await sdk.send(schedule_type="fixed", send_at=soon(600))).sid)
    form = {
        "to": TO,
        "body": "x",
        "messaging_service_sid": sdk.service_sid,
        "schedule_type": "fixed",
        "send_at": soon(600),
    }
    await sdk.refused(35125, 429, sdk.client.messages.create, **form)
    await sdk.call(lambda: sdk.client.messages(sids[0]).update(status="canceled"))
    assert (await sdk.send(schedule_type="fixed", send_at=soon(600))).status == "scheduled"
