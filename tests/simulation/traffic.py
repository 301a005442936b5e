"""A seeded world of traffic on a virtual clock: selection, encoding and pacing together.

Services with pools of numbers share two connectors. Recipients write themselves into sticky
mappings, carriers answer late, throttle now and then, and go down for a while; a third connector
is always given twice what it carries. Nothing sleeps: the next event is always the nearest of
arrivals, answers, and what the pacer asks for.

Order is promised to messages of one account to one recipient *through one sender*
(docs/reliability.md#order), and that is what is checked: two senders have queues of their own, and
a recipient of a service without sticky senders may get a later message first.

``python tests/simulation/traffic.py --hours 168 --load 0.07`` runs a week (2.5 million messages,
a minute or more) and prints its figures.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.content.encoding import encode
from gateway.pacing.pacer import Pacer, SharedBucket
from gateway.pacing.rates import DestinationClass, default_rate, destination_class
from gateway.routing.destination import Destination, parse_destination
from gateway.routing.selector import Mapping, Needs, select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings

TEXTS = (
    "Your code is 123456",
    "Your parcel arrives today between 2 and 4. " * 5,
    "Привет! Ваш заказ готов.",
    "“Thank you” — see you soon…",
)
WINDOW_S = 10.0
LOOKS = 200  # into the queues, in all of a run


@dataclass(eq=False, slots=True)
class Message:
    number: int
    sender_id: int
    segments: int
    account_id: int
    service_id: int
    recipient: str
    accepted_at: float
    expires_at: float
    carrier_id: int
    destination_class: Hashable
    priority: int = 0


@dataclass(frozen=True)
class Service:
    """A stream of messages from one account's service."""

    id: int
    account_id: int
    pool: SenderPool
    per_second: float
    recipients: tuple[Destination, ...]
    validity_s: float = 36_000.0
    until: float = float("inf")


@dataclass
class Carrier:
    rate: float
    window: int
    latency_s: tuple[float, float] = (0.02, 0.4)
    throttles: float = 0.002  # share of answers
    down: tuple[float, float] = (0.0, 0.0)
    in_window: int = 0


@dataclass
class Figures:
    """What happened, and the largest breach of each promise."""

    accepted: int = 0
    sent: int = 0
    expired: int = 0
    throttled: int = 0
    waiting: int = 0  # counted in the queues when all is over
    flying: int = 0  # the same of what has no answer yet
    overdue: int = 0  # waiting, though their time was over for a second or more
    expired_of: Counter[int] = field(default_factory=Counter)
    per_sender: Counter[int] = field(default_factory=Counter)
    mappings: Counter[int] = field(default_factory=Counter)
    waits: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    worst_excess: float = float("-inf")  # segments over 10 s of the rate and one message
    out_of_order: int = 0
    doubled_in_flight: int = 0
    sent_after_expiry: int = 0
    latest_expiry_s: float = 0.0
    changed_sender: int = 0


