"""Whether this process does its work, as a load balancer or an operator asks (`/readyz`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.api.http.probes import Readiness
from gateway.monitoring.queue_watch import WHAT, Watch
from gateway.pipeline.assembly import Pipeline

NO_BIND: Final = "carrier {}: no bind is up"


def readiness(pipeline: Pipeline, watch: Watch, *, stopping: bool) -> Readiness:
    """What works and what does not, with reasons.

    Only what keeps it from taking messages makes it *not ready*: with every bind down what it
    accepts is kept and sent later, so taking it out of the load balancer would help nobody.
    """
    confirmed = pipeline.confirmed()
    database = pipeline.acceptor.available and confirmed
    carriers = {}
    for connector in pipeline.connectors.by_id.values():
        binds = connector.binds()
        if not binds and not pipeline.runtime.ownership.alone:
            continue  # another worker has them
        carriers[connector.name] = {
            "up": connector.up,
            "binds_up": sum(bind.bound for bind in binds),
            "binds": len(binds),
            "troubles": {bind.name: bind.trouble for bind in binds if bind.trouble},
        }
    unusable = {
        carrier.name: pipeline.connectors.unusable[carrier.id]
        for carrier in pipeline.runtime.directory.carriers.values()
        if carrier.id in pipeline.connectors.unusable
    }
    reasons = []
    if stopping:
        reasons.append("it is stopping")
    if not pipeline.acceptor.available:
        reasons.append("the database is away")
    elif not confirmed:
        reasons.append("the right to the database is not confirmed")
    for name, carrier in carriers.items():
        if not carrier["up"]:
            reasons.append(NO_BIND.format(name))
    reasons += [f"carrier {name}: {why}" for name, why in unusable.items()]
    reasons += stuck(watch)
    return Readiness(
        ready=database and not stopping,
        sends=any(carrier["up"] for carrier in carriers.values())
        or (not carriers and not pipeline.runtime.ownership.alone),
        reasons=tuple(dict.fromkeys(reasons)),
        database=database,
        carriers=carriers,
    )


def stuck(watch: Watch) -> list[str]:
    """What could go and does not, in words."""
    return [
        f"{episode.group.where}: {WHAT[episode.group.reason]}, for {episode.seconds:.0f} s"
        for episode in watch.watchdog.episodes.values()
    ]


def together(
    own: Readiness,
    others: Iterable[Mapping[str, dict[str, Any]]],
    names: Mapping[str, str],
    stuck_elsewhere: Iterable[str] = (),
) -> Readiness:
    """The same with what other workers say: their carriers' statuses by SID, named by `names`, and
    what is stuck there.

    A worker knows its own binds and queues only, and whoever asks does not choose the worker.
    """
    carriers = {name: dict(carrier) for name, carrier in own.carriers.items()}
    for statuses in others:
        for sid, status in statuses.items():
            name, binds = names.get(sid), status["binds"]
            if name is None or not binds:
                continue
            known = carriers.setdefault(
                name, {"up": False, "binds_up": 0, "binds": 0, "troubles": {}}
            )
            known["up"] = known["up"] or status["up"]
            known["binds_up"] += sum(bind["bound"] for bind in binds)
            known["binds"] += len(binds)
            known["troubles"] = known["troubles"] | {
                bind["name"]: bind["trouble"] for bind in binds if bind["trouble"]
            }
    silent = {NO_BIND.format(name) for name in own.carriers}
    reasons = [reason for reason in own.reasons if reason not in silent]
    reasons += [NO_BIND.format(name) for name, carrier in carriers.items() if not carrier["up"]]
    reasons += stuck_elsewhere
    sends = any(carrier["up"] for carrier in carriers.values())
    return replace(own, sends=sends, reasons=tuple(dict.fromkeys(reasons)), carriers=carriers)
