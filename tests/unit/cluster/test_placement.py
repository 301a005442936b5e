"""Which worker does what: pure, and the same in every worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cluster.placement import Ownership
from gateway.cluster.worker_slot import WorkerSlot, own_part
from gateway.directory.directory import Directory
from smpp.esme import BindConfig
from smpp.esme_session import EsmeConfig
from smpp.states import BindType


@dataclass
class _Sender:
    id: int
    carrier_id: int


@dataclass
class _Pool:
    senders: tuple[_Sender, ...]


@dataclass
class _Service:
    id: int
    pool: _Pool


@dataclass
class _Record:
    sender: _Sender
    service_id: int | None


def directory(pools: dict[int, dict[int, int]], alone: dict[int, int]) -> Directory:
    """Services with their senders (id → carrier), and senders in none."""
    one = Directory()
    services: dict[int, Any] = {}
    records: dict[int, Any] = {}
    for service_id, members in pools.items():
        senders = tuple(_Sender(id, carrier) for id, carrier in members.items())
        services[service_id] = _Service(service_id, _Pool(senders))
        records |= {sender.id: _Record(sender, service_id) for sender in senders}
    records |= {id: _Record(_Sender(id, carrier), None) for id, carrier in alone.items()}
    one.services_by_id = services
    one.senders_by_id = records
    one.senders_by_address = {f"+4479{id:08d}": cast(Any, record) for id, record in records.items()}
    return one


def everywhere(workers: int, where: Directory, binds: dict[int, int]) -> list[Ownership]:
    all_ = [Ownership(WorkerSlot(slot, workers), where) for slot in range(workers)]
    for one in all_:
        one.follow(binds)
    return all_


configurations = st.builds(
    directory,
    st.dictionaries(
        st.integers(1, 30),
        st.dictionaries(st.integers(1, 200), st.integers(1, 3), max_size=4),
        max_size=8,
    ),
    st.dictionaries(st.integers(201, 300), st.integers(1, 3), max_size=8),
)


@given(
    st.integers(2, 8),
    configurations,
    st.dictionaries(st.integers(1, 3), st.integers(0, 10), max_size=3),
)
def test_everything_is_exactly_one_workers_and_all_agree(
    workers: int, where: Directory, binds: dict[int, int]
) -> None:
    all_ = everywhere(workers, where, binds)
    for service in where.services_by_id.values():
        [owner] = {one.of(service.id, None) for one in all_}
        assert [one.share.slot for one in all_ if one.mine(service.id, None)] == [owner]
        for sender in service.pool.senders:
            # It has a bind of every carrier that its senders need.
            assert owner < max(1, binds.get(sender.carrier_id, workers))
    for record in where.senders_by_id.values():
        owners = {one.of(None, record.sender.id) for one in all_}
        assert len(owners) == 1
        if record.service_id is not None:
            assert owners == {one.of(record.service_id, None) for one in all_}
        assert owners == {one.of_address(f"+4479{record.sender.id:08d}") for one in all_}


def test_a_number_that_is_nobodys_is_taken_where_it_came() -> None:
    for one in everywhere(3, directory({1: {1: 1}}, {}), {1: 3}):
        assert one.of_address("+15005550006") == one.share.slot


def test_what_has_neither_service_nor_sender_is_the_firsts() -> None:
    for one in everywhere(3, directory({}, {}), {}):
        assert one.of(None, None) == one.of(None, 77) == 0


def test_a_change_says_whether_something_became_ours() -> None:
    where = directory({1: {1: 1}, 2: {2: 1}}, {})
    zero = Ownership(WorkerSlot(0, 2), where)
    assert not zero.follow({1: 2}), "what is new has no mail that another could have"
    assert zero.follow({1: 1}), "with one bind everything is the first worker's"
    assert not zero.follow({1: 2}), "it only lost something"


def test_alone_everything_is_ours() -> None:
    one = Ownership(WorkerSlot(), directory({1: {1: 1}}, {}))
    assert not one.follow({1: 1})
    assert one.alone
    assert one.mine(1, None)
    assert one.mine(None, 99)


def bind(name: str, kind: BindType = BindType.TRANSCEIVER) -> BindConfig:
    return BindConfig(name, (("127.0.0.1", 2775),), EsmeConfig("id", "pw", bind_type=kind))


@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 4))
def test_binds_are_dealt_out_once_each_and_rates_add_up(
    workers: int, transceivers: int, receivers: int
) -> None:
    configs = [bind(f"c/{n}") for n in range(transceivers)]
    configs += [bind(f"c/r{n}", BindType.RECEIVER) for n in range(receivers)]
    shares = [own_part(configs, WorkerSlot(slot, workers)) for slot in range(workers)]
    dealt = [bind.name for binds, _ in shares for bind in binds]
    assert sorted(dealt) == sorted(config.name for config in configs)
    if transceivers:
        assert sum(part for _, part in shares) == pytest.approx(1.0)
        assert sum(part > 0 for _, part in shares) == min(workers, transceivers)
