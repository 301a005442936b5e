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

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from hooks import Hooks
from testing import NUMBERS, TO, WAIT_S, GatewayUnderTest, Sdk, until

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
