"""How the simulated carriers behave: values, and the TOML file that sets them.

A scenario file has a `[[carrier]]` table per carrier, in it `[[carrier.rule]]`
tables (what becomes of messages, by destination prefix) and one
`[carrier.faults]` table (what goes wrong with the connection). Every key has a
default; an empty file is one well-behaved carrier. `docs/smpp.md` describes
them; a mistake is refused with its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_type_hints

from smpp import vocabulary as v
from smpp.layouts import MOST_CREDENTIAL


class ScenarioError(ValueError):
    """A scenario that makes no sense; the text says where and why."""


class _Wrong(ScenarioError):
    """A check that failed: which key, and why. `parse` adds the line."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key} {reason}")
        self.key = key
        self.path: tuple[str, ...] = ()


def _check(right: bool, key: str, reason: str) -> None:
    if not right:
        raise _Wrong(key, reason)


@dataclass(frozen=True, slots=True)
class ScenarioRule:
    """What becomes of the messages to which it applies. The longest matching prefix wins."""

    # Of the destination, digits without +.
    prefix: str = ""
    # Part of its messages it applies to; the others fall to the next shorter prefix.
    share: float = 1.0
    # command_status of the response; anything but 0 refuses the message.
    status: int = 0
    # What the receipt says; "none" sends no receipt.
    stat: str = "DELIVRD"
    err: str = "000"
    receipt_after_s: float = 0.05
    receipt_jitter_s: float = 0.0
    receipt_copies: int = 1
    receipt_before_response: bool = False
    receipt_on_other_bind: bool = False
    # How the receipt spells the id: a name from ID_FORMS, or the carrier's form if empty.
    receipt_id: str = ""
    # An ENROUTE notification goes before the receipt.
    intermediate: bool = False
    # False: taken (and receipted), and never answered.
    answer: bool = True
    answer_after_s: float = 0.0

    def __post_init__(self) -> None:
        _check(0.0 <= self.share <= 1.0, "share", "is between 0 and 1")
        _check(0 <= self.status <= 0xFFFFFFFF, "status", "is a command_status")
        _check(self.receipt_after_s >= 0, "receipt_after_s", "is not negative")
        _check(self.receipt_jitter_s >= 0, "receipt_jitter_s", "is not negative")
        _check(self.answer_after_s >= 0, "answer_after_s", "is not negative")
        _check(0 <= self.receipt_copies <= 100, "receipt_copies", "is between 0 and 100")
        _check(self.receipt_id in ("", *ID_FORMS), "receipt_id", f"is one of {', '.join(ID_FORMS)}")
        _check(re.fullmatch(r"[0-9A-Za-z]*", self.prefix) is not None, "prefix", "is digits")
        _check(len(self.stat) <= 20 and " " not in self.stat, "stat", "is one word")


# Kinds of peculiar PDU a carrier can send; the last two break the connection's framing.
MALFORMED = (
    "unknown_command",
    "cut_deliver",
    "udhi_empty",
    "bad_tlv",
    "vendor_tlv",
    "stray_response",
    "nack",
    "short_frame",
    "huge_frame",
)

# How a receipt may spell an id; "foreign" is the id of no message.
ID_FORMS = ("same", "decimal", "hex", "HEX", "stripped", "padded", "folded", "foreign")

