"""What a query promises of its rows is what the server returns: names, types, what may be null."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from databases import Databases

import storage
from gateway.directory import directory
from storage import (
    alerts,
    block_list,
    bulk,
    campaigns,
    carriers,
    config,
    conversation_events,
    conversation_messages,
    conversation_settings,
    conversations,
    deletions,
    deliveries,
    facts,
    inbound,
    inventory,
    media,
    message_changes,
    messages,
    opt_out_configs,
    recipients,
    records,
    restore,
    schedule,
    sticky,
)
from storage.database import Connection, open_connection
from storage.ids import Id, id_from_bytes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = id_from_bytes(bytes(16))
CODES = restore.StoredNumbers(0, 0, 0, 0)
ALL = restore.Chosen()
PYTHON: dict[str, type] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "float4": float,
    "float8": float,
    "numeric": Decimal,
    "text": str,
    "bytea": bytes,
    "bool": bool,
    "uuid": Id,
    "date": date,
    "timestamptz": datetime,
    "interval": timedelta,
}
# Nothing returns them: others are made of them, or they say what a function needs of a row.
PARTS = {
    records.ResourceRow,
    conversations.NamedConversationRow,
    conversations.SpeakerRow,
    deliveries.StoredDeliveryRow,
    messages.FlaggedRow,
    messages.NewMessageRow,
    # Half of what the query returns: its rows are blocks or mappings.
    recipients.StandingBlockRow,
}


class Listener:
    """A connection, a pool or lists: hears the statement, and finds nothing."""

    statement = ""

    async def fetch(self, statement: str, *values: object, timeout: float = 0.0) -> list[Any]:
        self.statement = statement
        return []

    async def fetchrow(self, statement: str, *values: object) -> None:
        self.statement = statement


# A record, its table, and a statement or a call that makes one. Where there is no table, nothing
# of it stands in one by its own name.
Query = tuple[type, str, str | Callable[[Any], Awaitable[object]]]
QUERIES: list[Query] = [
    (alerts.AlertRow, "alerts", lambda c: alerts.fetch(c, 1, "", operator=True)),
    (alerts.AlertRow, "alerts", alerts.PAGE.onwards),
    (block_list.BlockRow, "opt_outs", block_list.PAGE.onwards),
    (block_list.LoggedBlockRow, "opt_out_log", block_list.LOG_PAGE.back),
    (bulk.BulkOperationRow, "bulk_operations", bulk.FETCH),
    (campaigns.CampaignRow, "campaigns", campaigns.INSERT),
    (campaigns.CampaignRow, "campaigns", campaigns.OF_SERVICE),
    (carriers.CarrierRow, "carriers", carriers.ALL),
    (config.SenderRow, "senders", "SELECT * FROM senders"),
    (config.ServiceRow, "services", "SELECT * FROM services"),
    (config.PoolMemberRow, "service_senders", "SELECT * FROM service_senders"),
    (
        conversation_events.ConversationEventRow,
        "conversation_events",
        lambda c: conversation_events.claim(c, 1, 1, {}),
    ),
    *(
        (conversation_messages.ConversationMessageRow, "conversation_messages", query)
        for query in (
            conversation_messages.PAGE.onwards,
            conversation_messages.LOCK,
            lambda c: conversation_messages.one(c, 1, ""),
        )
    ),
    *(
        (conversation_messages.ConversationReceiptRow, "", query)  # of those with a status
        for query in (
            conversation_messages.RECEIPTS.onwards,
            lambda c: conversation_messages.receipt(c, 1, ""),
        )
    ),
    (conversation_messages.ChangedReceiptRow, "", conversation_messages.CHANGED),
    (records.DatedRow, "conversation_receipts", conversation_messages.SET_RECEIPT),
    (
        conversation_settings.ConversationSettingsRow,
        "conversation_settings",
        conversation_settings.SETTINGS,
    ),
    *(
        (conversation_settings.ChatServiceRow, "chat_services", query)
        for query in (
            conversation_settings.CHAT_SERVICES.onwards,
            conversation_settings.INSERT_CHAT_SERVICE,
            lambda c: conversation_settings.chat_service(c, 1, ""),
        )
    ),
    *(
        (conversation_settings.ConversationAddressRow, "conversation_addresses", query)
        for query in (
            conversation_settings.ADDRESSES.onwards,
            lambda c: conversation_settings.address(c, 1, ""),
            lambda c: conversation_settings.creating(c, 1, ""),
        )
    ),
    *(
        (conversations.ConversationRow, "conversations", query)
        for query in (
            conversations.PAGE.onwards,
            lambda c: conversations.by_name(c, 1, 1, ""),
            lambda c: conversations.by_id(c, 1),
        )
    ),
    (conversations.BoundConversationRow, "", conversations.BOUND),
    *(
        (conversations.ParticipantRow, "conversation_participants", query)
        for query in (
            conversations.PARTICIPANTS.onwards,
            lambda c: conversations.participant(c, 1, ""),
        )
    ),
    (conversations.MembershipRow, "conversation_participants", conversations.PARTICIPANTS_OF.back),
    *(
        (conversations.ConversationWebhookRow, "conversation_webhooks", query)
        for query in (
            lambda c: conversations.webhook(c, 1, ""),
            lambda c: conversations.webhooks(c, 1),
        )
    ),
    (deletions.DeletedMessageRow, "deleted_messages", deletions.SINCE),
    (deliveries.KeptDeliveryRow, "kept_deliveries", deliveries.KEPT.onwards),
    (deliveries.TypedDeliveryRow, "kept_deliveries", deliveries.UNMATCHED),
    (deliveries.OpenPartRow, "inbound_parts", deliveries.OPEN_PARTS),
    (deliveries.EarlierPartRow, "inbound_parts", deliveries.GONE_PARTS),
    (deliveries.EarlierPartRow, "inbound_parts", deliveries.SAME_PARTS),
    (facts.FactTableRow, "fact_tables", lambda c: facts.one(c, "")),
    *(
        (inventory.InventoryRow, "inventory", query)
        for query in (inventory.search, lambda c: inventory.find(c, ""))
    ),
    *(
        (media.MediaRow, "media", query)
        for query in (lambda c: media.of_message(c, ID), lambda c: media.one(c, ID, ""))
    ),
    (message_changes.FeedbackRow, "message_feedback", message_changes.FEEDBACK),
    (message_changes.FeedbackRow, "message_feedback", lambda c: message_changes.outcome(c, ID)),
    *(
        (messages.MessageRow, "messages", query)
        for query in (
            messages.FETCH,
            messages.BY_IDS,
            messages.UNFINISHED,
            messages.OWED,
            messages.WAITING,
            messages.OVERDUE,
            messages.ALL_OF.format(fits="true", order="ASC", most=1),
            bulk.PAGE,
            inbound.UNHANDLED,
            schedule.DUE,
            message_changes.CANCEL,
            message_changes.CANCEL_MANY,
            message_changes.REDACT,
            message_changes.CALLBACKS_AGAIN,
            message_changes.WEBHOOK_AGAIN,
        )
    ),
    (
        messages._SliceRow,
        "messages",
        messages.SLICE_OF.format(fits="true", order="ASC", size=1, most=1),
    ),
    (messages.OutboundRow, "messages", messages.OUTBOUND),
    (messages.WaitingRow, "messages", messages.OLD_WAITING),
    (opt_out_configs.OptOutConfigRow, "opt_out_configs", opt_out_configs.LOCKED),
    (recipients.StandingMappingRow, "sticky", recipients.STANDING),
    (recipients.ReservedRow, "sticky", recipients.RESERVE),
    (restore.RestoreRow, "restores", restore.LAST),
    (restore.HeldRow, "messages", restore.HELD),
    (restore.ClosedRow, "messages", restore.CLOSE),
    (sticky.StickyRow, "sticky", sticky.PAGE.onwards),
    (sticky.StickyRow, "sticky", sticky.ONE),
]

SHAPES: list[tuple[type, str]] = [
    (directory.Account, "accounts"),
    (directory.ApiKey, "api_keys"),
    (directory.Application, "applications"),
    (directory.CarrierRecord, "carriers"),
    (directory.ContentTemplate, "content_templates"),
    (directory.LinkDomain, "link_domains"),
    (directory.OptOutConfig, "opt_out_configs"),
    (directory.Registration, "sender_registrations"),
    (directory.SafeNumber, "safe_list"),
]


@pytest.fixture(scope="module")
async def connection(databases: Databases) -> AsyncIterator[Connection]:
    """Of a database for all tests here: none of them writes."""
    url = await databases.take()
    connection = await open_connection(url)
    yield connection
    await connection.close()
    databases.give_back(url)


async def columns_of(connection: Connection, statement: str) -> dict[str, str]:
    """The server's own word: the type of each column, by name."""
    prepared = await connection.prepare(statement)
    return {column.name: column.type.name for column in prepared.get_attributes()}


