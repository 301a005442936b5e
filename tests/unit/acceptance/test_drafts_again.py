"""A stored message is chosen a sender for as it would have been at first."""

from __future__ import annotations

from random import Random

from gateway.acceptance.draft import Draft
from gateway.directory.directory import Directory
from gateway.messages.message import Flag, IdSource, Message
from gateway.routing.destination import parse_destination

next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).randbytes)
LINKS = {"links": ["https://a/1234567", "https://a/abcdefG"]}


def message(body: str = "hi", flags: int = 0, **extras: object) -> Message:
    return Message(next_id(), 1, "+441632960675", body, flags=flags, extras=extras or None)


def again(one: Message, body: str) -> Draft:
    destination = parse_destination(one.recipient)
    assert destination is not None
    return Draft.again(one, destination, Directory(), body)


def test_the_text_of_a_converted_message_ends_with_its_links() -> None:
    converted = Flag.MEDIA | Flag.CONVERTED
    assert message("hi", converted, **LINKS).text == "hi https://a/1234567 https://a/abcdefG"
    assert message("", converted, **LINKS).text == "https://a/1234567 https://a/abcdefG"
    assert message("hi", Flag.MEDIA, **LINKS).text == "hi"


def test_an_mms_has_media_and_a_converted_message_and_a_text_have_none() -> None:
    assert message("hi", Flag.MEDIA, **LINKS).media == tuple(LINKS["links"])
    assert message("hi", Flag.MEDIA).media == ()
    assert message("hi", Flag.MEDIA | Flag.CONVERTED, **LINKS).media is None
    assert message("hi").media is None


def test_smart_encoding_is_what_the_stored_text_shows_but_of_an_mms_what_was_asked_for() -> None:
    assert again(message("hi"), "hi").smart is False
    assert again(message("“hi”"), '"hi"').smart is True
    assert again(message("hi", Flag.MEDIA, smart=True), "hi").smart is True
    assert again(message("hi", Flag.MEDIA), "hi").smart is None
    converted = message("“hi”", Flag.MEDIA | Flag.CONVERTED, **LINKS)
    assert again(converted, '"hi" https://a/1234567 https://a/abcdefG').smart is True
    assert again(converted, converted.text).smart is False
