"""Status callbacks: at least once, in order per message, each host by itself.

There is no outbox. A message's committed life says which callbacks it owes
(`states.callback_events`), its row says how many were acknowledged, and the difference is
what is still to be posted: after a restart too. A message is in at most one lane at a time,
so its callbacks keep their order; hosts have lanes of their own, so a dead receiver delays
nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

from gateway.messages.lifecycle import callback_events
from gateway.messages.message import Message, Status
from gateway.stage_runtime import Runtime
from gateway.webhooks.callback_form import API_VERSION, CallbackValues
from gateway.webhooks.client import (
    MALFORMED_URL,
    SignedForm,
    WebhookClient,
    WebhookRequest,
    WebhookResponse,
)
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import HostQueues
from gateway.webhooks.report import exchange_of
from gateway.webhooks.signature import Parameters, signature_of, signed_url
from storage.ids import Id

log = logging.getLogger(__name__)


@lru_cache(maxsize=1024)
def _date(at: int) -> str:
    """RFC 2822, to the second; most of a second's callbacks share it."""
    return format_datetime(datetime.fromtimestamp(at, UTC))


class Callbacks:
    """Posts what committed messages owe; reports each acknowledgement to `acknowledged`."""

    def __init__(
        self,
        runtime: Runtime,
        client: WebhookClient,
        connections: Connections,
        *,
        per_host: int,
        retry_for_s: float,
        event_parameters: bool,
        acknowledged: Callable[[Message], None],
        sweep: Callable[[], Awaitable[bool]],
        exists: Callable[[Id], Awaitable[bool]],
        carrier_parameters: Callable[[Message], Parameters],
    ) -> None:
        """`exists` says whether a message is still there."""
        self._exists = exists
        self._carrier_parameters = carrier_parameters
        self._client = client
        self._directory = runtime.directory
        self._clock = runtime.clock
        self._alerts = runtime.alerts
        self._wall = runtime.walls.of("callbacks")
        self._retry_for_s = retry_for_s
        self._event_parameters = event_parameters
        self._acknowledged = acknowledged
        self._host_queues: HostQueues[Message] = HostQueues(
            "callback",
            runtime.clock,
            runtime.random,
            connections,
            per_host=per_host,
            work=self._post_all,
            spilled=self._spilled,
            sweep=sweep,
            broke=self._broke,
        )
        self.posted = 0
        self.failed = 0
        self.given_up = 0

    async def run(self) -> None:
        """Own the workers, until cancelled."""
        await self._host_queues.run()

    def owe(self, message: Message) -> None:
        """`message` was committed in a new state: post what it owes, if it is not being done."""
        if message.callback_url is None or message.calling:
            return
        if message.callbacks_done < len(callback_events(message)):
            message.calling = True
            self._host_queues.line_up(_receiver(message), message)

    @property
    def waiting(self) -> int:
        """Messages in memory whose callbacks are not under way."""
        return self._host_queues.waiting

    @property
    def retrying(self) -> int:
        """The messages that wait for another try."""
        return self._host_queues.retrying

    @property
    def under_way(self) -> int:
        """Messages whose callbacks are posted now."""
        return self._host_queues.under_way

    @property
    def overflowed(self) -> int:
        """Messages that were left to their rows."""
        return self._host_queues.overflowed

    def _spilled(self, message: Message) -> None:
        message.calling = False

    async def _post_all(self, message: Message) -> None:
        """Post what the message owes by now, one after the other."""
        if self._host_queues.tried(message) and not await self._exists(message.id):
            self._host_queues.over(message)  # it was deleted while it waited for another try
            message.callback_url = None
            message.calling = False
            return
        while message.callbacks_done < len(events := callback_events(message)):
            done = message.callbacks_done
            status, at = events[done]
            answer = await self._post(message, status, at)
            if not answer.ok:
                self._plan_retry(message, at, hopeless=answer.error_code == MALFORMED_URL)
                return
            self._host_queues.over(message)
            if message.callbacks_done == done:  # else a replay began meanwhile, from the first
                message.callbacks_done = done + 1
            self._acknowledged(message)
        message.calling = False

    def _broke(self, message: Message, why: str) -> None:
        """A callback that can't be posted is tried again as one that was not taken."""
        self._wall.tell(why, message)
        with self._wall.around(message):
            events = callback_events(message)
            if message.callbacks_done < len(events):
                self._plan_retry(message, events[message.callbacks_done][1], hopeless=False)
                return
        self._host_queues.over(message)
        message.calling = False

    async def _post(self, message: Message, status: Status, at: float) -> WebhookResponse:
        url = message.callback_url
        assert url is not None
        sid, number = message.sid, message.callbacks_done + 1
        values = self._values(message, sid, status, at, number)
        account = self._directory.accounts_by_id[message.account_id]
        token = sha256(f"{sid}/{number}".encode()).hexdigest()[:32]
        form, text = values.laid_out()
        signature = signature_of(account.auth_token, signed_url(url) + text)
        signed = SignedForm(url, message.account_id, signature, token, form, sid, values.status)

        def request() -> WebhookRequest:
            return WebhookRequest(
                url,
                values.parameters,
                account.auth_token,
                idempotency_token=token,
                account_id=message.account_id,
            )

        answer = await self._client.tell(signed, request)
        if answer.ok:
            self.posted += 1
            return answer
        self.failed += 1
        self._alert(message, status, request(), answer)
        return answer

    def _values(
        self, message: Message, sid: str, status: Status, at: float, number: int
    ) -> CallbackValues:
        """What one status callback says; its number and time are extensions, signed like the rest.

        `number` counts a message's callbacks from 1.
        """
        failed = status is Status.FAILED or status is Status.UNDELIVERED
        receipted = status is Status.DELIVERED or status is Status.UNDELIVERED
        return CallbackValues(
            API_VERSION,
            self._directory.accounts_by_id[message.account_id].sid,
            sid,
            status.shown,
            message.recipient,
            message.sender_address,
            self._directory.service_sid(message.service_id),
            str(message.error_code) if failed and message.error_code else None,
            message.done_date or None if receipted else None,
            self._carrier_parameters(message),
            str(number) if self._event_parameters else None,
            _date(int(at)) if self._event_parameters else None,
        )

    def _alert(
        self, message: Message, status: Status, hook: WebhookRequest, answer: WebhookResponse
    ) -> None:
        """One alert per account, host and minute: a dead receiver must not flood the table."""
        service = self._directory.services_by_id.get(message.service_id or 0)
        host = _host(message).rpartition("@")[2]
        what = f"status callback {status.shown} was not taken by {host}"
        self._alerts.alert(
            answer.error_code,
            f"{what}: {answer.reason}",
            level="error",
            resource=message.sid,
            account_id=message.account_id,
            service=service.sid if service is not None else None,
            exchange=exchange_of(hook, answer),
            messages=(message.id,),
            subject=host,
            log_text=f"{what}: {answer.plain_reason}",
        )

    def _plan_retry(self, message: Message, at: float, *, hopeless: bool) -> None:
        """Another try, unless the callback (of the time `at`) is too old to matter."""
        if not hopeless and self._clock.wall() - at <= self._retry_for_s:
            self._host_queues.retry(_receiver(message), message)
            return
        self.given_up += 1
        log.error("callback of %s given up", message.sid, extra={"sid": message.sid})
        self._host_queues.over(message)
        message.callbacks_done += 1
        message.calling = False
        self._acknowledged(message)
        self.owe(message)


def _receiver(message: Message) -> AppServer:
    return AppServer(message.account_id, _host(message))


def _host(message: Message) -> str:
    return urlsplit(message.callback_url or "").netloc
