"""What changed of the configuration is read by the row, and shown as if all had been read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import asyncpg
import pytest

from gateway.directory.directory import Directory
from storage import (
    carriers,
    config,
    credentials,
    opt_out_configs,
    protection,
    short_links,
    templates,
)
from storage.database import Connection, prepare_connection

pytestmark = pytest.mark.slow

SID = "AC" + "1" * 32
NUMBER = 447700900100


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=2, init=prepare_connection
    ) as some:
        async with config.change(some) as connection:
            await config.insert_account(
                connection, sid=SID, owner_id=None, friendly_name="Main", auth_token="x" * 32
            )
            await carriers.insert(connection, "simulator", {}, None)
        yield some


def shown(directory: Directory) -> Any:
    """All that is looked up in it."""
    services = {
        sid: (
            *(service.id, service.friendly_name, service.settings, service.link_domain),
            _members(service),
        )
        for sid, service in directory.services.items()
    }
    return (
        *(directory.version, directory.accounts, directory.keys, directory.applications),
        *(directory.templates, directory.link_domains, directory.link_domains_by_name),
        *(directory.opt_out_configs, directory.opt_out_configs_by_sid, directory.senders),
        *(directory.senders_by_id, directory.senders_by_address, directory.alphanumerics),
        *(directory.safe_list, directory.safe_numbers),
        *(services, {id: service.sid for id, service in directory.services_by_id.items()}),
        *(list(directory.templates), list(directory.keys), list(directory.applications)),
    )


def _members(service: Any) -> list[str]:
    return [sender.sid for sender in service.pool.senders]


class Changes:
    """Any change that the API makes, at random."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made = 0

    def sid(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made:032x}"

    async def one(self, connection: Connection) -> None:
        kinds = (self.template, self.application, self.key, self.domain, self.opt_out, self.safe)
        rarer = (self.service, self.sender, self.tie)
        await self._random.choice((*kinds, *kinds, *rarer))(connection)

    async def _some(self, connection: Connection, table: str) -> Any:
        rows = await connection.fetch(f"SELECT id, sid FROM {table} ORDER BY id")
        return self._random.choice(rows) if rows and self._random.random() < 0.6 else None

    async def template(self, connection: Connection) -> None:
        if row := await self._some(connection, "content_templates"):
            await templates.delete_template(connection, row["id"])
            return
        content = {"variables": {}, "types": {"twilio/text": {"body": "x"}}}
        values = {"sid": self.sid("HX"), "account_id": 1, "friendly_name": "t", "language": "en"}
        await templates.insert_template(connection, {**values, **content})

    async def application(self, connection: Connection) -> None:
        settings = {"settings": {"sms_url": f"https://app.example/{self._random.random()}"}}
        if row := await self._some(connection, "applications"):
            if self._random.random() < 0.3:
                await config.delete_application(connection, row["id"])
            else:
                await config.update_application(connection, row["id"], settings)
            return
        values = {"sid": self.sid("AP"), "account_id": 1, "friendly_name": "a", **settings}
        await config.insert_application(connection, values)

    async def key(self, connection: Connection) -> None:
        if row := await self._some(connection, "api_keys"):
            await credentials.rename_key(connection, row["id"], str(self._random.random()))
            return
        values = {"sid": self.sid("SK"), "account_id": 1, "friendly_name": "k"}
        await credentials.insert_key(connection, {**values, "main": False, "secret_hash": b"x"})

    async def domain(self, connection: Connection) -> None:
        if row := await self._some(connection, "link_domains"):
            if self._random.random() < 0.3:
                await short_links.delete_domain(connection, row["id"])
            else:
                url = f"https://app.example/{self._random.random()}"
                await short_links.update_domain(connection, row["id"], {"fallback_url": url})
            return
        sids = {"sid": self.sid("DN"), "config_sid": self.sid("ZK"), "account_id": 1}
        await short_links.insert_domain(
            connection, {**sids, "domain_name": f"go{self._made}.example.com"}
        )

    async def opt_out(self, connection: Connection) -> None:
        if row := await self._some(connection, "opt_out_configs"):
            await opt_out_configs.update(connection, row["id"], {"friendly_name": "changed"})
            return
        values = {"sid": self.sid("OO"), "account_id": 1, "friendly_name": "o"}
        await opt_out_configs.insert(connection, values)

    async def safe(self, connection: Connection) -> None:
        numbers = await connection.fetch("SELECT phone_number FROM safe_list ORDER BY id")
        if numbers and self._random.random() < 0.3:
            number = self._random.choice(numbers)["phone_number"]
            await protection.remove_safe(connection, 1, number)
            return
        values = {"sid": self.sid("GN"), "account_id": 1}
        await protection.add_safe(connection, {**values, "phone_number": f"+44{self._made:08}"})

    async def service(self, connection: Connection) -> None:
        if row := await self._some(connection, "services"):
            await config.delete_service(connection, row["id"])
            return
        sid = self.sid("MG")
        await config.insert_service(
            connection, {"sid": sid, "account_id": 1, "friendly_name": "s", "settings": {}}
        )
        free = await connection.fetchval(
            "SELECT id FROM opt_out_configs WHERE service_id IS NULL LIMIT 1"
        )
        if free is not None:
            service_id = await connection.fetchval("SELECT id FROM services WHERE sid = $1", sid)
            await opt_out_configs.update(connection, free, {"service_id": service_id})

    async def sender(self, connection: Connection) -> None:
        named = await self._some(connection, "applications")
        settings = {"sms_application_sid": named["sid"]} if named else {}
        values = {
            "sid": self.sid("PN"),
            "account_id": 1,
            "kind": 0,
            "country": "GB",
            "carrier_id": 1,
        }
        address = {"address": f"+{NUMBER + self._made}", "friendly_name": "n"}
        await config.insert_sender(connection, {**values, **address, "settings": settings})

    async def tie(self, connection: Connection) -> None:
        service = await connection.fetchrow("SELECT id FROM services ORDER BY random() LIMIT 1")
        if service is not None:
            domain = await self._some(connection, "link_domains")
            await short_links.tie(connection, service["id"], domain["id"] if domain else None)


