"""What every stage is given: time, chance, ids, the database, and where to tell."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from random import Random

from gateway.cluster.peers import Peers
from gateway.cluster.placement import Ownership
from gateway.directory.directory import Directory
from gateway.messages.message import IdSource, Message
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.observe.wall import Walls
from gateway.runtime.clock import Clock
from storage.database import ConnectionPool, Database
from storage.ids import Id


@dataclass(frozen=True, slots=True)
class Runtime:
    """One process's; its stages differ by what they are given beside it."""

    clock: Clock
    random: Random
    next_id: IdSource
    database: Database
    pool: ConnectionPool
    directory: Directory
    ownership: Ownership  # of the messages that are this worker's
    peers: Peers
    run_id: str  # tells this process's connections from a former one's
    alerts: Alerts
    walls: Walls
    journal: Journal
    # Messages in memory by id, so that none is ever read a second time beside itself.
    live: MutableMapping[Id, Message]
