"""Click events: that somebody opened a short link, told to its domain's callback URL
(docs/spec/messaging-services.md#further-features).

JSON, signed as Twilio signs JSON. A click whose event cannot be told is tried again a few times
and then given up with an alert; it is kept in memory only, so a restart forgets what waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from gateway.observe.wall import SET_ASIDE
from gateway.stage_runtime import Runtime
from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import HostQueues
from gateway.webhooks.report import exchange_of

PER_HOST: Final = 4
TRIES: Final = 5
# What fetches a link to show what is behind it, before a human has decided to open it.
PREVIEWERS: Final = (
    "facebookexternalhit",
    "facebot",
    "whatsapp",
    "twitterbot",
    "telegrambot",
    "slackbot",
    "discordbot",
    "linkedinbot",
    "skypeuripreview",
    "viber",
    "applebot",
    "googlebot",
    "google-pagerenderer",
    "googlemessages",
    "bingpreview",
    "snapchat",
    "redditbot",
    "pinterestbot",
)


def is_preview(method: str, user_agent: str) -> bool:
    """Whether a machine looks at the link: a HEAD, or a known maker of previews."""
    agent = user_agent.lower()
    return method == "HEAD" or any(name in agent for name in PREVIEWERS)


@dataclass(frozen=True, slots=True)
class Click:
    """One request for a link that works."""

    token: str  # of this event, the same on every try
    callback_url: str
    account_id: int
    message_sid: str
    service_sid: str | None
    recipient: str | None
    sender: str | None
    link: str  # the long URL
    at: float  # wall clock
    preview: bool
    user_agent: str

    @property
    def host(self) -> str:
        return urlsplit(self.callback_url).netloc

    @property
    def receiver(self) -> AppServer:
        return AppServer(self.account_id, self.host)

    def event(self, account_sid: str) -> bytes:
        """The JSON that the app is sent."""
        at = datetime.fromtimestamp(self.at, UTC)
        return orjson.dumps(
            {
                "event_type": "preview" if self.preview else "click",
                "sms_sid": self.message_sid,
                "to": self.recipient,
                "from": self.sender,
                "link": self.link,
                "click_time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
                "messaging_service_sid": self.service_sid,
                "account_sid": account_sid,
                "user_agent": self.user_agent,
            }
        )


class Clicks:
    """Tells of clicks; each host by itself."""

    def __init__(self, runtime: Runtime, client: WebhookClient, connections: Connections) -> None:
        self._client = client
        self._directory = runtime.directory
        self._alerts = runtime.alerts
        self._host_queues: HostQueues[Click] = HostQueues(
            "clicks",
            runtime.clock,
            runtime.random,
            connections,
            per_host=PER_HOST,
            work=self._post,
            spilled=lambda click: None,
            sweep=_nothing_is_owed,
            broke=self._broke,
        )
        self.posted = 0
        self.given_up = 0

    async def run(self) -> None:
        await self._host_queues.run()

    def tell(self, click: Click) -> None:
        self._host_queues.line_up(click.receiver, click)

    async def _post(self, click: Click) -> None:
        account = self._directory.accounts_by_id.get(click.account_id)
        if account is None:
            return
        hook = WebhookRequest(
            click.callback_url,
            (),
            account.auth_token,
            idempotency_token=click.token,
            json=click.event(account.sid),
            account_id=click.account_id,
        )
        answer = await self._client.call(hook)
        if answer.ok:
            self.posted += 1
            self._host_queues.over(click)
            return
        if self._host_queues.tried(click) + 1 < TRIES:
            self._host_queues.retry(click.receiver, click)
            return
        self._host_queues.over(click)
        self.given_up += 1
        what = f"click event was not taken by {click.host.rpartition('@')[2]}"
        self._alerts.alert(
            answer.error_code,
            f"{what}: {answer.reason}",
            level="error",
            resource=click.message_sid,
            account_id=click.account_id,
            service=click.service_sid,
            exchange=exchange_of(hook, answer),
            messages=(UUID(hex=click.message_sid[2:]),),
            subject=click.host,
            log_text=f"{what}: {answer.plain_reason}",
        )

    def _broke(self, click: Click, why: str) -> None:
        """A click can't be told: given up at once, since it would fail again."""
        self._host_queues.over(click)
        self.given_up += 1
        self._alerts.alert(
            SET_ASIDE,
            f"click event was not told: {why}",
            level="error",
            resource=click.message_sid,
            account_id=click.account_id,
            service=click.service_sid,
            subject=click.host,
        )


async def _nothing_is_owed() -> bool:
    return False
