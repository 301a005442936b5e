"""What a messaging service does that one can see:
docs/spec/messaging-services.md#observable-checks, by its row numbers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from pools import Pool
from testing import GatewayUnderTest, Receiver, until

from gateway.backlog import overflow
from smpp.smsc import Smsc
from storage import messages as message_rows

Start = Callable[..., Awaitable[GatewayUnderTest]]

GB_US, GB_NUMBER, GB_OTHER = "+447400900001", "+447700900301", "+447700900302"
NEW_YORK, NEW_YORK_OVERLAY, ATLANTA = "+12125550120", "+16465550120", "+14045550120"
ATLANTA_SUBURB, ATLANTA_OVERLAY = "+17705550120", "+16785550120"
QUOTES = "“Hello” — it’s me…"


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


async def update(pool: Pool, **settings: Any) -> None:
    await pool.sdk.call(pool.service.update, **settings)


async def test_6_an_overlay_of_the_area_code_goes_before_a_number_from_afar(pool: Pool) -> None:
    await pool.number(ATLANTA)
    await pool.number(NEW_YORK_OVERLAY)
    assert {await pool.sender_of(f"+1212555020{n}") for n in range(4)} == {NEW_YORK_OVERLAY}
    await update(pool, area_code_geomatch=False)
    found = {await pool.sender_of(f"+1212555030{n}") for n in range(6)}
    assert found == {NEW_YORK_OVERLAY, ATLANTA}


async def test_7_overlays_are_not_transitive(pool: Pool) -> None:
    """404 and 770 both overlay with 678, and not with each other."""
    await pool.number(ATLANTA)
    await pool.number(ATLANTA_OVERLAY)
    assert {await pool.sender_of(f"+1770555020{n}") for n in range(4)} == {ATLANTA_OVERLAY}


async def test_8_recipients_are_shared_out_and_keep_their_sender(pool: Pool) -> None:
    for n in range(4):
        await pool.number(f"+44770090031{n}")
    recipients = [f"+4474009{n:05d}" for n in range(100)]
    first = {to: await pool.sender_of(to) for to in recipients}
    assert sorted(Counter(first.values()).values()) == [25, 25, 25, 25]
    again = {to: await pool.sender_of(to) for to in recipients[:20]}
    assert again == {to: first[to] for to in recipients[:20]}


async def test_8_the_mappings_outlive_the_process(start_gateway: Start, smsc: Smsc) -> None:
    gateway = await start_gateway(smsc.port)
    pool = await Pool.of(gateway, smsc)
    for n in range(4):
        await pool.number(f"+44770090031{n}")
    recipients = [f"+4474009{n:05d}" for n in range(20)]
    first = {to: await pool.sender_of(to) for to in recipients}
    await gateway.stop()
    gateway = await start_gateway(smsc.port)
    await gateway.bound()
    pool.sdk.client.api.base_url = f"{gateway.base_url}/api"
    assert {to: await pool.sender_of(to) for to in recipients} == first
    more = [await pool.sender_of(f"+4474008{n:05d}") for n in range(20)]
    assert sorted(Counter(more).values()) == [5, 5, 5, 5], "the counts were read again"


async def test_9_sticky_off_and_on_again_finds_the_old_sender(pool: Pool) -> None:
    await pool.number(GB_NUMBER)
    await pool.number(GB_OTHER)
    recipients = [f"+4474009{n:05d}" for n in range(6)]
    before = {to: await pool.sender_of(to) for to in recipients}
    await update(pool, sticky_sender=False)
    without = Counter([await pool.sender_of(recipients[0]) for _ in range(6)])
    assert set(without.values()) == {3}, "turn by turn"
    await update(pool, sticky_sender=True)
    assert {to: await pool.sender_of(to) for to in recipients} == before


async def test_10_a_sender_that_left_the_pool_is_replaced_for_good(pool: Pool) -> None:
    sids = {number: await pool.number(number) for number in (GB_NUMBER, GB_OTHER)}
    old = await pool.sender_of(GB_US)
    await pool.sdk.call(pool.service.phone_numbers(sids[old]).delete)
    new = await pool.sender_of(GB_US)
    assert new != old
    await pool.sdk.call(pool.service.phone_numbers.create, sids[old])
    assert await pool.sender_of(GB_US) == new


async def test_10_a_sender_that_came_back_has_lost_its_recipients(
    pool: Pool, gateway: GatewayUnderTest
) -> None:
    sids = {number: await pool.number(number) for number in (GB_NUMBER, GB_OTHER)}
    recipients = [f"+4474009{n:05d}" for n in range(8)]
    first = {to: await pool.sender_of(to) for to in recipients}
    await pool.sdk.call(pool.service.phone_numbers(sids[GB_NUMBER]).delete)
    await pool.sdk.call(pool.service.phone_numbers.create, sids[GB_NUMBER])
    connection = await asyncpg.connect(gateway.database_url)
    count = "SELECT count(*) FROM sticky"

    async def left() -> bool:
        return bool(await connection.fetchval(count) == 4)

    for _ in range(500):
        if await left():
            break
        await pool.sdk.call(pool.service.fetch)
    assert await left()
    await connection.close()
    kept = [to for to in recipients if first[to] == GB_OTHER]
    assert {await pool.sender_of(to) for to in kept} == {GB_OTHER}


async def test_11_a_number_of_the_recipients_country_takes_over(pool: Pool) -> None:
    await pool.number(NEW_YORK)
    assert await pool.sender_of(GB_US) == NEW_YORK
    await pool.number(GB_NUMBER)
    assert await pool.sender_of(GB_US) == GB_NUMBER


async def test_12_a_mapping_on_a_number_of_the_country_stays(pool: Pool) -> None:
    await pool.number(GB_NUMBER)
    assert await pool.sender_of(GB_US) == GB_NUMBER
    await pool.short_code("60071", "GB")
    assert await pool.sender_of(GB_US) == GB_NUMBER
    assert await pool.sender_of("+447400900002") == "60071"


async def test_13_what_waits_longer_than_its_validity_fails(
    start_gateway: Start, smsc: Smsc, receiver: Receiver
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    await pool.number(GB_NUMBER, SmsMps="1")
    sent = await asyncio.gather(  # at once: the last of them would have to wait for four seconds
        *(
            pool.sdk.send(
                f"{n}",
                f"+44740090000{n}",
                messaging_service_sid=pool.sid,
                validity_period=2,
                status_callback=receiver.url,
            )
            for n in range(5)
        )
    )
    sids = [message.sid for message in sent]
    await until(
        lambda: all(receiver.statuses[sid][-1:] in (["delivered"], ["failed"]) for sid in sids)
    )
    assert {receiver.statuses[sid][-1] for sid in sids} == {"delivered", "failed"}
    codes = {form["ErrorCode"] for form in receiver.forms if form["MessageStatus"] == "failed"}
    assert codes == {"30036"}


async def test_14_smart_encoding_makes_the_text_small(pool: Pool) -> None:
    await pool.number(GB_NUMBER)
    row = await pool.sent_from(GB_US)
    message = await pool.sdk.send(QUOTES, GB_US, messaging_service_sid=pool.sid)
    sent = await pool.sdk.reaches(message.sid, "delivered")
    assert (sent.num_segments, sent.body) == ("1", '"Hello" - it\'s me...')
    await update(pool, smart_encoding=False)
    message = await pool.sdk.send(QUOTES, GB_US, messaging_service_sid=pool.sid)
    sent = await pool.sdk.reaches(message.sid, "delivered")
    assert sent.body == QUOTES
    codings = [json.loads(line)["data_coding"] for line in pool.smsc.ledger.lines(GB_US)]
    assert codings == [row["data_coding"], 0, 8]


async def test_15_with_an_emoji_the_text_is_left_alone(pool: Pool) -> None:
    await pool.number(GB_NUMBER)
    text = f"{QUOTES} 🎉"
    message = await pool.sdk.send(text, GB_US, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "delivered")).body == text
    [line] = pool.smsc.ledger.lines(GB_US)
    assert json.loads(line)["data_coding"] == 8
    assert json.loads(line)["text"] == text


async def test_23_an_escape_pair_is_never_split(pool: Pool) -> None:
    await pool.number(GB_NUMBER)
    message = await pool.sdk.send("]" * 153, GB_US, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "delivered")).num_segments == "3"
    texts = [json.loads(line)["text"] for line in pool.smsc.ledger.lines(GB_US)]
    assert texts == ["]" * 76, "]" * 76, "]"]


async def test_24_a_full_queue_refuses_a_plain_from_and_fails_a_service(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    await pool.number(GB_NUMBER, SmsMps="0.0005")  # 18 segments in ten hours
    for n in range(19):  # one goes at once
        await pool.sdk.send(f"{n}", f"+4474009{n:05d}", from_=GB_NUMBER)
    send = pool.sdk.client.messages.create
    await pool.sdk.refused(21611, 400, send, to=GB_US, from_=GB_NUMBER, body="x")
    message = await pool.sdk.send("x", GB_US, messaging_service_sid=pool.sid)
    assert message.status == "accepted"
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 30001


async def test_24_what_waits_for_a_sender_counts_for_the_limit(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    await pool.number(GB_NUMBER, SmsMps="0.0005")
    sids = [
        (await pool.sdk.send(f"{n}", f"+4474009{n:05d}", messaging_service_sid=pool.sid)).sid
        for n in range(21)  # one goes at once, eighteen wait
    ]
    await pool.sdk.reaches(sids[-1], "failed")
    shown = Counter([(await pool.sdk.fetch(sid)).status for sid in sids])
    assert shown["failed"] == 2
    assert shown["accepted"] >= 15, "most have no sender yet"


async def test_what_waits_for_a_removed_number_leaves_from_another(
    start_gateway: Start, smsc: Smsc, receiver: Receiver
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    slow = await pool.number(GB_NUMBER, SmsMps="0.01")
    named = {"messaging_service_sid": pool.sid, "status_callback": receiver.url}
    waiting = [
        (await pool.sdk.send(f"{n}", f"+44740090000{n}", from_=GB_NUMBER, **named)).sid
        for n in range(4)
    ]
    late = [(await pool.sdk.send(f"{n}", f"+44740090001{n}", **named)).sid for n in range(4)]
    assert (await pool.sdk.fetch(late[-1])).status == "accepted"
    await pool.number(GB_OTHER, SmsMps="1000")
    await pool.sdk.call(pool.service.phone_numbers(slow).delete)
    for sid in (*waiting[1:], *late):
        assert (await pool.sdk.reaches(sid, "delivered")).from_ == GB_OTHER
    await receiver.has([*waiting, *late])
    for sid in (*waiting, *late):
        assert receiver.statuses[sid] == ["queued", "sent", "delivered"]


async def test_what_has_a_plain_from_stays_with_its_number_whoever_leaves_a_pool(
    start_gateway: Start, smsc: Smsc
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    member = await pool.number(GB_NUMBER, SmsMps="0.01")
    alone = await pool.sdk.call(
        pool.sdk.client.incoming_phone_numbers.create, phone_number=GB_OTHER
    )
    assert alone.sid != member
    waiting = {
        number: [
            (await pool.sdk.send(f"{n}", f"+44740090000{n}", from_=number)).sid for n in range(3)
        ]
        for number in (GB_NUMBER, GB_OTHER)
    }
    await pool.sdk.call(pool.service.phone_numbers(member).delete)
    await pool.sdk.send("later", "+447400900009", from_=GB_OTHER)
    for number, sids in waiting.items():
        for sid in sids:
            message = await pool.sdk.fetch(sid)
            assert message.from_ == number
            assert message.status in ("queued", "sending", "sent", "delivered")


async def test_what_has_a_plain_from_fails_when_its_number_is_deleted(
    start_gateway: Start, smsc: Smsc, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time it could go, the number may be another account's."""
    for name, value in {"HIGH": 2, "LOW": 2, "LEAST": 2}.items():  # the rest waits in rows
        monkeypatch.setattr(overflow, name, value)
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    alone = await pool.number(GB_NUMBER, SmsMps="0.01")
    named = {"from_": GB_NUMBER, "status_callback": receiver.url}
    sids = [(await pool.sdk.send(f"{n}", f"+44740090000{n}", **named)).sid for n in range(6)]
    await pool.sdk.reaches(sids[0], "delivered")
    assert len(gateway.pipeline.overflow)
    await pool.sdk.call(pool.sdk.client.incoming_phone_numbers(alone).delete)
    for sid in sids[1:]:
        assert (await pool.sdk.reaches(sid, "failed")).error_code == 21711
    await receiver.has(sids[1:], "failed")
    assert len(list(smsc.ledger.lines())) == 1
    assert not len(gateway.pipeline.overflow)
    assert not len(gateway.pipeline.pacer)


