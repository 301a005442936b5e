"""Which buckets and queue limits senders share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.directory.directory import Directory
from gateway.directory.shared_rates import Quotas
from gateway.pacing.pacer import SharedBucket
from gateway.pacing.rates import DestinationClass
from gateway.routing.sender_pool import SenderKind

PARENT, CHILD, OTHER = 1, 2, 3


def directory(**rates: float) -> Directory:
    """A parent account with a subaccount, and another parent; `rates` are the first one's."""
    one = Directory()
    owners = {PARENT: None, CHILD: PARENT, OTHER: None}
    nothing = dict.fromkeys(("messages_per_second", "mms_per_second", "toll_free_mms_per_second"))
    one.accounts_by_id = {
        id: cast(
            Any,
            SimpleNamespace(
                id=id, owner_id=owner, **{**nothing, **(rates if id == PARENT else {})}
            ),
        )
        for id, owner in owners.items()
    }
    for id, (account, kind, country) in {
        10: (PARENT, SenderKind.LONG_CODE, "US"),
        11: (PARENT, SenderKind.TOLL_FREE, "US"),
        12: (PARENT, SenderKind.SHORT_CODE, "US"),
        13: (PARENT, SenderKind.LONG_CODE, "GB"),
        20: (CHILD, SenderKind.LONG_CODE, "US"),
        30: (OTHER, SenderKind.LONG_CODE, "US"),
    }.items():
        sender = SimpleNamespace(id=id, kind=kind, country=country)
        record = SimpleNamespace(sender=sender, account_id=account, service_id=account)
        one.senders_by_id[id] = one.senders[str(id)] = cast(Any, record)
    return one


@pytest.mark.parametrize(("workers", "part"), [(1, 1.0), (2, 0.5)])
def test_mms_has_a_rate_for_each_parent_account_and_kind_of_number(
    workers: int, part: float
) -> None:
    quotas = Quotas(directory(), workers)
    [long] = quotas.shared(10, DestinationClass.MEDIA)
    [toll_free] = quotas.shared(11, DestinationClass.MEDIA)
    assert (long.rate, toll_free.rate) == (50.0 * part, 25.0 * part)
    assert long.key != toll_free.key
    assert quotas.shared(12, DestinationClass.MEDIA) == ()  # a short code has its own
    assert quotas.shared(20, DestinationClass.MEDIA) == (long,)  # a subaccount's
    [other] = quotas.shared(30, DestinationClass.MEDIA)
    assert other.key != long.key
    assert quotas.shared(10, DestinationClass.US) == ()


def test_an_accounts_rate_is_its_subaccounts_too() -> None:
    quotas = Quotas(directory(messages_per_second=8.0))
    assert (
        quotas.account(PARENT) == quotas.account(CHILD) == (SharedBucket(("account", PARENT), 8.0),)
    )
    assert quotas.account(OTHER) == ()
    [(limit, senders)] = quotas.together()
    assert (limit.limit, limit.accounts) == (288_000, (PARENT, CHILD))
    assert sorted(senders) == [10, 11, 12, 13, 20]


def test_a_campaign_is_of_us_numbers_towards_the_us_and_one_workers() -> None:
    where = directory()
    where.campaign_rates = {PARENT: 5.0}
    quotas = Quotas(where, 2)
    assert quotas.shared(10, DestinationClass.US) == (SharedBucket(("campaign", PARENT), 5.0),)
    assert quotas.shared(10, DestinationClass.INTERNATIONAL) == ()
    assert [quotas.shared(id, DestinationClass.US) for id in (11, 12, 13, 20)] == [()] * 4
    [(limit, senders)] = quotas.together()
    assert (limit.limit, limit.place, senders) == (180_000, (PARENT, "US"), [10])


def test_without_limits_nobody_shares_a_queue() -> None:
    assert list(Quotas(directory()).together()) == []
