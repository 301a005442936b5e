"""All carriers of this process: from rows to running connectors, and after every change.

The configuration file is the starting set. A carrier that it names is made at the start, and
follows the file whenever the file says something else than when it was last read; in between
it follows what the operator API made of it. A connector is changed in place: binds that stay as
they were stay up, and other carriers notice nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from gateway.channels.smpp.binds import bind_configs
from gateway.channels.smpp.connector import Events, SmppConnector
from gateway.channels.smpp.seal import Seal, SealBroken
from gateway.channels.smpp.settings import CarrierSettings
from gateway.cluster.worker_slot import WorkerSlot, submits
from gateway.directory.directory import CarrierRecord
from gateway.messages.message import Message
from gateway.settings import Settings
from gateway.stage_runtime import Runtime
from storage import carriers as carrier_rows
from storage import config as config_rows
from storage.database import ConnectionPool, SchemaMissing, open_connection

log = logging.getLogger(__name__)


class CarrierUnusable(Exception):
    """A stored carrier that can't be run; the text says why."""


class Connectors:
    """The connectors, by carrier id."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        events: Events[Message],
        share: WorkerSlot,
        by_id: dict[int, SmppConnector[Message]],
    ) -> None:
        """`by_id` is filled with the connectors that run."""
        self.by_id = by_id
        # How many binds of each carrier submit, in all processes together.
        self.submitting: dict[int, int] = {}
        self._share = share
        self._known: dict[int, CarrierRecord] = {}
        # Carriers that are not run, and why.
        self.unusable: dict[int, str] = {}
        self._settings = settings
        self.seal = seal_of(settings)
        self._events = events
        self._clock = runtime.clock
        self._random = runtime.random
        self._journal = runtime.journal
        self.may_write: Callable[[], bool] = lambda: True
        self._running: set[int] = set()
        self._changed = asyncio.Event()

    async def adopt_file(self, pool: ConnectionPool) -> None:
        """Write down the carriers of the configuration file that are new or changed there."""
        async with pool.acquire() as connection:
            rows = {row["name"]: row for row in await carrier_rows.all_(connection)}
        news = [
            carrier
            for carrier in self._settings.carriers
            if self._is_news(carrier, rows.get(carrier.name))
        ]
        if not news:
            return
        async with config_rows.change(pool) as connection:
            for carrier in news:
                settings = stored_settings(carrier)
                sealed = self.seal.close(carrier.password) if self.seal is not None else None
                from_file = {"settings": settings, "password": sealed.decode() if sealed else None}
                await carrier_rows.adopt(connection, carrier.name, settings, sealed, from_file)

    def _is_news(self, carrier: CarrierSettings, row: carrier_rows.CarrierRow | None) -> bool:
        """Whether the file says something else than when it was last read."""
        before = row["from_file"] if row is not None else None
        if before is None or before["settings"] != stored_settings(carrier):
            return True
        if self.seal is None:
            return False
        sealed = before["password"]
        try:
            return sealed is None or self.seal.open(sealed.encode()) != carrier.password
        except SealBroken:
            return True

    def settings_of(self, carrier: CarrierRecord) -> CarrierSettings:
        """A carrier's settings with its password. Raises CarrierUnusable."""
        return settings_of(
            carrier.name, carrier.settings, carrier.password, self._settings, self.seal
        )

    def follow(self, carriers: Iterable[CarrierRecord]) -> None:
        """Run these carriers, as they are now described, and no others."""
        known = self._known = {carrier.id: carrier for carrier in carriers}
        self.unusable = {}
        for carrier in known.values():
            try:
                settings = self.settings_of(carrier)
                self.submitting[carrier.id] = sum(map(submits, bind_configs(settings)))
                self._follow(carrier.id, settings)
            except (CarrierUnusable, ValueError) as error:  # one must not stop the others
                self.unusable[carrier.id] = str(error)
                log.error("carrier %s is not changed: %s", carrier.name, error)
        for carrier_id, connector in self.by_id.items():
            if carrier_id not in known:
                connector.retire()
        self._changed.set()

    def _follow(self, carrier_id: int, settings: CarrierSettings) -> None:
        connector = self.by_id.get(carrier_id)
        if connector is None:
            if self._drains(settings):
                # The carrier counts sessions, not our ids: the new one begins when the old ended.
                log.info("carrier %s waits for its former sessions to end", settings.name)
                return
            self.by_id[carrier_id] = SmppConnector(
                carrier_id,
                settings,
                self._events,
                self._clock,
                self._random,
                log_pdus=self._settings.log.pdus,
                mask=self._settings.log.mask,
                journal=self._journal.pdus if self._journal.on else None,
                share=self._share,
                may_write=lambda: self.may_write(),
            )
        elif connector.settings != settings:
            log.info("carrier %s follows its new settings", settings.name)
            connector.change(settings)

    def _drains(self, settings: CarrierSettings) -> bool:
        """Whether a carrier that was removed still has sessions that this one would repeat."""
        return any(
            connector.settings.system_id == settings.system_id
            and (
                connector.name == settings.name
                or set(connector.settings.hosts) & set(settings.hosts)
            )
            for carrier_id, connector in self.by_id.items()
            if carrier_id not in self._known
        )

    async def run(self) -> None:
        """Keep every connector running, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for carrier_id, connector in self.by_id.items():
                    if carrier_id not in self._running:
                        self._running.add(carrier_id)
                        tasks.create_task(self._live(connector), name=f"carrier {connector.name}")
                await self._changed.wait()
                self._changed.clear()

    async def _live(self, connector: SmppConnector[Message]) -> None:
        """One connector, from its start to its retirement."""
        await connector.run()
        log.info("carrier %s is gone", connector.name)
        del self.by_id[connector.carrier_id]
        self._running.discard(connector.carrier_id)
        self.follow(self._known.values())

    async def close(self, drain_s: float) -> None:
        """Wait for the answers under way, then unbind everything."""
        await asyncio.gather(*(connector.close(drain_s) for connector in self.by_id.values()))


def stored_settings(settings: CarrierSettings) -> dict[str, Any]:
    """What the database keeps in the clear: what differs from the defaults, but no password."""
    return settings.model_dump(mode="json", exclude={"name", "password"}, exclude_defaults=True)


def changed_settings(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings with the keys of `change` in place; null goes back to the default."""
    return {name: value for name, value in {**before, **change}.items() if value is not None}


