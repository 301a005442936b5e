"""Two processes on one database: what one knows to be final, the other does not undo."""

from __future__ import annotations

import asyncpg
from testing import GatewayUnderTest, Sdk

from gateway.dispatch.message import Status


async def test_a_row_that_is_final_goes_back_for_nobody(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    sid = (await sdk.send()).sid
    await sdk.reaches(sid, "delivered")
    [message] = gateway.pipeline.receipts.live.values()
    writer = gateway.pipeline.writer
    # As a process that has not heard of the receipt, and of one more callback.
    message.status, message.done_at = Status.SENT, 0.0
    writer.mark(message)
    await writer.drained()
    assert (await sdk.fetch(sid)).status == "delivered"
    connection = await asyncpg.connect(gateway.database_url)
    assert await connection.fetchval("SELECT done_at FROM messages") is not None
    await connection.close()
