"""What can be said of a carrier: a `[[carriers]]` table, or a row changed at run time.

Every field has the default that most carriers take; `docs/carriers.md` describes each with the
quirk that it answers. A mistake is refused with the field and the reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import phonenumbers
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gateway.channels.smpp.tlvs import parse_tag, parse_value
from gateway.content.national import LANGUAGES
from gateway.routing.countries import calling_code_of
from gateway.routing.destination import parse_destination
from gateway.runtime.sections import Positive, Section
from smpp.layouts import MOST_CREDENTIAL
from smpp.tls import TlsConfig

BindName: TypeAlias = Literal["transceiver", "transmitter", "receiver"]
MOST_BINDS = 64
MOST_PATTERN = 1_000  # characters of `receipt_pattern`
PRINTABLE = r"^[\x20-\x7e]*$"  # what a C-octet string of SMPP holds without doubt

Ton: TypeAlias = Annotated[int, Field(ge=0, le=7)]
Npi: TypeAlias = Annotated[int, Field(ge=0, le=18)]
Hosts: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
Window: TypeAlias = Annotated[int, Field(ge=1, le=10_000)]


STATUS = re.compile(r"0[xX]([0-9A-Fa-f]{1,8})")


class AddressType(Section):
    """Type of number and numbering plan (SMPP 3.4 §5.2.5, §5.2.6)."""

    ton: Ton
    npi: Npi


class CarrierTls(Section):
    """TLS towards a carrier; verification is on unless switched off by name."""

    verify: bool = True
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    pinned_sha256: tuple[str, ...] = Field(default=(), description="of the certificates taken")

    def config(self) -> TlsConfig:
        """The same for `smpp`. Raises ValueError for what does not fit together."""
        return TlsConfig(
            verify=self.verify,
            ca_file=str(self.ca_file or ""),
            certificate_file=str(self.certificate_file or ""),
            key_file=str(self.key_file or ""),
            server_name=self.server_name or "",
            pinned_sha256=self.pinned_sha256,
        )

    @model_validator(mode="after")
    def _fits_together(self) -> CarrierTls:
        self.config()
        return self


class BindSettings(Section):
    """Some binds of one kind; what is left out is as the carrier says."""

    type: BindName = "transceiver"
    count: int = Field(default=1, ge=1, le=MOST_BINDS)
    hosts: Hosts | None = None
    window: Window | None = None

    @field_validator("hosts")
    @classmethod
    def _hosts_have_ports(cls, hosts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return _with_ports(hosts) if hosts is not None else None


class RefusalWaits(Section):
    """How long to wait after a lost or refused bind, in seconds; by what the refusal says."""

    first_s: Positive = Field(default=1.0, description="after a lost connection, at most; doubles")
    most_s: Positive = 60.0
    credentials_s: Positive = Field(default=300.0, description="wrong password: no hammering")
    already_bound_s: float = Field(
        default=0.0, ge=0, description="the carrier's inactivity timer; 0 learns it"
    )
    system_s: Positive = 10.0
    configuration_s: Positive = 120.0
    other_s: Positive = 30.0

    @model_validator(mode="after")
    def _first_is_not_the_longest(self) -> RefusalWaits:
        if self.first_s > self.most_s:
            raise ValueError("first_s is longer than most_s")
        return self


def _kind_of_binds(value: Any) -> str:
    return "list" if isinstance(value, (list, tuple)) else "count"


Binds: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, le=MOST_BINDS), Tag("count")]
    | Annotated[tuple[BindSettings, ...], Tag("list")],
    Discriminator(_kind_of_binds),
]


def _kind_of_numbers(value: Any) -> str:
    return "list" if isinstance(value, (list, tuple)) else "word"


# Its own numbers, any of ours, or its own and these: names of carriers, or numbers.
DeliversFor: TypeAlias = Annotated[
    Annotated[Literal["own", "any"], Tag("word")]
    | Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(max_length=1_000),
        Tag("list"),
    ],
    Discriminator(_kind_of_numbers),
]


class CarrierSettings(Section):
    """One carrier: where to bind, and how it wants to be spoken to."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")

    # The binds.
    hosts: Hosts = Field(description="host:port, tried in turn")
    system_id: str = Field(min_length=1, max_length=MOST_CREDENTIAL, pattern=PRINTABLE)
    password: str = Field(default="", max_length=MOST_CREDENTIAL, pattern=PRINTABLE, repr=False)
    system_type: str = Field(default="", max_length=12, pattern=PRINTABLE)
    bind: BindName = "transceiver"
    binds: Binds = 1
    window: Window = 100
    response_timeout_s: Positive = 30.0
    enquire_interval_s: Positive = 30.0
    confirm_interval_s: float = Field(
        default=1.0, ge=0, description="asks so often whether our answers arrived; 0: never"
    )
    tls: CarrierTls | None = None
    refusal_waits: RefusalWaits = RefusalWaits()

    # How fast.
    rate_per_second: Positive | None = Field(default=None, description="segments; null: no limit")
    slow_answer_s: Positive = Field(
        default=5.0, description="an answer that takes longer is a sign of congestion"
    )
    ambiguous: Literal["resubmit", "give_up"] = "resubmit"
    network_opt_out: bool = Field(
        default=True, description="its network takes STOP for toll-free numbers, and answers it"
    )

    # Addresses.
    long_code: AddressType = AddressType(ton=1, npi=1)
    short_code: AddressType = AddressType(ton=3, npi=0)
    alphanumeric: AddressType = AddressType(ton=5, npi=0)
    destination: AddressType = AddressType(ton=1, npi=1)
    leading_plus: bool = Field(default=False, description="numbers keep their +")
    inbound_country: str | None = Field(
        default=None, description="ISO; of the numbers that it delivers without a country"
    )
    inbound_prefix: str | None = Field(
        default=None,
        pattern=r"^\+?[0-9]{1,12}$",
        description="digits before the numbers that it delivers without them",
    )
    delivers_for: DeliversFor = Field(
        default="own", description="whose numbers it may deliver messages for"
    )

    # Texts.
    default_alphabet: Literal["gsm7", "packed", "latin1", "ascii", "utf8"] = Field(
        default="gsm7", description="what data_coding 0 means there"
    )
    text_terminator: Literal["learn", "nul", "none"] = Field(
        default="learn", description="whether a NUL ends its texts of GSM-7, where it is @ as well"
    )
    national_tables: tuple[int, ...] = Field(
        default=(), description="language identifiers of 3GPP TS 23.038 that it passes on"
    )
    concatenation: Literal["udh8", "udh16", "sar", "payload"] = "udh8"

    # Other fields of a submit_sm.
    service_type: str = Field(default="", max_length=5, pattern=PRINTABLE)
    propagate_validity: Literal["none", "relative", "absolute"] = "none"
    user_message_reference: bool = True
    tlvs: dict[str, str] = Field(default_factory=dict, description="sent with every message")
    message_tlvs: tuple[str, ...] = Field(default=(), description="taken from the send call")
    callback_tlvs: tuple[str, ...] = Field(
        default=(), description="of answers and receipts, told in status callbacks"
    )
    presets: tuple[Literal["india_dlt"], ...] = ()
    mms_tlv: str = Field(
        default="0x1510", description="the link of one of an MMS's media; one for each"
    )

    # Receipts.
    registered_delivery: int = Field(default=1, ge=0, le=31)
    receipts: Literal["all", "first", "last"] = Field(
        default="all", description="parts of a long message that ask for one"
    )
    receipt_id_form: Literal[
        "learn",
        "as_is",
        "folded",
        "stripped",
        "hex_to_decimal",
        "decimal_to_hex",
        "padded",
    ] = "learn"
    error_codes: dict[str, int] = Field(
        default={},
        max_length=1_000,
        description="its own: `err` of a receipt, or 0x… of a submit_sm_resp; the public code",
    )
    receipt_pattern: str | None = Field(
        default=None, description="a regular expression with the groups message_id and stat"
    )
    receipt_utc_offset_minutes: int = Field(default=0, ge=-14 * 60, le=14 * 60)

    @field_validator("hosts")
    @classmethod
    def _hosts_have_ports(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return _with_ports(hosts)

    @field_validator("tlvs")
    @classmethod
    def _tlvs_parse(cls, tlvs: dict[str, str]) -> dict[str, str]:
        for tag, value in tlvs.items():
            parse_tag(tag)
            parse_value(value)
        return tlvs

    @field_validator("mms_tlv")
    @classmethod
    def _tag_parses(cls, tag: str) -> str:
        parse_tag(tag)
        return tag

    @field_validator("message_tlvs", "callback_tlvs")
    @classmethod
    def _tags_parse(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            parse_tag(tag)
        return tags

    @field_validator("national_tables")
    @classmethod
    def _languages_exist(cls, languages: tuple[int, ...]) -> tuple[int, ...]:
        for language in languages:
            if language not in LANGUAGES:
                raise ValueError(f"{language} is no language; 1 to {max(LANGUAGES)} are")
        return languages

    @field_validator("inbound_country")
    @classmethod
    def _country_exists(cls, country: str | None) -> str | None:
        if country is None:
            return None
        if country.upper() not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"{country!r} is no country's two letters")
        return country.upper()

    @field_validator("inbound_prefix")
    @classmethod
    def _prefix_has_a_country(cls, prefix: str | None) -> str | None:
        if prefix is None:
            return None
        digits = prefix.removeprefix("+")
        if calling_code_of(digits) is None and not digits.startswith("1"):
            raise ValueError(f"{prefix!r} does not begin with a country's calling code")
        return digits

    @field_validator("delivers_for")
    @classmethod
    def _numbers_are_whole(cls, whose: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(whose, str):
            return whose
        for number in whose:
            if number.startswith("+") and parse_destination(number) is None:
                raise ValueError(f"{number!r} is no number")
        return tuple(
            found.e164 if (found := parse_destination(number)) else number for number in whose
        )

    @field_validator("error_codes")
    @classmethod
    def _codes_are_known(cls, codes: dict[str, int]) -> dict[str, int]:
        spelt = {}
        for own, code in codes.items():
            if not 10_000 <= code <= 99_999:
                raise ValueError(f"{own}: {code} is not a code of five digits")
            status = STATUS.fullmatch(own)
            spelt[f"0x{int(status[1], 16):08X}" if status else own] = code
        return spelt

    @field_validator("receipt_pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        if len(pattern) > MOST_PATTERN:
            raise ValueError(f"has more than {MOST_PATTERN:,} characters")
        try:
            groups = re.compile(pattern.encode()).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        except (RecursionError, OverflowError):
            raise ValueError("not a regular expression: nested or counted too far") from None
        for name in ("message_id", "stat"):
            if name not in groups:
                raise ValueError(f"has no group (?P<{name}>…)")
        return pattern

    @model_validator(mode="after")
    def _fits_together(self) -> CarrierSettings:
        if self.national_tables and self.default_alphabet not in ("gsm7", "packed"):
            raise ValueError(
                f"national_tables are tables of GSM-7: default_alphabet {self.default_alphabet!r}"
                " has none"
            )
        if not 1 <= sum(bind.count for bind in self.bind_plan) <= MOST_BINDS:
            raise ValueError(f"binds are 1 to {MOST_BINDS} together")
        return self

    @property
    def bind_plan(self) -> tuple[BindSettings, ...]:
        """The binds, whichever way they were written."""
        if isinstance(self.binds, int):
            return (BindSettings(type=self.bind, count=self.binds),)
        return self.binds


def _with_ports(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        name, separator, port = host.rpartition(":")
        if not (separator and name and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{host!r} is not host:port")
    return hosts
