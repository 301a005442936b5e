"""What is redacted or deleted is nowhere any more: no table, no file, no queue, no log.

A text that stands nowhere else is sent in and out, through conversations, alerts and kept
deliveries; then it is looked for in every column of the whole database and every file of the data
folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from hooks import Hooks
from odd_carrier import OddCarrier
from testing import NUMBERS, TO, WAIT_S, GatewayUnderTest, Sdk, until

from smpp import vocabulary as v
from smpp.smsc import Smsc

MARKER = "Zebrafinkenlied"
HANDSET = "+447700900500"
Start = Callable[..., Awaitable[GatewayUnderTest]]


async def write(smsc: Smsc, text: str, to: str = NUMBERS[0]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{smsc.control_port}/mo",
            json={"from": HANDSET, "to": to, "text": text},
        ) as response,
    ):
        assert response.status == 200, await response.text()


async def in_tables(url: str) -> list[str]:
    """Tables and columns in which the marker stands, as text or as octets."""
    connection = await asyncpg.connect(url)
    found = []
    columns = await connection.fetch(
        "SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns AS c"
        " JOIN information_schema.tables AS t USING (table_schema, table_name)"
        " WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
    )
    for table, column, kind in columns:
        if kind == "bytea":
            text = f"convert_from({column}, 'latin1')"
            # GSM-7 keeps ASCII letters, UCS-2 puts a zero before each.
            text = f"replace(encode({column}, 'escape'), '\\000', '')"
        else:
            text = f"{column}::text"
        if await connection.fetchval(
            f'SELECT count(*) FROM "{table}" WHERE {text} LIKE $1', f"%{MARKER}%"
        ):
            found.append(f"{table}.{column}")
    await connection.close()
    return found


def in_files(folder: Path) -> Iterator[str]:
    """Files of the gateway's data folder, its own database's apart, in which it stands."""
    for file in folder.rglob("*"):
        if file.is_file() and "postgres" not in file.parts:
            content = file.read_bytes()
            if MARKER.encode() in content.replace(b"\x00", b""):
                yield str(file)


async def the_message(sdk: Sdk, **which: Any) -> Any:
    async with asyncio.timeout(WAIT_S):
        while not (found := await sdk.call(sdk.client.messages.list, **which)):
            await asyncio.sleep(0.02)
    return found[0]


@pytest.fixture
async def gateway(start_gateway: Start, smsc: Smsc) -> GatewayUnderTest:
    return await start_gateway(smsc.port)


@pytest.mark.parametrize("how", ["redacted", "deleted"])
async def test_a_message_that_is_erased_is_nowhere(
    gateway: GatewayUnderTest,
    sdk: Sdk,
    smsc: Smsc,
    hooks: Hooks,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def refuses(request: web.Request) -> web.Response:
        form = await request.post()
        return web.Response(status=500, text=f"can not handle {form.get('Body')}")

    hooks.answers["/in"] = refuses
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    # Out, with a callback that is not taken; and in, long, with a webhook that is not.
    hooks.answers["/status"] = refuses
    sent = await sdk.send(f"{MARKER} 1", status_callback=hooks.url("/status"))
    await sdk.reaches(sent.sid, "delivered")
    await write(smsc, f"{MARKER} 2 " + "x" * 200)
    await hooks.has("/in")
    await hooks.has("/status")
    # Into a conversation, whose events nobody takes either.
    conversations = sdk.client.conversations.v1
    await sdk.call(
        conversations.configuration.webhooks().update,
        post_webhook_url=hooks.url("/status"),
        filters=["onMessageAdded"],
        method="POST",
    )
    conversation = await sdk.call(conversations.conversations.create)
    await sdk.call(
        conversations.conversations(conversation.sid).participants.create,
        messaging_binding_address=HANDSET,
        messaging_binding_proxy_address=NUMBERS[1],
    )
    await write(smsc, f"{MARKER} 3", NUMBERS[1])
    await until(lambda: any("IM" in str(taken.form) for taken in hooks.at("/status")))
    assert await in_tables(gateway.database_url), "the search finds what is there"

    messages = await sdk.call(sdk.client.messages.list)
    assert len(messages) == 3
    for message in messages:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    if how == "redacted":
                        await sdk.call(message.update, body="")
                    else:
                        await sdk.call(message.delete)
                    break
                except Exception:  # not in a final state yet
                    await asyncio.sleep(0.05)
    told = len(hooks.at("/in"))
    # An Alert of a call that was under way is written a moment later.
    for _ in range(2):
        sdk_alerts = await sdk.call(sdk.client.monitor.v1.alerts.list)
        assert sdk_alerts
    assert await in_tables(gateway.database_url) == []
    await until(lambda: not list(in_files(tmp_path)))
    for alert in sdk_alerts:
        shown = await sdk.call(sdk.client.monitor.v1.alerts(alert.sid).fetch)
        assert MARKER not in str(
            shown._properties if hasattr(shown, "_properties") else vars(shown)
        )
    assert MARKER not in caplog.text
    # The webhook of the inbound one was owed; it is not any more.
    await until(lambda: gateway.inner.handlers is not None and not gateway.inner.handlers.waiting)
    assert len(hooks.at("/in")) == told
    assert await in_tables(gateway.database_url) == []


async def test_a_webhook_that_is_owed_is_not_called_for_what_was_redacted(
    gateway: GatewayUnderTest, sdk: Sdk, smsc: Smsc, hooks: Hooks
) -> None:
    async def refuses(request: web.Request) -> web.Response:
        return web.Response(status=503)

    hooks.answers["/in"] = refuses
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    await sdk.call(number.update, sms_url=hooks.url("/in"))
    await write(smsc, MARKER)
    await write(smsc, "another")
    await hooks.has("/in", 2)
    message = await the_message(sdk, from_=HANDSET, to=NUMBERS[0])
    [marked] = [
        one for one in await sdk.call(sdk.client.messages.list, from_=HANDSET) if one.body == MARKER
    ]
    await sdk.call(marked.update, body="")
    before = sum(taken.form.get("Body") == MARKER for taken in hooks.at("/in"))
    # The other one is tried again and again; the redacted one never.
    await hooks.has("/in", 5)
    assert sum(taken.form.get("Body") == MARKER for taken in hooks.at("/in")) == before
    assert not any(taken.form.get("Body") == "" for taken in hooks.at("/in"))
    assert message is not None


async def test_the_callbacks_of_a_deleted_message_end(
    gateway: GatewayUnderTest, sdk: Sdk, hooks: Hooks
) -> None:
    async def refuses(request: web.Request) -> web.Response:
        return web.Response(status=503)

    hooks.answers["/status"] = refuses
    sent = await sdk.send(to=TO, status_callback=hooks.url("/status"))
    await sdk.reaches(sent.sid, "delivered")
    await hooks.has("/status")
    await sdk.call(sdk.client.messages(sent.sid).delete)
    callbacks = gateway.inner.callbacks
    assert callbacks is not None
    await until(lambda: not callbacks.waiting and not callbacks.under_way)


# As a response gave the id, and as a receipt does.
SPELLINGS = [
    ("7a1b3c01", "2048605185"),  # hex, in decimal
    ("2048605186", "7a1b3c02"),  # decimal, in hex
    ("2048605187", "7A1B3C03"),
    ("0007a1b3c04", "7A1B3C04"),
    ("7A1B3C05", "000000007a1b3c05"),
    ("7a1B3C06", "7A1b3c06"),
    ("00002048605191", "7A1B3C07"),
    ("Aa-08", "00aA-08"),
    *[("900", "900")] * 2,  # nobody knows which of two
]
OTHERS = "2048605199"  # which is ours in decimal
OURS = "7a1b3c0f"
STRANGER = "441632960100"


def quoting(carrier_id: str) -> bytes:
    return f"id:{carrier_id} submit date:2611300900 stat:DELIVRD err:000 text:{MARKER}".encode()


async def kept_texts(gateway: GatewayUnderTest) -> dict[str, bool]:
    """By id, whether what is kept of receipts still has the text or an address."""
    pool = gateway.pipeline.runtime.pool
    rows = await pool.fetch("SELECT * FROM kept_deliveries")
    return {
        row["carrier_message_id"]: MARKER.encode() in row["payload"] + row["tlvs"] for row in rows
    }


@pytest.mark.parametrize("how", ["redacted", "deleted", "obfuscated"])
async def test_a_receipt_that_matched_nothing_is_erased_however_it_spells_the_id(
    start_gateway: Start, odd: OddCarrier, how: str
) -> None:
    """A stranger's addresses keep it from its message; what is another message's stays."""
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    options = {"address_retention": "obfuscate"} if how == "obfuscated" else {}
    sids = []
    ours = [submitted for submitted, _ in SPELLINGS] + [OURS]
    for place, submitted in enumerate((*ours, OTHERS, OTHERS)):
        odd.message_id = submitted
        given = options if submitted != OTHERS else {}
        sent = await sdk.send(MARKER, f"+4416329602{place:02d}", from_=NUMBERS[0], **given)
        await sdk.reaches(sent.sid, "sent")
        sids.append(sent.sid)
    await gateway.pipeline.writer.drained()
    receipted = {name for _, name in SPELLINGS}
    for name in (*receipted, OTHERS):
        status = await odd.delivered(quoting(name), source=STRANGER, esm_class=v.ESM_RECEIPT)
        assert status == v.ESME_ROK
    assert await kept_texts(gateway) == dict.fromkeys((*receipted, OTHERS), True)
    # One that is linked with another's message, and spells the id as ours is.
    pool = gateway.pipeline.runtime.pool
    await pool.execute(
        "INSERT INTO kept_deliveries (carrier_id, at, reason, carrier_message_id, source,"
        " destination, esm_class, data_coding, payload, tlvs, message_id)"
        " SELECT carrier_id, at, 'duplicate', '7A1B3C0F', source, destination, esm_class,"
        " data_coding, payload, tlvs, $1 FROM kept_deliveries WHERE carrier_message_id = $2",
        UUID(sids[-1][2:]),
        OTHERS,
    )
    for place, submitted in enumerate(ours):
        receipt = f"id:{submitted} submit date:2611300900 stat:DELIVRD err:000".encode()
        await odd.delivered(receipt, source=f"4416329602{place:02d}", esm_class=v.ESM_RECEIPT)
        message = await sdk.reaches(sids[place], "delivered")
        if how == "redacted":
            await sdk.call(message.update, body="")
        elif how == "deleted":
            await sdk.call(message.delete)
    left = dict.fromkeys(receipted, False) | {OTHERS: True, "7A1B3C0F": True}
    async with asyncio.timeout(WAIT_S):
        while await kept_texts(gateway) != left:
            assert how == "obfuscated"
            await asyncio.sleep(0.05)
    if how == "obfuscated":
        rows = await pool.fetch("SELECT source, carrier_message_id FROM kept_deliveries")
        strangers = {name for source, name in rows if source == STRANGER}
        assert strangers == {OTHERS, "7A1B3C0F"}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("how", ["redacted", "deleted", "discarded", "obfuscated"])
async def test_what_a_carrier_says_again_of_an_erased_message_is_not_kept(
    start_gateway: Start, odd: OddCarrier, tmp_path: Path, how: str, restarted: bool
) -> None:
    """Receipts come twice, and quote the text; the message is in memory, or only in its rows."""
    gateway = await start_gateway(odd.port)
    sdk = await gateway.sdk()
    options = {"discarded": {"content_retention": "discard"}}.get(how, {})
    options |= {"address_retention": "obfuscate"} if how == "obfuscated" else {}
    spellings = [("7a1b3d01", "7a1b3d01"), ("7a1b3d02", "2048605442"), ("007a1b3d03", "7A1B3D03")]
    for place, (submitted, _) in enumerate(spellings):
        odd.message_id = submitted
        sent = await sdk.send(MARKER, f"+4416329602{place:02d}", from_=NUMBERS[0], **options)
        await sdk.reaches(sent.sid, "sent")
        plain = f"id:{submitted} submit date:2611300900 stat:DELIVRD err:000".encode()
        await odd.delivered(plain, source=f"4416329602{place:02d}", esm_class=v.ESM_RECEIPT)
        message = await sdk.reaches(sent.sid, "delivered")
        if how == "redacted":
            await sdk.call(message.update, body="")
        elif how == "deleted":
            await sdk.call(message.delete)
    pool = gateway.pipeline.runtime.pool
    if how in ("discarded", "obfuscated"):
        erased = "flags & 512 <> 0" if how == "discarded" else "right(recipient, 4) = 'XXXX'"
        query = f"SELECT count(*) FROM messages WHERE {erased}"
        async with asyncio.timeout(WAIT_S):
            while await pool.fetchval(query) < len(spellings):
                await asyncio.sleep(0.05)
    if restarted:
        await gateway.stop()
        odd.bound.clear()
        gateway = await start_gateway(odd.port)
        await odd.bound.wait()
    for place, (_, name) in enumerate(spellings):
        status = await odd.delivered(
            quoting(name), source=f"4416329602{place:02d}", esm_class=v.ESM_RECEIPT
        )
        assert status == v.ESME_ROK
    async with asyncio.timeout(WAIT_S):  # what is a duplicate is answered before it is kept
        while len(texts := await kept_texts(gateway)) < len(spellings):
            await asyncio.sleep(0.02)
    assert texts == {name: False for _, name in spellings}
    assert "kept_deliveries.payload" not in await in_tables(gateway.database_url)
    if how in ("deleted", "obfuscated"):
        pool = gateway.pipeline.runtime.pool
        sources = await pool.fetch("SELECT source FROM kept_deliveries")
        assert not any(source["source"].startswith("4416329602") for source in sources)
    if how in ("redacted", "deleted"):
        journal = gateway.pipeline.runtime.journal
        async with asyncio.timeout(WAIT_S):
            while await journal.find(1, (MARKER.encode(),), 0.0, 2e9):
                await asyncio.sleep(0.05)