# Dialects of receipts.
RECEIPT_FORMS = ("text", "tlv", "both", "short", "spaced", "commas", "ucs2")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong with connections. `…_every = N` means with every Nth submit; 0 never."""

    disconnect_every: int = 0
    stall_every: int = 0
    stall_s: float = 1.0
    # The connection goes deaf and dumb, and stays open.
    half_open_every: int = 0
    malformed_every: int = 0
    malformed: tuple[str, ...] = ("unknown_command", "cut_deliver", "udhi_empty", "bad_tlv")
    # Responses to what came in one read leave in another order.
    shuffle_answers: bool = False
    duplicate_answer_every: int = 0
    # Every write is cut into single octets.
    one_octet_writes: bool = False
    # After so many messages the receipts' ids change from the carrier's form to `drift_to`.
    drift_after: int = 0
    drift_to: str = "decimal"

    def __post_init__(self) -> None:
        for name in ("disconnect", "stall", "half_open", "malformed", "duplicate_answer"):
            _check(getattr(self, f"{name}_every") >= 0, f"{name}_every", "is not negative")
        _check(self.stall_s >= 0, "stall_s", "is not negative")
        for kind in self.malformed:
            _check(kind in MALFORMED, "malformed", f"knows {', '.join(MALFORMED)}; not {kind}")
        _check(self.drift_to in ID_FORMS, "drift_to", f"is one of {', '.join(ID_FORMS)}")

    @property
    def any(self) -> bool:
        """Whether any fault is turned on."""
        return self != Faults(malformed=self.malformed, stall_s=self.stall_s)


@dataclass(frozen=True, slots=True)
class CarrierScenario:
    """One carrier: who may bind, how it numbers and reports, its rules and faults."""

    name: str = "carrier"
    system_id: str = "tandem"
    password: str = "secret"
    # A port of its own; 0 shares the simulator's, where the system_id tells carriers apart.
    port: int = 0
    # Binds at a time; one more is refused as already bound. 0 is no limit.
    max_binds: int = 0
    # Refuses every bind with this status, credentials right or not; 0 does not.
    bind_status: int = 0
    # Ids of responses: hex (8 digits), HEX, decimal (10 digits), uuid.
    ids: str = "hex"
    receipt_ids: str = "same"
    receipts: str = "text"
    receipt_zone_minutes: int = 0
    receipt_clock_off_s: float = 0.0
    # Submits a second, above which they are refused with throttle_status; 0 is no limit.
    throttle_per_s: float = 0.0
    throttle_status: int = v.ESME_RTHROTTLED
    # Deliveries sent on a bind and not answered, at most.
    deliver_window: int = 1000
    # After which an unanswered delivery is sent again.
    deliver_timeout_s: float = 60.0
    # After which a delivery refused for the moment is sent again.
    deliver_retry_s: float = 1.0
    # Deliveries that wait for a bind that takes them; the oldest is dropped above it.
    queue_limit: int = 100_000
    enquire_interval_s: float = 0.0
    # Time without a PDU after which the carrier drops a session; 0 never does.
    inactivity_s: float = 0.0
    # Sender prefixes (toll-free) for which the network itself obeys STOP and START.
    network_stop: tuple[str, ...] = ()
    rules: tuple[ScenarioRule, ...] = ()
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        most = MOST_CREDENTIAL
        _check(0 < len(self.system_id) <= most, "system_id", f"has 1 to {most} characters")
        _check(len(self.password) <= most, "password", f"has at most {most} characters")
        _check(0 <= self.port <= 65_535, "port", "is between 0 and 65535")
        _check(self.max_binds >= 0, "max_binds", "is not negative")
        _check(self.ids in ("hex", "HEX", "decimal", "uuid"), "ids", "is hex, HEX, decimal, uuid")
        _check(self.receipt_ids in ID_FORMS, "receipt_ids", f"is one of {', '.join(ID_FORMS)}")
        _check(self.receipts in RECEIPT_FORMS, "receipts", f"is one of {', '.join(RECEIPT_FORMS)}")
        _check(self.throttle_per_s >= 0, "throttle_per_s", "is not negative")
        _check(self.deliver_window > 0, "deliver_window", "is positive")
        _check(self.deliver_timeout_s > 0, "deliver_timeout_s", "is positive")
        _check(self.queue_limit > 0, "queue_limit", "is positive")
        _check(abs(self.receipt_zone_minutes) <= 14 * 60, "receipt_zone_minutes", "is a time zone")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything a simulator is told."""

    carriers: tuple[CarrierScenario, ...] = (CarrierScenario(),)
    # Submits kept in memory; above it the oldest are forgotten.
    ledger_limit: int = 1_000_000
    # Of all chances; the command line's wins.
    seed: int | None = None
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""

    def __post_init__(self) -> None:
        _check(bool(self.carriers), "carrier", "at least one is needed")
        _check(self.ledger_limit > 0, "ledger_limit", "is positive")
        names = [carrier.name for carrier in self.carriers]
        _check(len(set(names)) == len(names), "name", "of carriers must differ")
        logins = [(carrier.system_id, carrier.port) for carrier in self.carriers]
        _check(len(set(logins)) == len(logins), "system_id", "must differ on one port")
        _check(bool(self.tls_certificate) or not self.tls_key, "tls_key", "needs tls_certificate")


