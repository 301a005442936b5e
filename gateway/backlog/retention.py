"""Forgetting what an app asked us to forget: `ContentRetention`, `AddressRetention`.

The text goes once the carrier has it, the last four digits of the recipient once its last
callback is acknowledged (or nobody retries it any more).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.messages.message import Flag
from gateway.observe.outage_log import AWAY
from storage import deletions, message_changes
from storage.database import ConnectionPool, DatabaseUnavailable

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
PAGE: Final = 1_000


async def keep_forgetting(
    pool: ConnectionPool, *, callbacks_end_s: float, deletions_s: float
) -> None:
    """The stage. `callbacks_end_s`: how long a callback is retried; `deletions_s`: how long it is
    known that a message was deleted.
    """
    while True:
        changed = 0
        try:
            async with pool.acquire() as connection, connection.transaction():
                changed = await message_changes.forget(
                    connection,
                    text_flag=Flag.FORGET_TEXT,
                    address_flag=Flag.FORGET_RECIPIENT,
                    after_s=callbacks_end_s,
                    most=PAGE,
                )
                await deletions.forget(connection, deletions_s)
        except DatabaseUnavailable as error:
            log.warning("texts are not forgotten for now: %s", error, extra=AWAY)
        if changed < PAGE:
            await asyncio.sleep(EVERY_S)
