"""Whether this process does its work, as a load balancer or an operator asks (`/readyz`)."""

from __future__ import annotations

from gateway.api.probes import Readiness
from gateway.dispatch.pipeline import Pipeline
from gateway.monitoring.watch import WHAT, Watch


def readiness(pipeline: Pipeline, watch: Watch, *, stopping: bool) -> Readiness:
    """What works and what does not, with reasons.

    Only what keeps it from taking messages makes it *not ready*: with every bind down what it
    accepts is kept and sent later, so taking it out of the load balancer would help nobody.
    """
    database = pipeline.acceptor.available
    carriers = {}
    for connector in pipeline.connectors.values():
        binds = connector.binds()
        if not binds and not pipeline.ownership.alone:
            continue  # another worker has them
        carriers[connector.name] = {
            "up": connector.up,
            "binds_up": sum(one.bound for one in binds),
            "binds": len(binds),
            "troubles": {one.name: one.trouble for one in binds if one.trouble},
        }
    unusable = {
        carrier.name: pipeline.fleet.unusable[carrier.id]
        for carrier in pipeline.directory.carriers.values()
        if carrier.id in pipeline.fleet.unusable
    }
    reasons = []
    if stopping:
        reasons.append("it is stopping")
    if not database:
        reasons.append("the database is away")
    for name, carrier in carriers.items():
        if not carrier["up"]:
            reasons.append(f"carrier {name}: no bind is up")
    reasons += [f"carrier {name}: {why}" for name, why in unusable.items()]
    reasons += [
        f"{group.where}: {WHAT[group.reason]}, for {one.seconds:.0f} s"
        for group, one in watch.watchdog.episodes.items()
    ]
    return Readiness(
        ready=database and not stopping,
        sends=any(carrier["up"] for carrier in carriers.values())
        or (not carriers and not pipeline.ownership.alone),
        reasons=tuple(dict.fromkeys(reasons)),
        database=database,
        carriers=carriers,
    )
