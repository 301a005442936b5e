"""Rates and queue limits that senders share (docs/spec/messaging-services.md#token-bucket,
docs/spec/messaging-services.md#queue-limits).

An account may have a rate, which its subaccounts share; so may the campaign of a service, for the
numbers of its pool towards the US. The MMS of an account's long codes together, and of its
toll-free numbers, have one always. What an account or a campaign may have waiting is ten hours at
its rate.

Several workers share an account, so each has its part of the account's rates; a campaign is its
service's, and so one worker's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Final

from gateway.directory.directory import Account, Directory, SenderRecord
from gateway.pacing.pacer import SharedBucket
from gateway.pacing.rates import DestinationClass, account_mms_rate, queue_limit
from gateway.routing.sender_load import SharedLimit
from gateway.routing.sender_pool import SenderKind

# Numbers of these countries run at their campaign's rate towards the US
# (docs/spec/messaging-services.md#rates).
CAMPAIGN_COUNTRIES: Final = frozenset({"US", "CA"})


class Quotas:
    """Asked when a line or an account is first seen, and after a change of the configuration."""

    def __init__(self, directory: Directory, workers: int = 1) -> None:
        self._directory = directory
        self._workers = workers

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        """What a sender shares with others towards this class."""
        record = self._directory.senders_by_id.get(sender_id)
        if record is None:
            return ()
        if destination_class is DestinationClass.MEDIA:
            owner = self._owner(record.account_id)
            rate = mms_rate(owner, record.sender.kind) if owner is not None else None
            if owner is None or rate is None:
                return ()
            return (SharedBucket(("mms", owner.id, record.sender.kind), rate / self._workers),)
        if destination_class is DestinationClass.US:
            rate = self.campaign_rate(record)
            if rate is not None:
                return (SharedBucket(("campaign", record.service_id), rate),)
        return ()

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        """An account's own rate and its parent's, where they have one."""
        accounts = self._directory.accounts_by_id
        account = accounts.get(account_id)
        if account is None:
            return ()
        both = (account, accounts.get(account.owner_id or 0))
        return tuple(
            SharedBucket(("account", account.id), account.messages_per_second / self._workers)
            for account in both
            if account is not None and account.messages_per_second is not None
        )

    def campaign_rate(self, record: SenderRecord) -> float | None:
        """Segments per second towards the US of the campaign that a number is in."""
        rates = self._directory.campaign_rates
        if not rates or record.service_id is None:
            return None
        sender = record.sender
        if sender.kind is not SenderKind.LONG_CODE or sender.country not in CAMPAIGN_COUNTRIES:
            return None
        return rates.get(record.service_id)

    def together(self) -> Iterator[tuple[SharedLimit, list[int]]]:
        """Every queue limit that senders have together, with the ids of these."""
        accounts = self._directory.accounts_by_id
        limited = {
            account.id for account in accounts.values() if account.messages_per_second is not None
        }
        if limited:
            yield from self._of_accounts(limited)
        if self._directory.campaign_rates:
            yield from self._of_campaigns()

    def _of_accounts(self, limited: set[int]) -> Iterator[tuple[SharedLimit, list[int]]]:
        accounts = self._directory.accounts_by_id
        families = {
            id: [
                account.id for account in accounts.values() if id in (account.id, account.owner_id)
            ]
            for id in limited
        }
        senders: defaultdict[int, list[int]] = defaultdict(list)
        for record in self._directory.senders.values():
            senders[record.account_id].append(record.sender.id)
        for id, family in families.items():
            rate = (accounts[id].messages_per_second or 0.0) / self._workers
            limit = SharedLimit(queue_limit(rate), accounts=tuple(family))
            yield limit, [sender for account in family for sender in senders[account]]

    def _of_campaigns(self) -> Iterator[tuple[SharedLimit, list[int]]]:
        members: defaultdict[int, list[int]] = defaultdict(list)
        for record in self._directory.senders.values():
            if self.campaign_rate(record) is not None:
                members[record.service_id or 0].append(record.sender.id)
        for service_id, rate in self._directory.campaign_rates.items():
            if service_id in members:
                limit = SharedLimit(queue_limit(rate), place=(service_id, "US"))
                yield limit, members[service_id]

    def _owner(self, account_id: int) -> Account | None:
        """The account itself, or the parent that it is a subaccount of."""
        accounts = self._directory.accounts_by_id
        account = accounts.get(account_id)
        if account is None or account.owner_id is None:
            return account
        return accounts.get(account.owner_id)


def mms_rate(owner: Account, kind: SenderKind) -> float | None:
    """MMS per second of all senders of a kind, of a parent account and its subaccounts."""
    own = {
        SenderKind.LONG_CODE: owner.mms_per_second,
        SenderKind.TOLL_FREE: owner.toll_free_mms_per_second,
    }.get(kind)
    return own if own is not None else account_mms_rate(kind)
