"""Accounts, services, senders and pools, in memory: the configuration at one version.

`Directory` is replaced content by content, never in place: whoever holds a pool or an account keeps
a consistent picture of the moment it looked.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, TypeVar

from gateway.routing.destination import parse_destination
from gateway.routing.networks import DEFAULT, NetworkFacts
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool, ServiceSettings
from storage.config import (
    ConfigurationSnapshot,
    PoolMemberRow,
    Rest,
    SenderRow,
    ServiceRow,
    TableRow,
)

RecordT = TypeVar("RecordT")
RowT = TypeVar("RowT", bound=Mapping[str, object])

MOST_FORMER: Final = 10_000  # deleted services whose SIDs are in memory


@dataclass(frozen=True, slots=True)
class StoredResource:
    """A row under its SID; its fields have the names of their columns."""

    id: int
    sid: str


ResourceT = TypeVar("ResourceT", bound=StoredResource)


@dataclass(frozen=True, slots=True)
class DatedResource(StoredResource):
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OwnedResource(DatedResource):
    account_id: int


@dataclass(frozen=True, slots=True)
class NamedResource(OwnedResource):
    friendly_name: str


@dataclass(frozen=True, slots=True)
class Account(DatedResource):
    owner_id: int | None
    friendly_name: str
    status: str
    auth_token: str  # the primary one: webhooks are signed with it
    secondary_token: str | None
    test_sid: str | None  # of the credentials with which nothing happens
    test_token: str | None
    balance: Decimal
    currency: str
    debugger_url: str | None
    closed_countries: frozenset[str]
    pumping_protection: bool
    daily_messages: int | None  # most of a day; None: no limit
    messages_per_second: float | None  # segments of SMS, with its subaccounts; None: no limit
    mms_per_second: float | None  # of its long codes; None: the default
    toll_free_mms_per_second: float | None

    def knows(self, secret: str) -> bool:
        """Whether `secret` is one of this account's auth tokens; takes the same time for any."""
        given = secret.encode()
        primary = hmac.compare_digest(self.auth_token.encode(), given)
        if self.secondary_token is None:
            return primary
        return hmac.compare_digest(self.secondary_token.encode(), given) or primary

    def knows_test(self, secret: str) -> bool:
        """Whether `secret` is the token of its test credentials."""
        return hmac.compare_digest((self.test_token or "").encode(), secret.encode())

    @property
    def active(self) -> bool:
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class ApiKey(NamedResource):
    main: bool
    secret_hash: bytes  # SHA-256 of a secret that we made at random

    def knows(self, secret: str) -> bool:
        return hmac.compare_digest(self.secret_hash, sha256(secret.encode()).digest())


@dataclass(frozen=True, slots=True)
class Application(NamedResource):
    """A TwiML application: URLs under one SID."""

    settings: dict[str, Any]  # by API field name; absent means the default

    @property
    def status_callback(self) -> str | None:
        """Of messages that name it."""
        url: str | None = self.settings.get("message_status_callback")
        return url or self.settings.get("sms_status_callback")


@dataclass(frozen=True, slots=True)
class CarrierRecord(DatedResource):
    """A carrier as it is stored; `gateway.submission.connectors` runs it."""

    name: str
    settings: dict[str, Any]  # what differs from the defaults, the password apart
    password: bytes | None  # encrypted


@dataclass(frozen=True, slots=True)
class SenderRecord:
    """A sender as the API shows it; `sender` is what routing needs of it."""

    sender: Sender
    account_id: int
    friendly_name: str
    voice: bool
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    service_id: int | None = None  # the one whose pool it is in
    joined_at: datetime | None = None
    application: dict[str, Any] | None = None  # settings of the one that it names

    @property
    def webhooks(self) -> dict[str, Any]:
        """Where its URLs stand: an application wins over the number
        (docs/spec/twilio-api.md#account-inventory)."""
        return self.application if self.application is not None else self.settings

    @property
    def sid(self) -> str:
        return self.sender.sid


