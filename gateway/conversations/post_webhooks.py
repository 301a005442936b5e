"""Posts the events of conversations to those who listen, in order for each conversation.

At least once: an event is deleted when its app has taken it. One that is not taken is an alert, is
tried again a few times with growing pauses, and holds up the later ones of its conversation
meanwhile; then it is given up, so that an app that is down does not keep what nobody needs by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from gateway.directory.directory import Directory
from gateway.observe.alerts import Alerts
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import Wall, described
from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.report import exchange_of
from storage import conversation_events as rows
from storage.conversation_events import ConversationEventRow
from storage.database import ConnectionPool, DatabaseUnavailable

log = logging.getLogger(__name__)

AT_ONCE: Final = 64
ACCOUNT_AT_ONCE: Final = 16  # of these: its app may hang
LOOK_EVERY_S: Final = 1.0  # for what is due again, or another process has left
MOST_ATTEMPTS: Final = 5
FIRST_PAUSE_S: Final = 1.0  # doubled each time


class EventPoster:
    """The stage."""

    def __init__(
        self,
        client: WebhookClient,
        directory: Directory,
        pool: ConnectionPool,
        alerts: Alerts,
        wall: Wall,
    ) -> None:
        self._wall = wall
        self._client = client
        self._directory = directory
        self._pool = pool
        self._alerts = alerts
        self._wake = asyncio.Event()
        self._under_way: Counter[int] = Counter()  # by account
        self.given_up = 0

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                claimed: list[ConversationEventRow] = []
                try:
                    room = AT_ONCE - self._under_way.total()
                    if room > 0:
                        claimed = await rows.claim(
                            self._pool, room, ACCOUNT_AT_ONCE, self._under_way
                        )
                except DatabaseUnavailable as error:
                    log.warning("events of conversations are told later: %s", error, extra=AWAY)
                for row in claimed:
                    self._under_way[row["account_id"]] += 1
                    tasks.create_task(self._tell(row), name="conversation event")
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _tell(self, row: ConversationEventRow) -> None:
        try:
            await self._post(row)
        except DatabaseUnavailable as error:  # its lease runs out, and it is told again
            log.warning("an event of a conversation is told again: %s", error, extra=AWAY)
        except Exception as error:
            self._wall.tell(described(error), account_id=row["account_id"])
            await self._give_up(row)
        finally:
            self._under_way[row["account_id"]] -= 1
            self._under_way += Counter()  # whoever has none is forgotten
            self._wake.set()

    async def _give_up(self, row: ConversationEventRow) -> None:
        """An event that can't be posted must not hold up the later ones of its conversation."""
        self.given_up += 1
        try:
            await rows.done(self._pool, row["id"])
        except DatabaseUnavailable as error:
            log.warning("an event of a conversation is told again: %s", error, extra=AWAY)

    async def _post(self, row: ConversationEventRow) -> None:
        account = self._directory.accounts_by_id.get(row["account_id"])
        if account is None:
            await rows.done(self._pool, row["id"])
            return
        hook = WebhookRequest(
            row["url"],
            [(name, value) for name, value in row["parameters"]],
            account.auth_token,
            method=row["method"],
            idempotency_token=f"{row['id']:032x}",
            overridable=False,
            account_id=account.id,
        )
        answer = await self._client.call(hook)
        if not answer.ok:
            parameters = dict(row["parameters"])
            last = row["attempts"] >= MOST_ATTEMPTS
            kind, ended = parameters["EventType"], "; given up" if last else ""
            self._alerts.alert(
                answer.error_code,
                f"{kind}: {answer.reason}{ended}",
                level="error",
                account_id=account.id,
                resource=parameters.get("ConversationSid"),
                exchange=exchange_of(hook, answer),
                messages=row["messages"] or (),
                log_text=f"{kind}: {answer.plain_reason}{ended}",
            )
            if not last:
                pause = FIRST_PAUSE_S * 2 ** (row["attempts"] - 1)
                await rows.put_off(self._pool, row["id"], pause)
                return
            self.given_up += 1
        await rows.done(self._pool, row["id"])
