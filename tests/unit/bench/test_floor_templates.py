"""What the floor renders from templates is what would be rendered anew."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import parse_qsl

import asyncpg
import orjson
import pytest

from bench.floor.callbacks import frame_of
from bench.floor.http import created, parse_form
from bench.floor.message import Message
from bench.floor.rows import SAME, VALID_S, Rows
from gateway.webhooks.signature import string_to_sign
from storage.database import open_connection
from storage.migrate import migrate

TEXTS = ['"quoted" 100 % \\ %b', "€ 中 🎉", "", "OWNSID\n"]
SENDER, TO, CALLBACK = b"+447700900101", b"+447900000001", b"http://a.test/status?order=1"


@pytest.mark.parametrize("text", TEXTS)
def test_a_201_shows_the_message(text: str):
    message = Message(TO, SENDER, text, None)
    shown = orjson.loads(created(message))
    sid = message.sid.decode()
    assert (shown["body"], shown["to"], shown["from"], shown["sid"]) == (
        *(text, TO.decode(), SENDER.decode(), sid),
    )
    assert shown["uri"] == f"/2010-04-01/Accounts/AC/Messages/{sid}.json"
    assert shown["subresource_uris"] == {"media": shown["uri"].replace(".json", "/Media.json")}
    assert shown["date_created"] == formatdate(int(message.created_at), usegmt=True)


@pytest.mark.parametrize("done", [0, 1])
def test_a_callback_has_its_parameters_and_signs_them(done: int):
    frame = frame_of(SENDER, done)
    sid, date = b"SM" + b"1" * 32, b"Tue, 01 Dec 2026 01:02:03 GMT"
    body = frame.body % (
        sid,
        sid,
        b"%2B447900000001",
        b"Tue%2C%2001%20Dec%202026%2001%3A02%3A03%20GMT",
    )
    parameters = parse_qsl(body.decode(), strict_parsing=True)
    shown = dict(parameters)
    assert (shown["MessageSid"], shown["SmsSid"]) == (sid.decode(),) * 2
    assert (shown["To"], shown["From"]) == (TO.decode(), SENDER.decode())
    assert shown["EventTimestamp"] == date.decode()
    assert shown["MessageStatus"] == ("sent", "delivered")[done]
    signed = frame.signed % (CALLBACK, date, sid, sid, TO)
    assert signed.decode() == string_to_sign(CALLBACK.decode(), parameters)


def test_a_form_is_read():
    assert parse_form(b"To=%2B44&Body=a+b%26%C3%A9") == {b"To": b"+44", b"Body": "a b&é".encode()}


async def test_rows_are_read_back_as_they_were_meant(empty_database_url: str):
    connection = await open_connection(empty_database_url)
    try:
        await migrate(connection)
        messages = [Message(TO, SENDER, text, CALLBACK if text else None) for text in TEXTS]
        await (await Rows.of(connection)).insert(connection, messages)
        for message in messages:
            row = await connection.fetchrow("SELECT * FROM messages WHERE id = $1", message.id)
            _is_row_of(message, row)
    finally:
        await connection.close()


def _is_row_of(message: Message, row: asyncpg.Record) -> None:
    assert {name: row[name] for name in SAME} == SAME
    assert row["body"] == message.body
    assert (row["recipient"], row["sender"]) == (TO.decode(), SENDER.decode())
    assert row["callback_url"] == (message.callback.decode() if message.callback else None)
    assert row["queued_at"].timestamp() == pytest.approx(message.created_at, abs=1e-5)
    assert (row["expires_at"] - row["queued_at"]).total_seconds() == pytest.approx(VALID_S)
    own = {"id", "body", "recipient", "sender", "callback_url", "queued_at", "expires_at"}
    assert all(row[name] is None for name in set(row.keys()) - own - SAME.keys())