@dataclass(frozen=True, slots=True)
class LinkDomain(OwnedResource):
    """A domain of short links (docs/spec/twilio-api.md#bulk-and-newer-apis)."""

    config_sid: str
    domain_name: str  # what `Host` says, in lower case
    fallback_url: str | None
    callback_url: str | None
    continue_on_failure: bool
    disable_https: bool

    @property
    def base(self) -> str:
        """What its short links begin with."""
        return f"http{'' if self.disable_https else 's'}://{self.domain_name}/"


@dataclass(frozen=True, slots=True)
class Service(NamedResource):
    """A messaging service with its pool."""

    settings: dict[str, Any]  # by API field name; absent means the default
    pool: SenderPool
    link_domain: LinkDomain | None = None  # that its links are shortened with

    @property
    def validity_s(self) -> int:
        return self.pool.settings.validity_s

    @property
    def status_callback(self) -> str | None:
        return self.settings.get("status_callback")

    @property
    def inbound_behavior(self) -> str:
        """What becomes of inbound messages (docs/spec/messaging-services.md#which-handler): our own
        setting, where it is set, else what Twilio's two settings mean together.
        """
        chosen = self.settings.get("inbound_behavior")
        if chosen:
            return str(chosen)
        if self.settings.get("use_inbound_webhook_on_number", True):
            return "defer_to_sender"
        return "service_webhook" if self.settings.get("inbound_request_url") else "drop"


@dataclass(frozen=True, slots=True)
class ContentTemplate(NamedResource):
    """A content template; its types and variables are checked (gateway.content.templates)."""

    language: str
    variables: dict[str, str]
    types: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SafeNumber(StoredResource):
    """A number, or its beginning, that is never taken for pumped."""

    account_id: int
    phone_number: str


@dataclass(frozen=True, slots=True)
class Registration(OwnedResource):
    """An alphanumeric ID that was, or is to be, registered with a country's carriers."""

    alpha_sender: str
    country: str
    status: str  # draft, in_review, approved, rejected


@dataclass(frozen=True, slots=True)
class OptOutConfig(NamedResource):
    """Advanced Opt-Out of a service: its keyword sets and replies, as `/v3/OptOuts` shows them."""

    service_id: int | None
    enabled: bool
    keywords: list[dict[str, Any]]  # keyword_type, message_type, keywords
    messages: list[dict[str, Any]]  # keyword_type, message_type, message


