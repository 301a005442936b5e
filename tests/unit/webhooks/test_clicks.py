"""Click events: who only looks, and what the app is told."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from gateway.webhooks.clicks import Click, is_preview
from gateway.webhooks.client import Hook

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 Safari/604.1"


@pytest.mark.parametrize(
    ("method", "agent", "preview"),
    [
        ("GET", PHONE, False),
        ("GET", "", False),
        ("HEAD", PHONE, True),
        ("GET", "facebookexternalhit/1.1 Facebot Twitterbot/1.0", True),
        ("GET", "WhatsApp/2.23.20.0", True),
    ],
)
def test_a_machine_that_looks_is_no_click(method: str, agent: str, preview: bool) -> None:
    assert is_preview(method, agent) is preview


def test_the_event_says_whose_link_was_opened() -> None:
    click = Click(
        token="0" * 32,
        callback_url="https://u:p@app.example:8443/clicks",
        account_id=1,
        message_sid="SM1",
        service_sid="MG1",
        recipient="+15551230001",
        sender="+15551230002",
        link="https://shop.example/a",
        at=1_700_000_000.25,
        preview=False,
        user_agent=PHONE,
    )
    assert json.loads(click.event("AC1")) == {
        "event_type": "click",
        "sms_sid": "SM1",
        "to": "+15551230001",
        "from": "+15551230002",
        "link": "https://shop.example/a",
        "click_time": "2023-11-14T22:13:20.250Z",
        "messaging_service_sid": "MG1",
        "account_sid": "AC1",
        "user_agent": PHONE,
    }


@pytest.mark.parametrize(
    ("url", "joint"), [("http://a.example/", "?"), ("http://a.example/?b", "&")]
)
def test_json_is_signed_by_its_digest_in_the_url(url: str, joint: str) -> None:
    digest = sha256(b"{}").hexdigest()
    assert Hook(url, (), "token", json=b"{}").target == f"{url}{joint}bodySHA256={digest}"