def settings_of(
    name: str,
    stored: Mapping[str, Any],
    sealed: bytes | None,
    settings: Settings,
    seal: Seal | None,
) -> CarrierSettings:
    """A stored carrier's settings, with its password. Raises CarrierUnusable.

    The password is the file's where none is stored, or no key opens it.
    """
    password = {carrier.name: carrier.password for carrier in settings.carriers}.get(name)
    if sealed is not None:
        try:
            if seal is None:
                raise SealBroken("is encrypted: TANDEM_SECRET_KEY is needed")
            password = seal.open(sealed)
        except SealBroken as error:
            if password is None:
                raise CarrierUnusable(f"its password {error}") from None
    try:
        return CarrierSettings(**stored, name=name, password=password or "")
    except (ValidationError, TypeError) as error:
        raise CarrierUnusable(f"its stored settings are wrong: {error}") from None


def seal_of(settings: Settings) -> Seal | None:
    """None without a secret key: passwords are then not stored."""
    secret = settings.secret_key
    return Seal(secret.get_secret_value()) if secret is not None else None


async def stored_carriers(url: str, settings: Settings) -> dict[str, CarrierSettings]:
    """The carriers of a database, by name. Raises CarrierUnusable, DatabaseUnavailable."""
    seal = seal_of(settings)
    connection = await open_connection(url)
    try:
        rows = await carrier_rows.all_(connection)
    except SchemaMissing:  # of a gateway that did not start yet, or of an older one
        rows = []
    finally:
        await connection.close()
    return {
        row["name"]: settings_of(row["name"], row["settings"], row["password"], settings, seal)
        for row in rows
    }