# Reading ---------------------------------------------------------------------

_T = TypeVar("_T", ScenarioRule, Faults, CarrierScenario, Scenario)


def parse(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario file. Raises ScenarioError: `nasty.toml:12: stat is one word`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found.group(1) if found else str(text.count("\n") + 1)
        raise ScenarioError(f"{name}:{line}: {error}") from error
    try:
        return _scenario(document)
    except _Wrong as error:
        line_number = _line_of(text, error.path, error.key)
        raise ScenarioError(f"{name}:{line_number}: {error}") from error


def changed(carrier: CarrierScenario, change: Mapping[str, Any]) -> CarrierScenario:
    """A carrier with some keys replaced, as at run time. Raises ScenarioError."""
    return _carrier(change, (), carrier)


def _scenario(document: Mapping[str, Any]) -> Scenario:
    rest = dict(document)
    tables = rest.pop("carrier", [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _Wrong("carrier", "is a list of tables: [[carrier]]")
    carriers = tuple(
        _carrier(table, (f"carrier#{number}",), CarrierScenario())
        for number, table in enumerate(tables)
    )
    return _fill(Scenario(), rest, (), carriers=carriers)


def _carrier(
    table: Mapping[str, Any], path: tuple[str, ...], before: CarrierScenario
) -> CarrierScenario:
    rest = dict(table)
    more: dict[str, Any] = {}
    rules = rest.pop("rule", None)
    if rules is not None:
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise _Wrong("rule", "is a list of tables: [[carrier.rule]]")
        more["rules"] = tuple(
            _fill(ScenarioRule(), rule, (*path, f"carrier.rule#{number}"))
            for number, rule in enumerate(rules)
        )
    faults = rest.pop("faults", None)
    if faults is not None:
        if not isinstance(faults, dict):
            raise _Wrong("faults", "is a table: [carrier.faults]")
        more["faults"] = _fill(before.faults, faults, (*path, "carrier.faults"))
    return _fill(before, rest, path, **more)


def _fill(before: _T, table: Mapping[str, Any], path: tuple[str, ...], **more: Any) -> _T:
    """`before` with the keys of `table`, each of which must exist and have the right type."""
    kinds = get_type_hints(type(before))
    known = {field.name for field in fields(before)} - {"carriers", "rules", "faults"}
    try:
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                raise _Wrong(key, f"is no key here; known are {', '.join(sorted(known))}")
            values[key] = _typed(key, value, kinds[key])
        return replace(before, **values, **more)
    except _Wrong as error:
        error.path = error.path or path
        raise


def _typed(key: str, value: Any, kind: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise _Wrong(key, "is a list of strings")
    wanted = int if kind == int | None else kind
    if type(value) is not wanted:
        raise _Wrong(key, f"is a {wanted.__name__}, not {value!r}")
    return value


def _line_of(text: str, path: tuple[str, ...], key: str) -> int:
    """The line of a key in the table that `path` names; of the table, or 1, if it is not there.

    `path` holds headers, each with how many of its kind go before it in its parent.
    """
    lines = text.splitlines()
    start, end = 0, len(lines)
    for step in path:
        header, _, number = step.partition("#")
        found = -1
        for at in range(start, end):
            if re.match(rf"\s*\[+\s*{re.escape(header)}\s*\]", lines[at]):
                found += 1
                if found == int(number or 0):
                    start = at
                    break
        end = next(
            (
                at
                for at in range(start + 1, end)
                if re.match(rf"\s*\[+\s*{re.escape(header)}\s*\]", lines[at])
            ),
            end,
        )
    last = next((at for at in range(start + 1, end) if lines[at].lstrip().startswith("[")), end)
    for at in range(start, last):
        if re.match(rf"\s*{re.escape(key)}\s*=", lines[at]):
            return at + 1
    return min(start + 1, max(len(lines), 1))
