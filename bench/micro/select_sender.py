"""Microseconds per sender selection, by size of pool. Target: 8 us in 400, twice that in 4,000.

Run as ``python -m bench.micro.select_sender``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

from gateway.routing.destination import Destination, parse_destination
from gateway.routing.nanp import NumberKind, area_codes
from gateway.routing.selector import Mapping, Needs, select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings

_ROUNDS = 5
_CHOICES = 20_000
_NEEDS = Needs()

TARGET_US = 8.0  # of one choice in a pool of 400; twice that in one of 4,000


def _number(code: str, line: int) -> Destination:
    destination = parse_destination(f"+1{code}{2_000_000 + line:07}")
    assert destination is not None
    return destination


def _pool(size: int, settings: ServiceSettings) -> SenderPool:
    codes = [
        code.code
        for code in area_codes().values()
        if code.country == "US" and code.in_service and code.kind is NumberKind.GEOGRAPHIC
    ]
    senders = []
    for number in range(size):
        where = _number(codes[number % len(codes)], number)
        senders.append(
            Sender(
                number,
                f"PN{number:032x}",
                SenderKind.LONG_CODE,
                where.e164,
                where.country,
                where.area_code,
            )
        )
    return SenderPool(senders, settings)


def _recipients(seed: int) -> list[Destination]:
    source = random.Random(seed)
    codes = [code for code, found in area_codes().items() if found.country == "US"]
    numbers = [_number(source.choice(codes), source.randrange(1_000_000)) for _ in range(_CHOICES)]
    return [number for number in numbers if number.area_code]


def _measure(run: Callable[[], int]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        started = perf_counter()
        count = run()
        best = min(best, (perf_counter() - started) / count)
    return best * 1e6


def _first_contacts(size: int, settings: ServiceSettings) -> float:
    """Every recipient is new: a choice, a mapping, a message assigned and one settled."""
    pool = _pool(size, settings)
    loads = SenderLoads(lambda sender_id, destination: 1.0)
    recipients = _recipients(1)

    def run() -> int:
        for at, destination in enumerate(recipients):
            sender = select(destination, _NEEDS, pool, loads, None).sender
            assert sender is not None
            loads.assigned(sender.id, 1, float(at))
            loads.mapped(sender.id)
            loads.settled(sender.id, 1)
        return len(recipients)

    return _measure(run)


def _known_contacts(size: int) -> float:
    """Every recipient has a mapping."""
    pool = _pool(size, ServiceSettings())
    loads = SenderLoads(lambda sender_id, destination: 1.0)
    recipients = [
        (number, Mapping(at % size, 0.0, 0.0)) for at, number in enumerate(_recipients(1))
    ]

    def run() -> int:
        for destination, mapping in recipients:
            select(destination, _NEEDS, pool, loads, mapping, now=1.0)
        return len(recipients)

    return _measure(run)


def main() -> None:
    """Print the table."""
    print(f"{'us per choice, with its bookkeeping':44}{'400':>8}{'4,000':>8}{'target':>12}")
    cases: list[tuple[str, Callable[[int], float]]] = [
        ("sticky, known recipient", _known_contacts),
        ("sticky, new recipient, area code", lambda size: _first_contacts(size, ServiceSettings())),
        (
            "sticky, new recipient, one group of all",
            lambda size: _first_contacts(size, ServiceSettings(area_code_geomatch=False)),
        ),
        (
            "Scaler, one group of all",
            lambda size: _first_contacts(
                size, ServiceSettings(sticky=False, area_code_geomatch=False)
            ),
        ),
    ]
    for name, case in cases:
        small, large = case(400), case(4000)
        verdict = "met" if small <= TARGET_US and large <= 2 * TARGET_US else "missed"
        print(f"{name:44}{small:8.2f}{large:8.2f}{TARGET_US:6.0f} /{2 * TARGET_US:3.0f} {verdict}")


if __name__ == "__main__":
    main()