@pytest.mark.parametrize("seed", range(4))
async def test_changes_show_what_a_whole_picture_would(pool: Any, seed: int) -> None:
    random = Random(seed)
    changes, directory = Changes(random), Directory()
    directory.show(await config.load(pool))
    for _ in range(40):
        for _ in range(random.choice((1, 1, 3))):
            async with config.change(pool) as connection:
                for _ in range(random.choice((1, 1, 2))):
                    await changes.one(connection)
        directory.show(await config.load(pool, directory.version))
        anew = Directory()
        anew.show(await config.load(pool))
        assert shown(directory) == shown(anew)


async def test_a_change_of_one_row_is_read_as_one_row(pool: Any) -> None:
    """However many rows there are."""
    changes = Changes(Random(1))
    async with config.change(pool) as connection:
        for _ in range(50):
            await changes.application(connection)
    for make, table in (
        (changes.template, "content_templates"),
        (changes.key, "api_keys"),
        (changes.domain, "link_domains"),
        (changes.opt_out, "opt_out_configs"),
        (changes.safe, "safe_list"),
        (changes.application, "applications"),
    ):
        known = await config.version(pool)
        async with config.change(pool) as connection:
            await make(connection)
        snapshot = await config.load(pool, known)
        assert (snapshot.whole, snapshot.rest) == (False, None)
        counts = {
            name: len(rows) + len(snapshot.gone[name]) for name, rows in snapshot.rows.items()
        }
        assert counts == {table: 1}
    known = await config.version(pool)
    async with config.change(pool) as connection:
        await changes.service(connection)
    snapshot = await config.load(pool, known)
    assert snapshot.rest is not None
    assert "content_templates" not in snapshot.rows


async def _nothing_is_told(pool: Any) -> None:
    await pool.execute("UPDATE config_version SET version = version + 1")


async def _forgotten(pool: Any) -> None:
    async with config.change(pool) as connection:
        await Changes(Random(1)).template(connection)
        await connection.execute("DELETE FROM config_changes")


async def _far_behind(pool: Any) -> None:
    async with config.change(pool) as connection:
        await Changes(Random(1)).template(connection)
        await connection.execute(
            "UPDATE config_version SET version = version + $1::int", config.MOST_VERSIONS
        )


async def _set_back(pool: Any) -> None:
    await pool.execute("UPDATE config_version SET version = version - 1")


@pytest.mark.parametrize(
    "change", [_nothing_is_told, _forgotten, _far_behind, _set_back], ids=lambda one: one.__name__
)
async def test_everything_is_read_where_it_is_not_known_what_changed(
    pool: Any, change: Callable[[Any], Awaitable[None]]
) -> None:
    known = await config.version(pool)
    await change(pool)
    snapshot = await config.load(pool, known)
    assert snapshot.whole
    assert snapshot.rest is not None


async def test_what_nobody_needs_of_the_log_is_forgotten(pool: Any) -> None:
    async with pool.acquire() as connection:
        await config.forget_changes(connection)
        assert await connection.fetchval("SELECT count(*) FROM config_changes") > 0
        await connection.execute(
            "UPDATE config_version SET version = version + $1::int", 3 * config.MOST_VERSIONS
        )
        await config.forget_changes(connection)
        assert await connection.fetchval("SELECT count(*) FROM config_changes") == 0


def test_a_row_that_can_not_be_read_is_told_and_holds_up_no_other() -> None:
    whole = {"id": 1, "account_id": 1, "sid": "CR" + "1" * 32, "phone_number": "+447700900100"}
    rows: dict[str, Any] = {"safe_list": [whole, {"sid": "CR" + "2" * 32}]}
    directory = Directory()
    directory.show(
        config.ConfigurationSnapshot(version=1, whole=False, rows=rows, gone={}, rest=None)
    )
    assert list(directory.safe_list) == [whole["sid"]]
    assert directory.unreadable == {"CR" + "2" * 32: "KeyError"}
    later = config.ConfigurationSnapshot(version=2, whole=False, rows={}, gone={}, rest=None)
    directory.show(later)
    assert directory.unreadable == {}, "it is told once"
