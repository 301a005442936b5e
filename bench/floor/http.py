"""Accepting over HTTP: httptools, one form, one answer; and bulk requests of the same shape."""

from __future__ import annotations

import asyncio
from typing import Final, cast
from urllib.parse import unquote_to_bytes

import httptools
import orjson

from bench.floor.message import Message, date_of
from bench.floor.pipeline import Pipeline

URI: Final = "/2010-04-01/Accounts/AC/Messages/%b"
# A text comes with its quotation marks; all else has none that would have to be escaped.
CREATED: Final = orjson.dumps(
    {
        "body": "TEXT",
        "num_segments": "1",
        "direction": "outbound-api",
        "from": "%b",
        "date_updated": "%b",
        "price": None,
        "error_message": None,
        "uri": f"{URI}.json",
        "account_sid": "AC",
        "num_media": "0",
        "to": "%b",
        "date_created": "%b",
        "status": "queued",
        "sid": "%b",
        "date_sent": None,
        "messaging_service_sid": None,
        "error_code": None,
        "price_unit": "USD",
        "api_version": "2010-04-01",
        "subresource_uris": {"media": f"{URI}/Media.json"},
        "tags": None,
    }
).replace(b'"TEXT"', b"%b")


class Http(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, pipeline: Pipeline, authorization: bytes) -> None:
        self._pipeline = pipeline
        self._authorization = authorization
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = self._body = b""
        self._known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self._known = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Authorization":
            self._known = value == self._authorization

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._known:
            self._answer(b"401 Unauthorized", b"{}")
        elif self._url.endswith(b"/Messages.json"):
            form = parse_form(self._body)
            message = Message(
                form[b"To"], form[b"From"], form[b"Body"].decode(), form.get(b"StatusCallback")
            )
            self._pipeline.accept([message], lambda: self._created(message))
        else:
            request = orjson.loads(self._body)
            sender, text = request["from"]["address"].encode(), request["content"]["text"]
            url = request.get("statusCallback")
            callback = url.encode() if url is not None else None
            messages = [
                Message(to["address"].encode(), sender, text, callback) for to in request["to"]
            ]
            self._pipeline.accept(messages, self._operation)

    def _created(self, message: Message) -> None:
        self._answer(b"201 Created", created(message))

    def _operation(self) -> None:
        self._answer(b"202 Accepted", b'{"operationId":"floor"}')

    def _answer(self, status: bytes, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (status, len(body), body)
            )


def parse_form(body: bytes) -> dict[bytes, bytes]:
    form = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if b"+" in value:
            value = value.replace(b"+", b" ")
        if b"%" in value:
            value = unquote_to_bytes(value)
        form[name] = value
    return form


def created(message: Message) -> bytes:
    """The Message resource of a 201, with the gateway's fields."""
    sid, date = message.sid, date_of(int(message.created_at))
    text = orjson.dumps(message.body)
    return CREATED % (text, message.sender, date, sid, message.recipient, date, sid, sid)