class World:
    """Everything that happens, in order of time."""

    def __init__(self, seed: int, services: list[Service], carriers: dict[int, Carrier]) -> None:
        self.random = random.Random(seed)
        self.services = services
        self.carriers = carriers
        self.senders = {s.id: s for service in services for s in service.pool.senders}
        self.loads = SenderLoads(self._towards)
        self.pacer: Pacer[Message] = Pacer(self)
        self.mappings: dict[tuple[int, str], Mapping] = {}
        self.events: list[tuple[float, int, str, object]] = []
        self.figures = Figures()
        self._count = 0
        self._flying: set[tuple[int, str]] = set()
        self._last: dict[tuple[int, int, str], int] = {}
        self._windows: dict[tuple[int, Hashable], _Window] = {}
        self._now = 0.0

    # The pacer's limits.

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        sender = self.senders[sender_id]
        if sender.rate is not None:
            return sender.rate
        country = destination_class.name if isinstance(destination_class, DestinationClass) else ""
        return default_rate(sender.kind, sender.country, country).per_second

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        return ()

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return ()

    def carrier(self, carrier_id: int) -> float | None:
        return self.carriers[carrier_id].rate

    def _towards(self, sender_id: int, destination: Destination) -> float:
        return self.sender(sender_id, destination_class(destination.country))

    # Time.

    def run(self, seconds: float) -> Figures:
        for service in self.services:
            self._at(self.random.expovariate(service.per_second), "arrival", service)
        for carrier in self.carriers.values():
            if carrier.down[1] > carrier.down[0]:
                self._at(carrier.down[1], "up", carrier)
        now = 0.0
        look_at = 0.0
        events, next_time = self.events, self.pacer.next_time
        while now <= seconds:
            due = next_time()
            if events and (due is None or events[0][0] <= due):
                now, _, kind, what = heappop(events)
                self._happen(now, kind, what)
            elif due is not None:
                now = max(now, due)
            else:
                break
            self._now = now
            self._send(now)
            if now >= look_at:
                look_at += seconds / LOOKS
                self._look(now)
        self._look(now)
        self.figures.flying = sum(isinstance(what, Message) for *_, what in events)
        return self.figures

    def _look(self, now: float) -> None:
        """Into the queues: who waits, and whose time is over."""
        queued = list(queued_in(self.pacer))
        self.figures.waiting = len(queued)
        self.figures.overdue += sum(one.expires_at <= now - 1.0 for one in queued)

    def _at(self, time: float, kind: str, what: object) -> None:
        self._count += 1
        heappush(self.events, (time, self._count, kind, what))

    def _happen(self, now: float, kind: str, what: object) -> None:
        if isinstance(what, Service):
            self._accept(now, what)
            following = now + self.random.expovariate(what.per_second)
            if following < what.until:
                self._at(following, "arrival", what)
        elif isinstance(what, Message):
            self._answer(now, what, throttled=kind == "throttled")

    def _accept(self, now: float, service: Service) -> None:
        draw = self.random.random  # `choice` costs as much as the choice of a sender
        destination = service.recipients[int(draw() * len(service.recipients))]
        text = TEXTS[int(draw() * len(TEXTS))]
        content = encode(text, smart=service.pool.settings.smart_encoding)
        key = (service.id, destination.e164)
        mapping = self.mappings.get(key)
        choice = select(destination, Needs(), service.pool, self.loads, mapping)
        sender = choice.sender
        assert sender is not None, choice.code
        if mapping is not None and service.pool.settings.sticky:
            self.figures.changed_sender += sender.id != mapping.sender_id
        if choice.new_mapping:
            self.mappings[key] = Mapping(sender.id, now, now)
            self.loads.mapped(sender.id)
            self.figures.mappings[sender.id] += 1
        self._count += 1
        message = Message(
            self._count,
            sender.id,
            content.segments,
            service.account_id,
            service.id,
            destination.e164,
            now,
            now + service.validity_s,
            sender.carrier_id,
            destination_class(destination.country),
        )
        self.figures.accepted += 1
        self.loads.assigned(sender.id, message.segments, now)
        self.pacer.enqueue(sender.id, message, now)

    def _room(self, carrier_id: int) -> int:
        carrier = self.carriers[carrier_id]
        if carrier.down[0] <= self._now < carrier.down[1]:
            return 0
        return carrier.window - carrier.in_window

    def _send(self, now: float) -> None:
        for message in self.pacer.release(now, self._room):
            carrier = self.carriers[message.carrier_id]
            carrier.in_window += message.segments
            self._watch(now, message)
            throttled = self.random.random() < carrier.throttles
            least, most = carrier.latency_s
            self._at(
                now + least + (most - least) * self.random.random(),
                "throttled" if throttled else "ok",
                message,
            )
        for message in self.pacer.expire(now):
            self.figures.expired += 1
            self.figures.expired_of[message.service_id] += 1
            late = now - message.expires_at
            self.figures.latest_expiry_s = max(self.figures.latest_expiry_s, late)
            self.loads.settled(message.sender_id, message.segments)

    def _answer(self, now: float, message: Message, throttled: bool) -> None:
        self.carriers[message.carrier_id].in_window -= message.segments
        self._flying.discard((message.sender_id, message.recipient))
        if throttled:
            self.figures.throttled += 1
            self.pacer.put_back(message, not_before=now + 1.0)
            return
        self.pacer.done(message)
        self.loads.settled(message.sender_id, message.segments)
        self.figures.sent += 1
        self.figures.per_sender[message.sender_id] += 1
        self.figures.waits[message.service_id].append(now - message.accepted_at)
        key = (message.account_id, message.sender_id, message.recipient)
        self.figures.out_of_order += self._last.get(key, 0) > message.number
        self._last[key] = message.number

    # What must hold whenever something is sent.

    def _watch(self, now: float, message: Message) -> None:
        flight = (message.sender_id, message.recipient)
        self.figures.doubled_in_flight += flight in self._flying
        self._flying.add(flight)
        self.figures.sent_after_expiry += now >= message.expires_at
        key = (message.sender_id, message.destination_class)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(self.sender(*key) * WINDOW_S)
        excess = window.add(now, message.segments, self.figures.worst_excess)
        self.figures.worst_excess = max(self.figures.worst_excess, excess)


