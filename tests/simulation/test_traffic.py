"""Hours of traffic on a virtual clock keep every promise (docs/reliability.md#invariants)."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from traffic import (
    BULK,
    CHAT,
    CLERK,
    DESK,
    MAILING,
    Carrier,
    Figures,
    Service,
    World,
    _numbers,
    _pool,
    mixed_world,
)

# A week, as `make nightly` runs it: TANDEM_SIMULATED_HOURS=168 TANDEM_SIMULATED_LOAD=0.07
HOURS = float(os.environ.get("TANDEM_SIMULATED_HOURS", "1"))
LOAD = float(os.environ.get("TANDEM_SIMULATED_LOAD", "1"))
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module", params=SEEDS)
def figures(request: pytest.FixtureRequest) -> Figures:
    return mixed_world(request.param, LOAD).run(HOURS * 3600)


def test_every_message_ends_or_still_waits(figures: Figures) -> None:
    assert figures.accepted > 50_000 * HOURS * LOAD
    assert figures.accepted == (figures.sent + figures.expired + figures.waiting + figures.flying)
    assert figures.throttled > 0


def test_no_sender_exceeds_its_rate_by_more_than_one_message(figures: Figures) -> None:
    assert figures.worst_excess <= 0.01


def test_messages_to_a_recipient_through_one_sender_arrive_in_acceptance_order(
    figures: Figures,
) -> None:
    assert figures.out_of_order == 0
    assert figures.doubled_in_flight == 0


def test_no_message_outlives_its_validity(figures: Figures) -> None:
    """Neither on the wire nor in a queue."""
    assert figures.expired > 0
    assert figures.waiting > 0
    assert figures.overdue == 0
    assert figures.sent_after_expiry == 0
    assert figures.latest_expiry_s <= 1.0


@pytest.mark.parametrize("interactive", [DESK, CLERK], ids=["of one account", "of two"])
def test_a_mailing_does_not_starve_who_answers_people(figures: Figures, interactive: int) -> None:
    """The connector is given twice what it carries, all the time, and nearly all by the mailing."""
    waits, mailing = sorted(figures.waits[interactive]), sorted(figures.waits[MAILING])
    assert len(waits) > 50 * HOURS
    assert mailing[len(mailing) // 2] > 300.0  # its queue is as long as its validity allows
    assert len(mailing) > 5 * len(waits)  # and it is not starved either
    assert figures.expired_of[interactive] == 0
    assert waits[len(waits) // 2] < 5.0
    assert waits[int(len(waits) * 0.99)] < 60.0


def test_a_recipient_keeps_its_sender(figures: Figures) -> None:
    assert figures.changed_sender == 0


@pytest.mark.parametrize(("first", "count"), [(100, 20), (200, 4), (300, 4)])
def test_mappings_are_shared_evenly(figures: Figures, first: int, count: int) -> None:
    shares = [figures.mappings[sender_id] for sender_id in range(first, first + count)]
    assert max(shares) - min(shares) <= 1


def test_the_scaler_shares_messages_evenly(figures: Figures) -> None:
    shares = [figures.per_sender[sender_id] for sender_id in range(400, 405)]
    assert max(shares) - min(shares) <= 0.02 * sum(shares) / len(shares) + 1


def test_a_seed_replays_exactly() -> None:
    one, again = mixed_world(7).run(300), mixed_world(7).run(300)
    assert one.per_sender == again.per_sender
    assert one.waits == again.waits


def test_a_backlog_of_one_account_does_not_starve_another() -> None:
    """Bulk offers ten times what the connector carries; a chat service stays quick."""
    recipients = tuple(_numbers("+1212555", 9_000, 4))
    services = [
        Service(BULK, 1, _pool(100, "+1646555", 200, 1), 100.0, recipients, until=600.0),
        Service(CHAT, 2, _pool(400, "+1415555", 5, 1), 2.0, recipients),
    ]
    world = World(5, services, {1: Carrier(rate=10.0, window=50, throttles=0.0)})
    figures = world.run(600.0)
    by_service: Counter[int] = Counter({key: len(waits) for key, waits in figures.waits.items()})
    chat = sorted(figures.waits[CHAT])
    assert by_service[BULK] > 1_000
    assert chat[len(chat) // 2] < 3.0
    assert chat[int(len(chat) * 0.99)] < 30.0
