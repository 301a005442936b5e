"""Standings of senders, and who is next in a group."""

from __future__ import annotations

import pytest
from routing_builders import long_code, to

from gateway.routing.sender_load import Level, SenderLoads
from gateway.routing.sender_pool import CandidateGroup, Sender, SenderPool

FRANCE = to("+33612345678")
SENDERS = [long_code(n, f"+3361234{n:04}", carrier_id=n % 2) for n in range(20)]
POOL = SenderPool(SENDERS)
GROUP = POOL.long_codes("FR", False)


@pytest.fixture
def loads() -> SenderLoads:
    return SenderLoads(lambda sender_id, destination: 1.0)


def first(loads: SenderLoads, group: CandidateGroup = GROUP) -> Sender:
    return loads.first(group, FRANCE, True, False)[1]


def test_a_large_group_is_served_in_turns(loads: SenderLoads) -> None:
    served = []
    for at in range(60):
        sender = first(loads)
        served.append(sender.id)
        loads.assigned(sender.id, 1, float(at + 1))
        loads.mapped(sender.id)
        loads.settled(sender.id, 1)
    assert served == list(range(20)) * 3


def test_what_moves_a_sender_forward_is_noticed(loads: SenderLoads) -> None:
    for sender in SENDERS:
        loads.mapped(sender.id, 5)
    assert first(loads).id == 0
    loads.mapped(13, -2)
    assert first(loads).id == 13
    loads.set_mappings(7, 1)
    assert first(loads).id == 7


def test_a_carrier_that_comes_up_brings_its_senders_back(loads: SenderLoads) -> None:
    loads.set_carrier(0, up=False)
    assert first(loads).id == 1
    loads.set_carrier(0, up=True)
    assert first(loads).id == 0


def test_full_senders_come_last(loads: SenderLoads) -> None:
    for sender in SENDERS:
        loads.set_limit(sender.id, 1)
        loads.assigned(sender.id, 1, 1.0)
    assert loads.first(GROUP, FRANCE, True, False)[0][0] == Level.FULL
    loads.settled(11, 1)
    assert first(loads).id == 11


def test_groups_of_replaced_pools_are_let_go(loads: SenderLoads) -> None:
    first(loads)
    assert loads._orders
    loads.keep_only(set())
    assert not loads._orders
    assert all(not stand.orders for stand in loads._stands.values())
    loads.forget(0)
    assert 0 not in loads._stands


def test_stale_entries_do_not_pile_up(loads: SenderLoads) -> None:
    for at in range(10_000):
        sender = first(loads)
        loads.assigned(sender.id, 1, float(at))
        loads.settled(sender.id, 1)
    [order] = loads._orders.values()
    assert len(order.heap) <= 2 * len(SENDERS) + 17


def test_groups_stay_the_same_object_for_the_life_of_a_pool() -> None:
    assert POOL.long_codes("FR", False) is POOL.long_codes("FR", False)
    assert POOL.area("212", False) is POOL.area("212", False)
    assert list(GROUP) == sorted(SENDERS, key=lambda sender: sender.sid)
