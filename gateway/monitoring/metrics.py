"""`/metrics`: the state of every stage, read when somebody asks (Prometheus's pull).

The hot path knows nothing of this: it counts in plain integers, and all that costs more is done
here. Series are bounded: of senders and services only those are shown by themselves that have
something waiting, most first, and then those that were busy last; how many were left out, and what
waits for them, is a series of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nlargest
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.api.http.limits import Gate
from gateway.api.http.logins import Logins
from gateway.channels.smpp.connector import SmppConnector
from gateway.enrichment.enricher import Enricher
from gateway.inbound.handlers import Handlers
from gateway.inbound.receive import InboundStage
from gateway.messages.message import Message, created_at
from gateway.monitoring.queue_watch import Watch
from gateway.observe.measures import Histogram
from gateway.pipeline.assembly import Pipeline
from gateway.runtime.clock import Clock
from gateway.runtime.second_sight import SecondSight
from gateway.webhooks.callbacks import Callbacks
from gateway.webhooks.connections import Connections
from smpp.vocabulary import STATUS_NAMES

NO_SERVICE: Final = "none"
HOLDING: Final = "tandem_held_messages"


class Stages(NamedTuple):
    """Whose state is shown."""

    pipeline: Pipeline
    callbacks: Callbacks
    handlers: Handlers
    inbound: InboundStage
    gathering: Enricher
    watch: Watch
    gate: Gate
    logins: Logins
    outward: Mapping[str, Connections]
    caches: Mapping[str, SecondSight[Any, Any]]  # by what they keep


class Exposition:
    """Renders what the stages say."""

    def __init__(self, stages: Stages, clock: Clock, most_senders: int) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_MetricsReader(stages, clock, most_senders))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text in the newest form that `accept` names, and its content type."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind


class _MetricsReader(Collector):
    def __init__(self, stages: Stages, clock: Clock, most_senders: int) -> None:
        self._stages = stages
        self._clock = clock
        self._most = most_senders
        self._version = version("tandem")

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of the first scrape: the registry would read everything to learn names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("tandem_build", "This gateway.", {"version": self._version})
        yield _gauge(
            "tandem_event_loop_lag_seconds", "Worst of a minute.", self._stages.watch.loop_lag
        )
        yield from self._database()
        yield from self._accepting()
        yield from self._set_aside()
        yield from self._waiting()
        yield from self._sending()
        yield from self._carriers()
        yield from self._senders()
        yield from self._services()
        yield from self._webhooks()
        yield from self._inbound()
        yield from self._watchdog()

    # Stages, in the direction of a message ----------------------------------------------------

    def _database(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        available = float(pipeline.acceptor.available)
        yield _gauge("tandem_database_available", "Whether sends can be committed.", available)
        pool = pipeline.runtime.pool
        family = GaugeMetricFamily("tandem_database_pool_connections", "", labels=["state"])
        family.add_metric(["idle"], pool.get_idle_size())
        family.add_metric(["busy"], pool.get_size() - pool.get_idle_size())
        yield family

    def _accepting(self) -> Iterator[Metric]:
        acceptor = self._stages.pipeline.acceptor
        yield _counter("tandem_accepted_messages", "Committed and answered.", acceptor.accepted)
        yield _gauge("tandem_accept_backlog", "Messages that wait for a commit.", acceptor.backlog)
        yield _counted(
            "tandem_accept_refused_units",
            "Requests that stored nothing.",
            "reason",
            {_snake(name): number for name, number in acceptor.refused.items()},
        )
        yield _histogram("tandem_accept_batch_size", "Messages in a commit.", acceptor.flushes)
        yield _histogram(
            "tandem_accept_latency_seconds",
            "From a request's coming to its answer.",
            acceptor.latency,
        )
        gate = self._stages.gate
        yield _counter("tandem_api_throttled_requests", "429 by an account's limits.", gate.refused)
        yield _counter("tandem_failed_logins", "Wrong credentials.", self._stages.logins.failed)
        yield from self._caches()

    def _caches(self) -> Iterator[Metric]:
        """What is known of requests that come again."""
        caches = self._stages.caches
        hits = {name: cache.hits for name, cache in caches.items()}
        misses = {name: cache.misses for name, cache in caches.items()}
        yield _counted("tandem_cache_hits", "What was known.", "cache", hits)
        yield _counted("tandem_cache_misses", "What had to be worked out.", "cache", misses)
        family = GaugeMetricFamily("tandem_cache_entries", "That are kept.", labels=["cache"])
        for name, cache in caches.items():
            family.add_metric([name], len(cache))
        yield family

    def _set_aside(self) -> Iterator[Metric]:
        yield _counted(
            "tandem_set_aside_units",
            "Units of work that a stage could not do, and went on without.",
            "stage",
            {_snake(wall.stage): wall.set_aside for wall in self._stages.pipeline.runtime.walls},
        )

    def _waiting(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        family = GaugeMetricFamily(
            "tandem_waiting_messages", "Accepted, by where they wait.", labels=["stage"]
        )
        family.add_metric(["gathering"], len(self._stages.gathering.waiting))
        family.add_metric(["lobby"], len(pipeline.router.unassigned))
        family.add_metric(["choosing"], len(pipeline.assigner.anew))
        family.add_metric(["rows"], len(pipeline.overflow))
        family.add_metric(["resting"], sum(1 for _ in pipeline.submitter.resting))
        family.add_metric(["scheduled"], pipeline.scheduler.held.total())
        yield family
        yield _gauge(
            HOLDING, "That wait for over 30 s, in memory or counted.", pipeline.recovery.holding
        )

    def _sending(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        submitter, writer = pipeline.submitter, pipeline.writer
        yield _gauge("tandem_in_flight_messages", "Claimed, not settled.", submitter.in_flight)
        yield _histogram("tandem_claim_batch_size", "Messages in a claim.", submitter.claims)
        yield _histogram(
            "tandem_queue_wait_seconds",
            "From the acceptance to the carrier.",
            submitter.queue_waits,
        )
        yield _gauge("tandem_write_behind_pending", "Events not committed yet.", writer.pending)
        yield _histogram("tandem_write_batch_size", "Messages in a write-behind.", writer.flushes)
        yield _histogram("tandem_write_seconds", "What a write-behind took.", writer.commits)
        yield _counted(
            "tandem_failed_messages",
            "By the code they ended with.",
            "code",
            {str(code): number for code, number in pipeline.after_commit.failures.items()},
        )

    def _carriers(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        connectors = list(pipeline.connectors.by_id.values())

        def of(
            name: str, text: str, value: Callable[[SmppConnector[Message]], float | None]
        ) -> Metric:
            family = GaugeMetricFamily(name, text, labels=["carrier"])
            for connector in connectors:
                if (number := value(connector)) is not None:
                    family.add_metric([connector.name], number)
            return family

        yield of(
            "tandem_carrier_up", "Whether a bind takes messages.", lambda connector: connector.up
        )
        yield of(
            "tandem_carrier_room_segments",
            "Free places in its windows.",
            lambda connector: connector.room,
        )
        yield of(
            "tandem_carrier_rate",
            "Segments per second at present; none: no limit.",
            lambda connector: connector.rate_now,
        )
        yield of(
            "tandem_carrier_slowed",
            "Whether that is less than configured.",
            lambda connector: bool(connector.rate_reason),
        )
        yield from self._binds(connectors)
        answers = CounterMetricFamily(
            "tandem_submit_answers", "Answers to submit_sm.", labels=["carrier", "status"]
        )
        lost = CounterMetricFamily(
            "tandem_submits_unanswered", "Submits without an answer.", labels=["carrier"]
        )
        times = HistogramMetricFamily(
            "tandem_submit_answer_seconds", "From submit_sm to its response.", labels=["carrier"]
        )
        receipts = CounterMetricFamily(
            "tandem_receipts", "Delivery receipts.", labels=["carrier", "outcome"]
        )
        for connector in connectors:
            for status, number in connector.answers.items():
                answers.add_metric(
                    [connector.name, STATUS_NAMES.get(status, f"0x{status:08X}")], number
                )
            lost.add_metric([connector.name], connector.unanswered)
            times.add_metric(
                [connector.name], _buckets(connector.answer_times), connector.answer_times.total
            )
            for outcome, number in pipeline.receipts.counts_of(connector.carrier_id).items():
                receipts.add_metric([connector.name, outcome], number)
        yield from (answers, lost, times, receipts)

    def _binds(self, connectors: list[SmppConnector[Message]]) -> Iterator[Metric]:
        labels = ["carrier", "bind"]
        up = GaugeMetricFamily("tandem_bind_up", "Whether it is bound.", labels=labels)
        window = GaugeMetricFamily("tandem_bind_window", "Its size.", labels=labels)
        used = GaugeMetricFamily("tandem_bind_in_flight", "Places of it in use.", labels=labels)
        opened = CounterMetricFamily("tandem_bind_connections", "Made so far.", labels=labels)
        refused = CounterMetricFamily("tandem_bind_refusals", "By the carrier.", labels=labels)
        for connector in connectors:
            for bind in connector.binds():
                names = [connector.name, bind.name]
                up.add_metric(names, bind.bound)
                window.add_metric(names, bind.window)
                used.add_metric(names, bind.in_flight)
                opened.add_metric(names, bind.connections)
                refused.add_metric(names, bind.refusals)
        yield from (up, window, used, opened, refused)

    # What there are many of -------------------------------------------------------------------

    def _senders(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        queues = {id: (waiting, flying) for id, waiting, flying in pipeline.pacer.queues()}
        yield _gauge(
            "tandem_queued_segments", "Of all senders.", sum(w for w, _ in queues.values())
        )
        yield _gauge("tandem_senders_with_queue", "", sum(1 for w, _ in queues.values() if w))
        sent = pipeline.submitter.segments_sent
        shown = dict.fromkeys(nlargest(self._most, queues, key=lambda id: queues[id][0]))
        for id in sent.latest(self._most):
            if len(shown) >= self._most:
                break
            shown[id] = None
        left_out = [waiting for id, (waiting, _) in queues.items() if id not in shown]
        yield _gauge(
            "tandem_senders_left_out",
            "With something to send, not shown by themselves.",
            len(left_out),
        )
        yield _gauge("tandem_senders_left_out_segments", "That wait for them.", sum(left_out))
        oldest: dict[int, float] = {}
        for waits in pipeline.pacer.waits(self._clock.monotonic()):
            if waits.head is not None and waits.sender_id in shown:
                at = created_at(waits.head.id)
                oldest[waits.sender_id] = min(at, oldest.get(waits.sender_id, at))
        labels = ["sender", "address", "carrier"]
        waiting = GaugeMetricFamily("tandem_sender_queued_segments", "", labels=labels)
        flying = GaugeMetricFamily("tandem_sender_in_flight_segments", "", labels=labels)
        age = GaugeMetricFamily(
            "tandem_sender_oldest_seconds", "Since the acceptance of its next.", labels=labels
        )
        submitted = CounterMetricFamily("tandem_sender_submitted_segments", "", labels=labels)
        wall = self._clock.wall()
        for id in shown:
            record = pipeline.runtime.directory.senders_by_id.get(id)
            if record is None:  # removed
                continue
            carrier = pipeline.connectors.by_id.get(record.sender.carrier_id)
            names = [record.sid, record.sender.address, carrier.name if carrier else ""]
            w, f = queues.get(id, (0, 0))
            waiting.add_metric(names, w)
            flying.add_metric(names, f)
            if id in oldest:
                age.add_metric(names, max(0.0, wall - oldest[id]))
            submitted.add_metric(names, sent[id])
        yield from (waiting, flying, age, submitted)

    def _services(self) -> Iterator[Metric]:
        pipeline = self._stages.pipeline
        accepted = CounterMetricFamily("tandem_service_accepted_messages", "", labels=["service"])
        ended = CounterMetricFamily(
            "tandem_service_ended_messages", "By final status.", labels=["service", "status"]
        )
        names = {
            id: service.sid for id, service in pipeline.runtime.directory.services_by_id.items()
        } | {0: NO_SERVICE}
        for id in pipeline.after_commit.accepted_by.latest(self._most):
            if id in names:
                accepted.add_metric([names[id]], pipeline.after_commit.accepted_by[id])
        for key in pipeline.after_commit.ended.latest(self._most):
            id, status = key
            if id in names:
                ended.add_metric([names[id], status.shown], pipeline.after_commit.ended[key])
        yield from (accepted, ended)

    # The app's side ---------------------------------------------------------------------------

    def _webhooks(self) -> Iterator[Metric]:
        callbacks = self._stages.callbacks
        yield _counted(
            "tandem_callbacks",
            "Status callbacks, by what came of them.",
            "outcome",
            {
                "taken": callbacks.posted,
                "failed": callbacks.failed,
                "given_up": callbacks.given_up,
            },
        )
        family = GaugeMetricFamily(
            "tandem_callbacks_owed_messages", "Messages with callbacks owed.", labels=["state"]
        )
        family.add_metric(["in_flight"], callbacks.under_way)
        family.add_metric(["retrying"], callbacks.retrying)
        family.add_metric(["waiting"], callbacks.waiting - callbacks.retrying)
        yield family
        yield _counter(
            "tandem_callbacks_spilled_messages",
            "Left to their rows for a while.",
            callbacks.overflowed,
        )
        yield from self._connections()
        alerts = self._stages.pipeline.runtime.alerts
        yield _counter("tandem_alerts", "Raised.", alerts.raised)
        yield _counter("tandem_alerts_dropped", "Repeats, or too many.", alerts.dropped)

    def _connections(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "tandem_app_connections", "To apps' servers.", labels=["kind", "state"]
        )
        silent = GaugeMetricFamily(
            "tandem_silent_receivers", "That get one request at a time.", labels=["kind"]
        )
        for kind, connections in self._stages.outward.items():
            family.add_metric([kind, "under_way"], connections.under_way)
            family.add_metric([kind, "waiting"], connections.waiting)
            silent.add_metric([kind], connections.silent)
        yield from (family, silent)

    def _inbound(self) -> Iterator[Metric]:
        inbound, handlers = self._stages.inbound, self._stages.handlers
        yield _counted(
            "tandem_inbound_deliveries",
            "By what came of them.",
            "outcome",
            {what.replace(" ", "_"): n for what, n in inbound.counts.items()},
        )
        yield _gauge("tandem_inbound_backlog", "Deliveries not stored yet.", inbound.backlog)
        yield _gauge("tandem_inbound_waiting", "Messages for their webhook.", handlers.waiting)
        yield _counter("tandem_inbound_handled", "Messages.", handlers.handled)
        yield _counter("tandem_inbound_given_up", "Messages.", handlers.given_up)

    def _watchdog(self) -> Iterator[Metric]:
        watchdog = self._stages.watch.watchdog
        seconds: dict[tuple[str, str], float] = {}
        for group, standstill in watchdog.still.items():
            key = (group.where, group.reason.value)
            seconds[key] = max(standstill.seconds, seconds.get(key, 0.0))
        family = GaugeMetricFamily(
            "tandem_oldest_stuck_seconds",
            "Since anything last left the queue that stands still longest.",
            labels=["where", "reason"],
        )
        for (where, reason), value in seconds.items():
            family.add_metric([where, reason], value)
        yield family
        yield _gauge("tandem_stuck_episodes", "That are open.", len(watchdog.episodes))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _counted(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, number in counts.items():
        family.add_metric([key], number)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.total)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(names, histogram.cumulative, strict=True))


def _snake(name: str) -> str:
    """`OptedOut` as `opted_out`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