def queued_in(pacer: Pacer[Message]) -> Iterator[Message]:
    """Every message that a pacer's queues hold, found by walking them."""
    for sender in pacer._senders.values():
        for line in sender.lines.values():
            for flow in line._flows.values():
                for fifo in flow.fifos:
                    for item in (*fifo.items, *(one for _, _, one in fifo.resumed)):
                        if id(item) not in fifo.gone:
                            assert isinstance(item, Message)
                            yield item
        for followers in sender.recipients.values():
            for _, _, item in followers or ():
                assert isinstance(item, Message)
                yield item


class _Window:
    """What one sender sent in the last ten seconds."""

    __slots__ = ("allowed", "sent", "total")

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self.sent: deque[tuple[float, int]] = deque()
        self.total = 0

    def add(self, now: float, segments: int, worst: float) -> float:
        """Segments beyond what is allowed and the largest message; exact where above `worst`."""
        sent = self.sent
        sent.append((now, segments))
        self.total += segments
        while sent[0][0] <= now - WINDOW_S:
            self.total -= sent.popleft()[1]
        excess = self.total - self.allowed
        if excess <= worst:
            return worst
        return excess - max(segments for _, segments in sent)


def _numbers(prefix: str, count: int, digits: int) -> Iterator[Destination]:
    for number in range(count):
        destination = parse_destination(f"{prefix}{number:0{digits}}")
        assert destination is not None
        yield destination


def _pool(
    first_id: int, prefix: str, count: int, carrier_id: int, sticky: bool = True
) -> SenderPool:
    senders = [
        Sender(
            first_id + index,
            f"PN{first_id + index:032x}",
            SenderKind.LONG_CODE,
            where.e164,
            where.country,
            where.area_code,
            carrier_id=carrier_id,
        )
        for index, where in enumerate(_numbers(prefix, count, 4))
    ]
    return SenderPool(senders, ServiceSettings(sticky=sticky))


BULK, CHAT, ABROAD, SCALER, HURRY = 1, 2, 3, 4, 5
# On a connector that carries half of it: a mailing, and two that answer people; DESK is of the
# mailing's account, CLERK of another.
MAILING, DESK, CLERK = 6, 7, 8


def mixed_world(seed: int, load: float = 1.0) -> World:
    """Eight services of six accounts on three connectors.

    One connector fails for ten minutes, and one is always given twice what it carries, whatever the
    `load`. At a `load` of one, 32 messages a second arrive.
    """
    americans = tuple(_numbers("+1212555", 4_000, 4))
    germans = tuple(_numbers("+4915123", 3_000, 6))
    services = [
        Service(BULK, 1, _pool(100, "+1646555", 20, 1), 8.0 * load, americans),
        Service(CHAT, 2, _pool(200, "+1415555", 4, 1), 0.8 * load, americans[:300]),
        Service(ABROAD, 3, _pool(300, "+4917012345", 4, 2), 12.0 * load, germans),
        Service(SCALER, 3, _pool(400, "+4917112345", 5, 2, sticky=False), 10.0 * load, germans),
        # More than its one number carries, and impatient.
        Service(HURRY, 4, _pool(500, "+1303555", 1, 1), 1.0, americans[:500], validity_s=90.0),
        Service(MAILING, 5, _pool(600, "+1702555", 20, 3), 0.6, americans, validity_s=900.0),
        Service(DESK, 5, _pool(700, "+1303556", 2, 3), 0.02, americans[:500]),
        Service(CLERK, 6, _pool(800, "+1303557", 2, 3), 0.02, americans[:500]),
    ]
    carriers = {
        1: Carrier(rate=40.0, window=30),
        2: Carrier(rate=60.0, window=50, down=(1_200.0, 1_800.0)),
        3: Carrier(rate=0.5, window=20),
    }
    return World(seed, services, carriers)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--load", type=float, default=1.0)
    given = parser.parse_args()
    started = perf_counter()
    figures = mixed_world(given.seed, given.load).run(given.hours * 3600)
    elapsed = perf_counter() - started
    for name in (
        "accepted", "sent", "expired", "throttled", "waiting", "flying", "overdue",
        "worst_excess", "out_of_order",
        "doubled_in_flight", "sent_after_expiry", "latest_expiry_s", "changed_sender",
    ):  # fmt: skip
        print(f"{name:18} {getattr(figures, name)}")
    print(f"{elapsed:.1f} s, {elapsed / figures.accepted * 1e6:.0f} us per message")


if __name__ == "__main__":
    main()