@dataclass(slots=True)
class Directory:
    version: int = 0
    # Rises with every change, when it is shown and again when all of it is in force: what was
    # worked out from the directory holds as long as it is the same.
    epoch: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)  # by SID
    accounts_by_id: dict[int, Account] = field(default_factory=dict)
    testers: dict[str, Account] = field(default_factory=dict)  # by the SID of test credentials
    keys: dict[str, ApiKey] = field(default_factory=dict)  # by SID
    applications: dict[str, Application] = field(default_factory=dict)  # by SID
    carriers: dict[str, CarrierRecord] = field(default_factory=dict)  # by name
    senders: dict[str, SenderRecord] = field(default_factory=dict)  # by SID
    senders_by_id: dict[int, SenderRecord] = field(default_factory=dict)
    # Of whatever has one owner, so all but alphanumeric IDs.
    senders_by_address: dict[str, SenderRecord] = field(default_factory=dict)
    alphanumerics: dict[tuple[int, str], list[SenderRecord]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)  # by SID
    services_by_id: dict[int, Service] = field(default_factory=dict)
    # Segments per second towards the US of a service's campaign, where the operator set it.
    campaign_rates: dict[int, float] = field(default_factory=dict)
    facts: NetworkFacts = DEFAULT
    facts_revision: str = ""  # of the operator's tables that `facts` was made from
    templates: dict[str, ContentTemplate] = field(default_factory=dict)  # by SID
    link_domains: dict[str, LinkDomain] = field(default_factory=dict)  # by SID
    link_domains_by_name: dict[str, LinkDomain] = field(default_factory=dict)
    safe_list: dict[str, SafeNumber] = field(default_factory=dict)  # by SID
    # SIDs of those, by account and number.
    safe_numbers: dict[int, dict[str, str]] = field(default_factory=dict)
    registrations: dict[str, Registration] = field(default_factory=dict)  # by SID
    # Approved (alphanumeric ID, country) pairs, by account.
    registered: dict[int, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    opt_out_configs: dict[int, OptOutConfig] = field(default_factory=dict)  # by service
    opt_out_configs_by_sid: dict[str, OptOutConfig] = field(default_factory=dict)
    # SIDs of services that are deleted, by id: the newest, and those that were asked for.
    former_services: dict[int, str] = field(default_factory=dict)
    # Rows of the newest picture that are left out since nothing can be made of them: SID, why.
    unreadable: dict[str, str] = field(default_factory=dict)

    def show(self, snapshot: ConfigurationSnapshot) -> None:
        """Replace what `snapshot` has by what it says; older pictures are ignored."""
        if snapshot.version <= self.version:
            return
        self.unreadable = {}
        keys = self._changed(snapshot, "api_keys", ApiKey, self.keys)
        applications = self._changed(snapshot, "applications", Application, self.applications)
        templates = self._changed(snapshot, "content_templates", ContentTemplate, self.templates)
        domains = self._changed(snapshot, "link_domains", LinkDomain, self.link_domains)
        configs = self._changed(
            snapshot, "opt_out_configs", OptOutConfig, self.opt_out_configs_by_sid
        )
        safe = self._changed(snapshot, "safe_list", SafeNumber, self.safe_list)
        self.keys, self.templates = keys, templates
        if safe is not self.safe_list:
            self.safe_list, self.safe_numbers = safe, {}
            for number in safe.values():
                numbers = self.safe_numbers.setdefault(number.account_id, {})
                numbers[number.phone_number] = number.sid
        if applications is not self.applications:
            self.applications = applications
        if domains is not self.link_domains:
            self.link_domains = domains
            self.link_domains_by_name = {domain.domain_name: domain for domain in domains.values()}
        if configs is not self.opt_out_configs_by_sid:
            self.opt_out_configs_by_sid = configs
            self.opt_out_configs = {
                config.service_id: config
                for config in configs.values()
                if config.service_id is not None
            }
        if snapshot.rest is not None:
            self._show_rest(snapshot.rest)
        else:
            self._tie_anew(snapshot)
        self.version = snapshot.version
        self.epoch += 1

    def _changed(
        self,
        snapshot: ConfigurationSnapshot,
        table: str,
        shape: type[ResourceT],
        before: dict[str, ResourceT],
    ) -> dict[str, ResourceT]:
        """The rows of a table by SID, as they are now: `before` itself where none changed."""
        rows = self._read(snapshot.rows.get(table, ()), lambda row: _as(shape, row))
        if snapshot.whole:
            return {row.sid: row for row in rows}
        gone = snapshot.gone.get(table)
        if not rows and not gone:
            return before
        now = dict(before)  # whoever holds the former one keeps it as it was
        if gone:
            now = {sid: row for sid, row in now.items() if row.id not in gone}
        now.update((row.sid, row) for row in rows)
        return now

    def _tie_anew(self, snapshot: ConfigurationSnapshot) -> None:
        """Senders name applications, and services domains, that changed while they did not."""
        if snapshot.rows.get("applications") or snapshot.gone.get("applications"):
            self._place_senders(
                [
                    replace(record, application=self._settings_of(record.settings))
                    if record.settings.get("sms_application_sid")
                    else record
                    for record in self.senders.values()
                ]
            )
        if snapshot.rows.get("link_domains") or snapshot.gone.get("link_domains"):
            domains = {domain.id: domain for domain in self.link_domains.values()}
            self._place_services(
                [
                    replace(service, link_domain=domains.get(service.link_domain.id))
                    if service.link_domain is not None
                    else service
                    for service in self.services.values()
                ]
            )

    def _settings_of(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The webhooks of the application that a sender's settings name."""
        application = self.applications.get(settings.get("sms_application_sid") or "")
        return application.settings if application is not None else None

    def _show_rest(self, rest: Rest) -> None:
        accounts = self._read(rest.accounts, _account)
        member_of = {row["sender_id"]: row for row in rest.memberships}
        records = self._read(
            rest.senders,
            lambda row: _sender_record(
                row, member_of.get(row["id"]), self._settings_of(row["settings"])
            ),
        )
        members: dict[int, list[Sender]] = defaultdict(list)
        for record in records:
            if record.service_id is not None:
                members[record.service_id].append(record.sender)
        approved: dict[int, set[tuple[str, str]]] = defaultdict(set)
        registrations = [_as(Registration, row) for row in rest.registrations]
        for registration in registrations:
            if registration.status == "approved":
                approved[registration.account_id].add(
                    (registration.alpha_sender, registration.country)
                )
        domains = {domain.id: domain for domain in self.link_domains.values()}
        services = self._read(
            rest.services,
            lambda row: _service(
                row,
                members[row["id"]],
                frozenset(approved[row["account_id"]]),
                domains.get(row["link_domain_id"] or 0),
                self.services_by_id.get(row["id"]),
            ),
        )

        self.accounts = {account.sid: account for account in accounts}
        self.testers = {
            account.test_sid: account for account in accounts if account.test_sid is not None
        }
        self.accounts_by_id = {account.id: account for account in accounts}
        carriers = [_as(CarrierRecord, row) for row in rest.carriers]
        self.carriers = {carrier.name: carrier for carrier in carriers}
        self._place_senders(records)
        now = {service.id for service in services}
        self.remember_services(
            {id: gone.sid for id, gone in self.services_by_id.items() if id not in now}
        )
        self._place_services(services)
        self.registered = approved
        self.registrations = {registration.sid: registration for registration in registrations}
        self.campaign_rates = rest.campaign_rates

    def _place_senders(self, records: Sequence[SenderRecord]) -> None:
        self.senders = {record.sid: record for record in records}
        self.senders_by_id = {record.sender.id: record for record in records}
        self.senders_by_address, self.alphanumerics = {}, {}
        for record in records:
            if record.sender.kind is SenderKind.ALPHA:
                key = record.account_id, record.sender.address
                self.alphanumerics.setdefault(key, []).append(record)
            else:
                self.senders_by_address[record.sender.address] = record
        for record in records:
            # One that an older version filed by another spelling is found by that of today, too.
            spelled = _spelled(record.sender)
            if spelled is not None:
                self.senders_by_address.setdefault(spelled, record)

    def _place_services(self, services: Sequence[Service]) -> None:
        self.services = {service.sid: service for service in services}
        self.services_by_id = {service.id: service for service in services}

    def _read(self, rows: Iterable[RowT], make: Callable[[RowT], RecordT]) -> list[RecordT]:
        """What each row is; one that can't be read is left out, and holds up no other account's."""
        made = []
        for row in rows:
            try:
                made.append(make(row))
            except Exception as error:
                self.unreadable[str(row["sid"])] = f"{type(error).__name__}"
        return made

    def remember_services(self, sids: Mapping[int, str]) -> None:
        """Services are deleted; their messages go on naming them."""
        for id, sid in sids.items():
            self.former_services[id] = sid
            if len(self.former_services) > MOST_FORMER:
                del self.former_services[next(iter(self.former_services))]

    def service_sid(self, service_id: int | None) -> str | None:
        """The SID of a message's service, also of one that was deleted since."""
        service = self.services_by_id.get(service_id or 0)
        return service.sid if service is not None else self.former_services.get(service_id or 0)

    def application(self, account_id: int, sid: str) -> Application | None:
        """An application of the account."""
        application = self.applications.get(sid[:2].upper() + sid[2:].lower())
        return application if application and application.account_id == account_id else None

    def alphanumeric(self, account_id: int, address: str, country: str) -> SenderRecord | None:
        """An alphanumeric ID of any of the account's services; that for `country` first."""
        found = self.alphanumerics.get((account_id, address))
        if not found:
            return None

        def distance(record: SenderRecord) -> int:
            return (country, "").index(record.sender.destination_country)

        able = [record for record in found if record.sender.destination_country in (country, "")]
        return min(able, key=distance) if able else found[0]

    def acts_for(self, credential: Account, account_sid: str) -> Account | None:
        """The account a request acts for: the credential's own or a subaccount of it."""
        account = self.accounts.get(account_sid)
        if account is None:
            return None
        if account.id == credential.id or account.owner_id == credential.id:
            return account
        return None


def _as(shape: type[ResourceT], row: TableRow) -> ResourceT:
    return shape(**{name: row[name] for name in shape.__dataclass_fields__})


def _account(row: TableRow) -> Account:
    account = _as(Account, row)
    return replace(account, closed_countries=frozenset(account.closed_countries))


def _spelled(sender: Sender) -> str | None:
    number = parse_destination(sender.address) if sender.kind is SenderKind.LONG_CODE else None
    return number.e164 if number is not None and number.e164 != sender.address else None


def _sender_record(
    row: SenderRow, membership: PoolMemberRow | None, application: dict[str, Any] | None
) -> SenderRecord:
    kind, service_id, joined_at = SenderKind(row["kind"]), row["service_id"], None
    if service_id is not None:  # an alphanumeric ID, made in its pool
        joined_at = row["created_at"]
    elif membership:
        service_id, joined_at = membership["service_id"], membership["created_at"]
    number = parse_destination(row["address"]) if kind is SenderKind.LONG_CODE else None
    sender = Sender(
        id=row["id"],
        sid=row["sid"],
        kind=kind,
        address=row["address"],
        country=row["country"],
        area_code=number.area_code if number else None,
        sms=row["sms"],
        mms=row["mms"],
        rate=row["rate"],
        carrier_id=row["carrier_id"] or 0,
        destination_country=row["destination_country"],
        added_at=joined_at.timestamp() if joined_at else 0.0,
    )
    return SenderRecord(
        sender=sender,
        account_id=row["account_id"],
        friendly_name=row["friendly_name"],
        voice=row["voice"],
        settings=row["settings"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        service_id=service_id,
        joined_at=joined_at,
        application=application,
    )


# The API's field names, and what routing calls them.
ROUTING_SETTINGS = {
    "sticky_sender": "sticky",
    "area_code_geomatch": "area_code_geomatch",
    "smart_encoding": "smart_encoding",
    "mms_converter": "mms_converter",
    "validity_period": "validity_s",
    "sender_id_prereg_alert": "sender_id_prereg_alert",
    "strict_preregistration": "strict_preregistration",
    "skip_unhealthy": "skip_unhealthy",
    "region_fallback": "region_fallback",
    "sticky_ttl": "sticky_ttl_s",
}


def _service(
    row: ServiceRow,
    members: list[Sender],
    registrations: frozenset[tuple[str, str]],
    link_domain: LinkDomain | None,
    before: Service | None,
) -> Service:
    settings = row["settings"]
    known = {field: settings[name] for name, field in ROUTING_SETTINGS.items() if name in settings}
    known["kind_priority"] = {
        country: tuple(SenderKind[kind.upper()] for kind in kinds)
        for country, kinds in (settings.get("number_priority") or {}).items()
    }
    known["kind_weights"] = {
        country: {SenderKind[kind.upper()]: weight for kind, weight in weights.items()}
        for country, weights in (settings.get("number_weights") or {}).items()
    }
    pool = SenderPool(members, ServiceSettings(**known, registrations=registrations))
    return Service(
        id=row["id"],
        sid=row["sid"],
        account_id=row["account_id"],
        friendly_name=row["friendly_name"],
        settings=settings,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        pool=before.pool.replaced_by(pool) if before is not None else pool,
        link_domain=link_domain,
    )
