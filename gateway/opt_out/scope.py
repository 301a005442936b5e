"""What a block covers, and whose network takes STOP itself (messaging-services §7.2, §7.4)."""

from __future__ import annotations

from gateway.dispatch.directory import SenderRecord
from gateway.routing.pool import SenderKind
from gateway.routing.question import TOLL_FREE_REACH


def scope_of(record: SenderRecord) -> int:
    """What a STOP to a number blocks: its service, or the pair with a number in none (§7.2)."""
    return record.service_id if record.service_id is not None else -record.sender.id


def network_could(record: SenderRecord) -> bool:
    """Whether a number is of the kind whose network takes STOP and START itself (§7.4)."""
    sender = record.sender
    return sender.kind is SenderKind.TOLL_FREE and (sender.country or "US") in TOLL_FREE_REACH