async def test_a_plain_from_that_is_deleted_while_its_message_is_committed_fails(
    start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    alone = await pool.number(GB_NUMBER, SmsMps="0.01")
    assert await pool.sender_of("+447400900001") == GB_NUMBER  # its one token
    insert = message_rows.insert

    async def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(message_rows, "insert", insert)
        await pool.sdk.call(pool.sdk.client.incoming_phone_numbers(alone).delete)
        return await insert(*arguments)

    monkeypatch.setattr(message_rows, "insert", meanwhile)
    message = await pool.sdk.send("late", "+447400900005", from_=GB_NUMBER)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21711


async def test_late_messages_are_taken_up_after_a_restart(start_gateway: Start, smsc: Smsc) -> None:
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    pool = await Pool.of(gateway, smsc)
    slow = await pool.number(GB_NUMBER, SmsMps="0.01")
    sids = [
        (await pool.sdk.send(QUOTES, f"+44740090000{n}", messaging_service_sid=pool.sid)).sid
        for n in range(6)
    ]
    await gateway.stop()
    gateway = await start_gateway(smsc.port, default_rate_per_second=None)
    await gateway.bound()
    for product in ("api", "messaging"):
        getattr(pool.sdk.client, product).base_url = f"{gateway.base_url}/{product}"
    pool.sdk.base_url = gateway.base_url
    await pool.number(GB_OTHER, SmsMps="1000")
    await pool.sdk.call(pool.service.phone_numbers(slow).delete)
    for sid in sids[2:]:
        sent = await pool.sdk.reaches(sid, "delivered")
        assert (sent.from_, sent.num_segments) == (GB_OTHER, "1")


@pytest.mark.parametrize("batch", ["insert", "assign"])
async def test_a_number_that_leaves_while_its_message_is_committed_is_replaced(
    batch: str, start_gateway: Start, smsc: Smsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen before, queued after: nobody would look at it again."""
    gateway = await start_gateway(
        smsc.port, default_rate_per_second=None, scheduling={"least_s": 0}
    )
    pool = await Pool.of(gateway, smsc)
    slow = await pool.number(GB_NUMBER, SmsMps="0.01")
    assert await pool.sender_of(GB_US) == GB_NUMBER  # its one token until the day after tomorrow
    write = getattr(message_rows, batch)
    changed = False

    async def meanwhile(*arguments: Any) -> Any:
        nonlocal changed
        if not changed:
            changed = True
            await pool.number(GB_OTHER, SmsMps="1000")
            await pool.sdk.call(pool.service.phone_numbers(slow).delete)
        return await write(*arguments)

    monkeypatch.setattr(message_rows, batch, meanwhile)
    due = (
        {"schedule_type": "fixed", "send_at": datetime.now(UTC) + timedelta(seconds=1)}
        if batch == "assign"
        else {}
    )
    message = await pool.sdk.send("late", "+447400900005", messaging_service_sid=pool.sid, **due)
    assert (await pool.sdk.reaches(message.sid, "delivered")).from_ == GB_OTHER
    assert changed


async def test_a_change_elsewhere_leaves_a_pool_and_its_standings_alone(
    pool: Pool, gateway: GatewayUnderTest
) -> None:
    for n in range(6):
        await pool.number(f"+44770090031{n}")
    await pool.sender_of(GB_US)
    directory, loads = gateway.pipeline.runtime.directory, gateway.pipeline.router.loads
    before, orders = directory.services[pool.sid].pool, dict(loads._orders)
    assert orders
    for n in range(5):
        await pool.sdk.call(pool.sdk.client.messaging.v1.services.create, f"Other {n}")
    assert directory.services[pool.sid].pool is before
    assert loads._orders == orders

    await update(pool, sticky_sender=False)
    assert directory.services[pool.sid].pool is not before
    assert loads._orders == {}, "what was kept about the replaced pool is gone"
    assert await pool.sender_of(GB_US)
