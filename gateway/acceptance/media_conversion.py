"""Whether a message leaves as an MMS, or as an SMS with links to its media
(docs/spec/messaging-services.md#converter)."""

from __future__ import annotations

from typing import Final

from gateway.acceptance.draft import Draft
from gateway.directory.directory import Directory, Service
from gateway.messages.message import Flag
from gateway.routing.question import NO_SENDER, UNREACHABLE

NO_MMS_THERE: Final = 30011  # the recipient's carrier takes none
NO_MMS_HERE: Final = 21621  # the From carries none
COUNTRY_CLOSED: Final = 21408


def settle_media(draft: Draft, directory: Directory) -> int:
    """Decide between MMS and SMS with links. The code of what stands against both, or 0.

    A country that is closed to the account stands against every message.
    """
    message, country = draft.message, draft.destination.country
    account = directory.accounts_by_id.get(message.account_id)
    if account is not None and country in account.closed_countries:
        return COUNTRY_CLOSED
    if not message.as_mms:
        return 0
    service = directory.services_by_id.get(message.service_id or 0)
    facts = directory.facts
    if facts.takes_mms(country, draft.network or facts.carrier_of(draft.destination.e164)):
        return 0
    there = NO_MMS_THERE if country in facts.mms_countries else NO_SENDER
    if service is None:
        return there if there == NO_MMS_THERE else UNREACHABLE
    if not service.pool.settings.mms_converter:
        return there
    return _convert(draft, service)


def _convert(draft: Draft, service: Service) -> int:
    """Make the MMS an SMS with links; 21703 where nobody in its pool could have carried it."""
    able = service.pool.senders
    if draft.from_address is not None:
        able = tuple(service.pool.by_address.get(draft.from_address, ()))
    if not any(sender.mms for sender in able):
        return NO_SENDER
    draft.message.flags |= Flag.CONVERTED
    draft.message.content = None
    return 0
