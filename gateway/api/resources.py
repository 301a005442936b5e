"""What every resource's handlers share: who asks, for which account, and how to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.acceptance.committer import Client
from gateway.api.forwarded import RELAYED, ForwardedRequests
from gateway.api.http.auth import acting_account, authenticate
from gateway.api.http.errors import ApiError, not_found
from gateway.api.http.forms import Form, check_form_type, parse_form
from gateway.api.http.limits import Gate, Quota, Turnstile
from gateway.api.http.logins import Logins
from gateway.api.http.paging import (
    ALONE,
    PageRequest,
    RowT,
    Tokens,
    cut,
    envelope_2010,
    envelope_v1,
    in_memory,
    page_request,
)
from gateway.api.http.render import API_VERSION
from gateway.api.messages.create_message import Creation
from gateway.channels.smpp.receipts import Receipts
from gateway.conversations.service import Conversations
from gateway.directory.directory import Account, Directory
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.settings import LimitSettings
from gateway.submission.connectors import Connectors
from gateway.webhooks.clicks import Clicks
from storage import config as config_rows
from storage.database import Connection, ConnectionPool
from storage.lists import Lists, ListTooLong
from storage.messages import MessageRow

SINGLE_BODY_LIMIT = 64 * 1024  # bytes (docs/reliability.md#bounds)
BULK_BODY_LIMIT = 10 * 1024 * 1024
CLIENT = "tandem.client"  # in the scope of a request that came by a connection of our own


class SidHolder(Protocol):
    @property
    def sid(self) -> str: ...


HolderT = TypeVar("HolderT", bound=SidHolder)
Shown: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deps:
    """What handlers need of the process."""

    directory: Directory
    pool: ConnectionPool
    creation: Creation
    random: Random
    refresh: Callable[[], Awaitable[None]]
    default_carrier_id: Callable[[], int]
    connectors: Connectors
    receipts: Receipts
    journal: Journal
    replay: Callable[[MessageRow], None]
    limits: LimitSettings
    lists: Lists
    turnstile: Turnstile
    pool_limit: int  # numbers and short codes in one service (21714)
    subaccount_limit: int  # of one account (21480)
    gate: Gate
    logins: Logins
    conversations: Conversations
    bulk_quota: Quota  # of consents and contacts
    alerts: Alerts
    clicks: Clicks
    forwarded: ForwardedRequests


class Call:
    """One authenticated request."""

    def __init__(self, request: Request, deps: Deps, body: bytes) -> None:
        self.request = request
        self.deps = deps
        self.body = body
        given = request.headers.get("authorization")
        authorization = given.encode() if given else None
        self.credential = authenticate(deps.directory, authorization)
        self.account: Account = acting_account(
            deps.directory, self.credential, request.path_params.get("account")
        )

    @cached_property
    def form(self) -> Form:
        """The body's parameters. Raises ApiError when it is not a form."""
        if self.body or self.request.method == "POST":
            check_form_type(self.request.headers.get("content-type", "").encode())
        return parse_form(self.body)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ApiError when it is none."""
        content_type = self.request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise ApiError(20415, "the body must be application/json")
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise ApiError(20001, f"the body is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise ApiError(20001, "the body must be a JSON object")
        return content

    @property
    def client(self) -> Client | None:
        """Who waits for the answer; None where that is another worker."""
        client: Client | None = self.request.scope.get(CLIENT)
        return client

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        return parse_qsl(self.request.url.query, keep_blank_values=True)

    @property
    def page(self) -> PageRequest:
        return page_request(self.query)

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Whatever was given: in the body, the query, and the path."""
        if self.request.headers.get("content-type", "").startswith("application/json"):
            yield from _texts("", self.json)
        elif self.body:
            for name, values in self.form.items():
                yield from ((name, value) for value in values)
        yield from self.query
        yield from ((name, str(value)) for name, value in self.request.path_params.items())

    def filter(self, name: str) -> str | None:
        return dict(self.query).get(name) or None

    @property
    def origin(self) -> str:
        """Scheme, host and product prefix as the client used them
        (docs/spec/twilio-api.md#urls-that-the-gateway-emits)."""
        return str(self.request.scope["tandem.origin"])

    @property
    def path(self) -> str:
        """The path without the product prefix."""
        return str(self.request.scope["tandem.path"])

    def operator_only(self, why: str) -> None:
        """Raises ApiError 20403 unless a parent account's token or Main key is used."""
        self.managers_only()
        if not self.is_operators:
            raise ApiError(20403, why)

    def sees(self, account_id: int) -> bool:
        """Whether the request may see what belongs to this account: its own, and for those who
        manage accounts also its subaccounts'.
        """
        owner = self.deps.directory.accounts_by_id[account_id]
        if self.account.id == owner.id:
            return True
        return self.credential.manages and self.account.id == owner.owner_id

    def named_account(self, sid: str | None, parameter: str = "AccountSid") -> Account:
        """The account that a parameter names, of those that the request sees; without it its own.

        Raises ApiError 20001.
        """
        if not sid:
            return self.account
        account = self.deps.directory.accounts.get(sid)
        if account is None or not self.sees(account.id):
            raise ApiError(20001, f"{parameter}: no such account")
        return account

    @property
    def is_operators(self) -> bool:
        """Whether a parent account's token or Main key is used."""
        return self.credential.manages and self.credential.account.owner_id is None

    def managers_only(self) -> None:
        """Raises ApiError 20403 for a Standard key."""
        if not self.credential.manages:
            raise ApiError(20403, "a Standard API key can't manage accounts, keys or the gateway")

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[Lists]:
        """The account's turn to read a list of rows, which may be long.

        Raises ApiError 20429 where too many of it wait, 20503 where it takes too long.
        """
        async with self.deps.turnstile.turn(self.account.id):
            try:
                yield self.deps.lists
            except ListTooLong:
                raise ApiError(
                    20503,
                    f"the list takes longer than {self.deps.limits.list_s:g} s; ask for less of it",
                    headers={"Retry-After": "5"},
                ) from None

    async def relayed(self, slot: int | None) -> Response | None:
        """The answer of the worker `slot`; None where that is this one. Raises ApiError."""
        if slot is None or self.request.scope.get(RELAYED):
            return None
        return await self.deps.forwarded.request(slot, self.request.scope, self.body)

    def missing(self) -> ApiError:
        return not_found(self.path)

    def found(self, row: RowT | None) -> RowT:
        """What the path names. Raises ApiError 20404 where there is none."""
        if row is None:
            raise self.missing()
        return row

    def page_shown(self, key: str, page: Sequence[Shown], tokens: Tokens = ALONE) -> Response:
        """A page as the API of the path shows lists."""
        if self.path.startswith(f"/{API_VERSION}/"):
            return json_response(envelope_2010(key, page, self.path, self.page, tokens))
        return json_response(envelope_v1(key, page, self.origin + self.path, self.page, tokens))

    def listed(
        self,
        key: str,
        rows: Sequence[RowT],
        name_of: Callable[[RowT], str],
        render: Callable[[RowT], Shown],
    ) -> Response:
        """A page of rows that were read for it (`cut`); `name_of` is what a token says of one."""
        page, tokens = cut(rows, self.page, name_of)
        return self.page_shown(key, [render(row) for row in page], tokens)

    def listed_by_sid(
        self, key: str, holders: Sequence[HolderT], render: Callable[[HolderT], Shown]
    ) -> Response:
        """A page of what is in memory."""
        rest = in_memory(holders, self.page, lambda holder: holder.sid)
        return self.listed(key, rest, lambda holder: holder.sid, render)

    def new_sid(self, prefix: str) -> str:
        return f"{prefix}{self.deps.random.getrandbits(128):032x}"


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


