"""What an app's answer to a pre-event webhook may change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.conversations.pre_webhooks import LONGEST, changes_of


def changes(name: str, **fields: Any) -> dict[str, str]:
    return changes_of(name, json.dumps(fields).encode())


def test_each_event_has_fields_that_may_be_set() -> None:
    given = {"friendly_name": "a", "body": "b", "author": "c", "attributes": "{}", "sid": "d"}
    assert changes("onConversationAdd", **given) == {"friendly_name": "a"}
    assert changes("onMessageAdd", **given) == {"body": "b", "author": "c", "attributes": "{}"}
    assert changes("onParticipantAdd", **given) == {}


@pytest.mark.parametrize("value", [7, None, "a\x00b"])
def test_what_does_not_fit_a_field_leaves_it_as_it_was(value: object) -> None:
    assert changes("onMessageAdd", body=value) == {}


@pytest.mark.parametrize("field", ["body", "author"])
def test_a_field_has_a_length(field: str) -> None:
    most = "x" * LONGEST[field]
    assert changes("onMessageAdd", **{field: most}) == {field: most}
    assert changes("onMessageAdd", **{field: most + "x"}) == {}


def test_attributes_are_json() -> None:
    assert changes("onMessageAdd", attributes="{") == {}
    assert changes("onMessageAdd", attributes="[1]") == {"attributes": "[1]"}


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"\xff", b'"text"'])
def test_what_is_no_object_changes_nothing(body: bytes) -> None:
    assert changes_of("onMessageAdd", body) == {}