async def nullable(connection: Connection, table: str) -> dict[str, bool]:
    """Of each column of a table, whether it may be null."""
    rows = await connection.fetch(
        "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
        " WHERE table_name = $1",
        table,
    )
    return dict(rows)


def without_none(hint: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    [kept] = [part for part in get_args(hint) if part is not type(None)]
    return kept, True


def fits(hint: Any, column: str) -> bool:
    """Whether the driver's value of such a column has this type."""
    if get_origin(hint) is Literal:
        hint = type(get_args(hint)[0])
    if column == "jsonb":
        return get_origin(hint) in (dict, list)
    if column.endswith("[]"):
        return get_origin(hint) in (list, frozenset) and fits(*get_args(hint), column[:-2])
    return hint is PYTHON[column]


def wrong(hints: dict[str, Any], columns: dict[str, str], nulls: dict[str, bool]) -> list[str]:
    """What is said of columns, and is not so."""
    found = []
    for name, hint in hints.items():
        kept, optional = without_none(hint)
        if not fits(kept, columns[name]):
            found.append(f"{name}: {kept} is no {columns[name]}")
        if optional is not nulls.get(name, optional):
            found.append(f"{name}: {'never' if optional else 'may be'} null")
    return found


@pytest.mark.parametrize(("record", "table", "query"), QUERIES)
async def test_a_record_has_the_columns_that_its_query_returns(
    connection: Connection,
    record: type,
    table: str,
    query: str | Callable[[Any], Awaitable[object]],
) -> None:
    if not isinstance(query, str):
        listener = Listener()
        try:
            await query(listener)
        except AssertionError:
            assert listener.statement, "it misses the row, having asked for it"
        query = listener.statement
    columns = await columns_of(connection, query)
    hints = get_type_hints(record)
    assert hints.keys() == columns.keys()
    assert wrong(hints, columns, await nullable(connection, table)) == []


@pytest.mark.parametrize(("shape", "table"), SHAPES)
async def test_a_shape_of_the_directory_has_columns_of_its_table(
    connection: Connection, shape: type, table: str
) -> None:
    columns = await columns_of(connection, f"SELECT * FROM {table}")
    hints = get_type_hints(shape)
    assert {field.name for field in fields(shape)} <= columns.keys()
    assert wrong(hints, columns, await nullable(connection, table)) == []


def test_every_record_is_here() -> None:
    found = set()
    for module in pkgutil.iter_modules(storage.__path__):
        for thing in vars(importlib.import_module(f"storage.{module.name}")).values():
            if is_typeddict(thing):
                found.add(thing)
    assert found == PARTS | {record for record, _, _ in QUERIES}