def json_response(content: Any, status: int = 200) -> Response:
    return json_octets(orjson.dumps(content), status)


def json_octets(content: bytes, status: int = 200) -> Response:
    return Response(content, status_code=status, media_type="application/json")


def gone() -> Response:
    """DELETE: 204 and nothing (docs/spec/twilio-api.md#sdk-behaviours-the-server-must-respect)."""
    return Response(status_code=204)


Change: TypeAlias = Callable[[Connection], Awaitable[None]]


async def change(deps: Deps, work: Change) -> None:
    """Run `work` in a transaction that changes configuration; it is in force on return.

    Raises ApiError 20403 where an account would have more than it may.
    """
    try:
        async with config_rows.change(deps.pool) as connection:
            await work(connection)
    except config_rows.AtLimit as limit:
        raise at_limit(limit) from None
    await deps.refresh()


def at_limit(limit: config_rows.AtLimit) -> ApiError:
    """403 (20403), which names the setting."""
    return ApiError(
        20403, f"the account has as many as it may: [limits] {limit.setting} = {limit.most}"
    )


def adding(
    deps: Deps, work: Change, account_id: int, *settings: str, more: Sequence[object] = ()
) -> Change:
    """`work`, and then a look whether the account has no more than these settings allow.

    `more` are values that the count takes. For what is kept in the memory of every process.
    """

    async def checked(connection: Connection) -> None:
        await work(connection)
        for setting in settings:
            most = getattr(deps.limits, setting)
            await config_rows.check_held(connection, setting, most, account_id, *more)

    return checked


def unkept(call: Call) -> str:
    """Why a row could not be written as it was asked for: the parameters with a NUL, by name."""
    try:
        names = dict.fromkeys(name for name, value in call.parameters() if "\0" in value)
    except ApiError:  # not of a form that has parameters
        names = {}
    if not names:
        return "a parameter has a value that can't be kept"
    return f"{', '.join(names)[:200]} contains a NUL character"


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """The texts in a JSON value, each by its place in it, as `to.address`."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{name}.{key}".lstrip("."), key
            yield from _texts(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(name, inner)
