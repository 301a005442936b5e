"""What a block covers, and whose network takes STOP itself
(docs/spec/messaging-services.md#modes-of-opt-out,
docs/spec/messaging-services.md#effects-of-keywords)."""

from __future__ import annotations

from typing import NamedTuple

from gateway.directory.directory import Directory, SenderRecord
from gateway.routing.destination import parse_destination
from gateway.routing.question import TOLL_FREE_REACH
from gateway.routing.sender_pool import SenderKind


def scope_of(record: SenderRecord) -> int:
    """What a STOP to a number blocks: its service, or the pair with a number in none
    (docs/spec/messaging-services.md#modes-of-opt-out)."""
    return record.service_id if record.service_id is not None else -record.sender.id


def scopes_at(record: SenderRecord) -> tuple[int, ...]:
    """What can block messages from a number: what a STOP to it blocks, first, then the pair.

    A pair may be blocked from the time when the number was in no service.
    """
    return tuple(dict.fromkeys((scope_of(record), -record.sender.id)))


def network_could(record: SenderRecord) -> bool:
    """Whether a number is of the kind whose network takes STOP and START itself
    (docs/spec/messaging-services.md#effects-of-keywords)."""
    sender = record.sender
    return sender.kind is SenderKind.TOLL_FREE and (sender.country or "US") in TOLL_FREE_REACH


class Scoped(NamedTuple):
    """What a service's SID or a number stands for on the block list."""

    scope: int
    account_id: int
    pairs: tuple[int, ...] = ()  # older blocks of single numbers could stand beside it


def scope_named(directory: Directory, text: str) -> Scoped | None:
    """The scope of a service (`MG…`), or of what a STOP to one of our numbers would block."""
    service = directory.services.get(text[:2].upper() + text[2:].lower())
    if service is not None:
        pairs = tuple(-sender.id for sender in service.pool.senders)
        return Scoped(service.id, service.account_id, pairs)
    number = parse_destination(text)
    record = directory.senders_by_address.get(number.e164 if number is not None else text)
    if record is None:
        return None
    scope, *others = scopes_at(record)
    return Scoped(scope, record.account_id, tuple(others))
