"""Who wrote to a member of a pool is answered from it: sticky mappings by inbound messages."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.directory.directory import Directory
from gateway.inbound.opt_outs import Arrival
from gateway.routing.question import Channel
from storage import recipients as recipient_rows
from storage.database import Connection


async def map_sticky_sender(
    connection: Connection, directory: Directory, arrivals: Sequence[Arrival]
) -> list[int]:
    """Map each writer to the number it wrote to, unless it is mapped already.

    In the caller's transaction; returns the senders of the new mappings
    (docs/spec/messaging-services.md#sticky-sender).
    """
    mappings: set[tuple[int, int, str, int]] = set()
    for arrival in arrivals:
        service = directory.services_by_id.get(arrival.record.service_id or 0)
        if service is not None and service.pool.settings.sticky and arrival.message.sender_address:
            key = (
                service.id,
                int(Channel.SMS),
                arrival.message.sender_address,
                arrival.record.sender.id,
            )
            mappings.add(key)
    if not mappings:
        return []
    return await recipient_rows.greeted(connection, sorted(mappings))
