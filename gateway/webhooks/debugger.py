"""The Debugger webhook: each alert of an account, told to its one URL
(docs/spec/twilio-api.md#monitor-alerts-and-the-debugger-webhook).

Told once and not again: the alert itself is in the table. That telling it failed is counted and
raises no alert, which would be told in turn.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from gateway.directory.directory import Account, Directory
from gateway.observe.alerts import Alert
from gateway.observe.peer_faults import caused_by_peer
from gateway.runtime.clock import Clock
from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import HostQueues

log = logging.getLogger(__name__)

PER_HOST = 4
SOURCE_COMPONENT = "14100"  # messaging


def more_info(alert: Alert) -> dict[str, str]:
    """What `alert_text` spells as a form and the Debugger webhook as an object."""
    info = {
        "sourceComponent": SOURCE_COMPONENT,
        "ErrorCode": str(alert.code),
        "LogLevel": alert.level.upper(),
    }
    if alert.text:
        info["Msg"] = alert.text
    if alert.exchange is not None:
        info["url"] = alert.exchange.url
        if alert.exchange.status:
            info["httpResponse"] = str(alert.exchange.status)
    return info


def payload(alert: Alert) -> dict[str, Any]:
    content: dict[str, Any] = {
        "resource_sid": alert.resource,
        "service_sid": alert.service,
        "error_code": str(alert.code),
        "more_info": more_info(alert),
    }
    exchange = alert.exchange
    if exchange is not None:
        content["webhook"] = {
            "type": "application/json",
            "request": {
                "url": exchange.url,
                "method": exchange.method,
                "headers": dict(parse_qsl(exchange.headers)),
                "parameters": dict(parse_qsl(exchange.variables, keep_blank_values=True)),
            },
            "response": {
                "status_code": exchange.status or None,
                "headers": dict(parse_qsl(exchange.response_headers)),
                "body": exchange.response_body,
            },
        }
    return content


class Debugger:
    """Tells accounts of their alerts; each host by itself."""

    def __init__(
        self,
        client: WebhookClient,
        directory: Directory,
        clock: Clock,
        random: Random,
        connections: Connections,
    ) -> None:
        self._client = client
        self._directory = directory
        self._host_queues: HostQueues[Alert] = HostQueues(
            "debugger",
            clock,
            random,
            connections,
            per_host=PER_HOST,
            work=self._post,
            spilled=lambda alert: None,
            sweep=_nothing_is_owed,
            broke=self._broke,
        )
        self.posted = 0
        self.failed = 0

    async def run(self) -> None:
        await self._host_queues.run()

    def tell(self, alerts: Sequence[Alert]) -> None:
        """The alerts are in the table."""
        for alert in alerts:
            account = self._directory.accounts_by_id.get(alert.account_id or 0)
            if account is not None and account.debugger_url:
                host = urlsplit(account.debugger_url).netloc
                self._host_queues.line_up(AppServer(account.id, host), alert)

    async def _post(self, alert: Alert) -> None:
        account = self._directory.accounts_by_id.get(alert.account_id or 0)
        if account is None or not account.debugger_url:
            return
        answer = await self._client.call(
            WebhookRequest(
                account.debugger_url,
                self._parameters(alert, account),
                account.auth_token,
                idempotency_token=alert.sid[2:],
                account_id=account.id,
            )
        )
        if answer.ok:
            self.posted += 1
            return
        self.failed += 1
        log.info(
            "debugger webhook of %s not taken: %s",
            account.sid,
            answer.plain_reason,
            extra=caused_by_peer(f"debugger webhook of {account.id}"),
        )

    def _broke(self, alert: Alert, why: str) -> None:
        self.failed += 1
        self._host_queues.over(alert)
        log.error("debugger webhook of %s not posted: %s", alert.sid, why)

    def _parameters(self, alert: Alert, account: Account) -> list[tuple[str, str]]:
        owner = self._directory.accounts_by_id.get(account.owner_id or 0)
        at = datetime.fromtimestamp(alert.at, UTC)
        return [
            ("Sid", alert.sid),
            ("AccountSid", account.sid),
            ("ParentAccountSid", owner.sid if owner is not None else ""),
            ("Timestamp", f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"),
            ("Level", alert.level.upper()),
            ("PayloadType", "application/json"),
            ("Payload", orjson.dumps(payload(alert)).decode()),
        ]


async def _nothing_is_owed() -> bool:
    return False
