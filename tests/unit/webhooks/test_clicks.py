"""Click events: who only looks, and what the app is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from testing import until

from gateway.runtime.clock import SystemClock
from gateway.webhooks import host_queues
from gateway.webhooks.clicks import TRIES, Click, Clicks, is_preview
from gateway.webhooks.client import NOT_OK, WebhookRequest, WebhookResponse
from gateway.webhooks.connections import Connections

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 Safari/604.1"

CLICK = Click(
    token="0" * 32,
    callback_url="https://u:p@app.example:8443/clicks",
    account_id=1,
    message_sid="SM" + "1" * 32,
    service_sid="MG1",
    recipient="+15551230001",
    sender="+15551230002",
    link="https://shop.example/a",
    at=1_700_000_000.25,
    preview=False,
    user_agent=PHONE,
)


@dataclass
class Account:
    sid: str = "AC1"
    auth_token: str = "token"


@dataclass
class Accounts:
    accounts_by_id: dict[int, Account]


@dataclass
class App:
    """Answers the first requests with these statuses, and 204 afterwards."""

    statuses: list[int]
    hooks: list[WebhookRequest] = field(default_factory=list)

    async def call(self, hook: WebhookRequest) -> WebhookResponse:
        self.hooks.append(hook)
        status = self.statuses.pop(0) if self.statuses else 204
        return WebhookResponse(
            status, error_code=0 if status == 204 else NOT_OK, reason=f"HTTP {status}"
        )


@dataclass
class Raised:
    codes: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def alert(self, code: int, text: str, **_: Any) -> None:
        self.codes.append(code)
        self.texts.append(text)


@pytest.mark.parametrize("failures", [TRIES - 1, TRIES])
async def test_an_event_is_told_five_times_and_then_given_up(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_queues, "FIRST_RETRY_S", 0.001)
    app, raised = App([500] * failures), Raised()
    accounts: Any = Accounts({1: Account()})
    runtime: Any = SimpleNamespace(
        directory=accounts, clock=SystemClock(), random=Random(1), alerts=raised
    )
    clicks = Clicks(runtime, cast("Any", app), Connections())
    running = asyncio.create_task(clicks.run())
    try:
        clicks.tell(CLICK)
        await until(lambda: clicks.posted + clicks.given_up == 1)
    finally:
        running.cancel()
    assert len(app.hooks) == TRIES
    assert {hook.idempotency_token for hook in app.hooks} == {CLICK.token}
    assert clicks.given_up == (failures == TRIES)
    assert raised.codes == ([NOT_OK] if failures == TRIES else [])
    assert not any("u:p" in text for text in raised.texts)


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
    assert json.loads(CLICK.event("AC1")) == {
        "event_type": "click",
        "sms_sid": "SM" + "1" * 32,
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
    assert WebhookRequest(url, (), "token", json=b"{}").target == f"{url}{joint}bodySHA256={digest}"
