"""Every PDU of SMPP 3.4 as data: its mandatory fields in wire order.

`codec` has one builder and one parser that walk these tables; the conformance
statement is printed from them. A PDU is described here and nowhere else (the
three hot ones are also written out by hand in `codec`, and a property test
holds both against each other).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from smpp import vocabulary as v


class FieldKind(Enum):
    """How a field lies on the wire (SMPP 3.4 §3.1)."""

    INTEGER = auto()  # unsigned, `size` octets, big-endian
    C_OCTETS = auto()  # text up to and with a NUL, at most `size` octets of it
    SHORT_MESSAGE = auto()  # sm_length (one octet), then so many octets
    DESTINATIONS = auto()  # number_of_dests, then that many flagged addresses
    FAILURES = auto()  # no_unsuccess, then that many addresses, each with a status


@dataclass(frozen=True, slots=True)
class Field:
    """One mandatory parameter. `size` is octets for integers, the largest length for text.

    `longest` is the same where more than the standard's is written: SMSCs give out longer ones.
    """

    name: str
    kind: FieldKind
    size: int
    reference: str
    longest: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """One PDU: command, fields, whether optional parameters may follow, where it is defined."""

    command: int
    name: str
    fields: tuple[Field, ...]
    tlvs: bool
    reference: str

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.command & v.RESPONSE)


def _integer(name: str, reference: str, size: int = 1) -> Field:
    return Field(name, FieldKind.INTEGER, size, reference)


def _text(name: str, size: int, reference: str, longest: int = 0) -> Field:
    return Field(name, FieldKind.C_OCTETS, size, reference, longest)


def _address(prefix: str, size: int = 21) -> tuple[Field, ...]:
    name = {"source": "source_addr", "dest": "destination_addr", "esme": "esme_addr"}[prefix]
    long = {"source": "source_addr", "dest": "dest_addr", "esme": "esme_addr"}[prefix]
    return (
        _integer(f"{long}_ton", "§5.2.5"),
        _integer(f"{long}_npi", "§5.2.6"),
        _text(name, size, "§5.2.8" if prefix == "source" else "§5.2.9"),
    )


# Characters of a system_id or a password that are written; the standard has 15 and 8.
MOST_CREDENTIAL: Final = 64
SHORT_MESSAGE: Final = Field("short_message", FieldKind.SHORT_MESSAGE, 254, "§5.2.22")
_MESSAGE_ID: Final = _text("message_id", 65, "§5.2.23")
_SERVICE_TYPE: Final = _text("service_type", 6, "§5.2.11")
_SYSTEM_ID: Final = _text("system_id", 16, "§5.2.1", MOST_CREDENTIAL + 1)
_PASSWORD: Final = _text("password", 9, "§5.2.2", MOST_CREDENTIAL + 1)

_BIND: Final = (
    _SYSTEM_ID,
    _PASSWORD,
    _text("system_type", 13, "§5.2.3"),
    _integer("interface_version", "§5.2.4"),
    _integer("addr_ton", "§5.2.5"),
    _integer("addr_npi", "§5.2.6"),
    _text("address_range", 41, "§5.2.7"),
)

_FLAGS_AND_TEXT: Final = (
    _integer("esm_class", "§5.2.12"),
    _integer("protocol_id", "§5.2.13"),
    _integer("priority_flag", "§5.2.14"),
    _text("schedule_delivery_time", 17, "§5.2.15"),
    _text("validity_period", 17, "§5.2.16"),
    _integer("registered_delivery", "§5.2.17"),
    _integer("replace_if_present_flag", "§5.2.18"),
    _integer("data_coding", "§5.2.19"),
    _integer("sm_default_msg_id", "§5.2.20"),
    SHORT_MESSAGE,
)

_MESSAGE: Final = (_SERVICE_TYPE, *_address("source"), *_address("dest"), *_FLAGS_AND_TEXT)

_ALL: Final = (
    Layout(v.GENERIC_NACK, "generic_nack", (), False, "§4.3.1"),
    Layout(v.BIND_TRANSMITTER, "bind_transmitter", _BIND, False, "§4.1.1"),
    Layout(v.BIND_TRANSMITTER | v.RESPONSE, "bind_transmitter_resp", (_SYSTEM_ID,), True, "§4.1.2"),
    Layout(v.BIND_RECEIVER, "bind_receiver", _BIND, False, "§4.1.3"),
    Layout(v.BIND_RECEIVER | v.RESPONSE, "bind_receiver_resp", (_SYSTEM_ID,), True, "§4.1.4"),
    Layout(v.BIND_TRANSCEIVER, "bind_transceiver", _BIND, False, "§4.1.5"),
    Layout(v.BIND_TRANSCEIVER | v.RESPONSE, "bind_transceiver_resp", (_SYSTEM_ID,), True, "§4.1.6"),
    Layout(v.OUTBIND, "outbind", (_SYSTEM_ID, _PASSWORD), False, "§4.1.7"),
    Layout(v.UNBIND, "unbind", (), False, "§4.2.1"),
    Layout(v.UNBIND_RESP, "unbind_resp", (), False, "§4.2.2"),
    Layout(v.SUBMIT_SM, "submit_sm", _MESSAGE, True, "§4.4.1"),
    # 3.4 gives it no optional parameters; 5.0 does, and carriers send them.
    Layout(v.SUBMIT_SM_RESP, "submit_sm_resp", (_MESSAGE_ID,), True, "§4.4.2"),
    Layout(
        v.SUBMIT_MULTI,
        "submit_multi",
        (
            _SERVICE_TYPE,
            *_address("source"),
            Field("dest_address", FieldKind.DESTINATIONS, 254, "§4.5.1.1"),
            *_FLAGS_AND_TEXT,
        ),
        True,
        "§4.5.1",
    ),
    Layout(
        v.SUBMIT_MULTI | v.RESPONSE,
        "submit_multi_resp",
        (_MESSAGE_ID, Field("unsuccess_sme", FieldKind.FAILURES, 255, "§4.5.2.1")),
        True,
        "§4.5.2",
    ),
    Layout(v.DELIVER_SM, "deliver_sm", _MESSAGE, True, "§4.6.1"),
    Layout(v.DELIVER_SM_RESP, "deliver_sm_resp", (_MESSAGE_ID,), True, "§4.6.2"),
    Layout(
        v.DATA_SM,
        "data_sm",
        (
            _SERVICE_TYPE,
            *_address("source", 65),
            *_address("dest", 65),
            _integer("esm_class", "§5.2.12"),
            _integer("registered_delivery", "§5.2.17"),
            _integer("data_coding", "§5.2.19"),
        ),
        True,
        "§4.7.1",
    ),
    Layout(v.DATA_SM_RESP, "data_sm_resp", (_MESSAGE_ID,), True, "§4.7.2"),
    Layout(v.QUERY_SM, "query_sm", (_MESSAGE_ID, *_address("source")), False, "§4.8.1"),
    Layout(
        v.QUERY_SM | v.RESPONSE,
        "query_sm_resp",
        (
            _MESSAGE_ID,
            _text("final_date", 17, "§7.1.1"),
            _integer("message_state", "§5.2.28"),
            _integer("error_code", "§4.8.2"),
        ),
        True,
        "§4.8.2",
    ),
    Layout(
        v.CANCEL_SM,
        "cancel_sm",
        (_SERVICE_TYPE, _MESSAGE_ID, *_address("source"), *_address("dest")),
        False,
        "§4.9.1",
    ),
    Layout(v.CANCEL_SM | v.RESPONSE, "cancel_sm_resp", (), False, "§4.9.2"),
    Layout(
        v.REPLACE_SM,
        "replace_sm",
        (
            _MESSAGE_ID,
            *_address("source"),
            _text("schedule_delivery_time", 17, "§5.2.15"),
            _text("validity_period", 17, "§5.2.16"),
            _integer("registered_delivery", "§5.2.17"),
            _integer("sm_default_msg_id", "§5.2.20"),
            SHORT_MESSAGE,
        ),
        True,
        "§4.10.1",
    ),
    Layout(v.REPLACE_SM | v.RESPONSE, "replace_sm_resp", (), False, "§4.10.2"),
    Layout(v.ENQUIRE_LINK, "enquire_link", (), False, "§4.11.1"),
    Layout(v.ENQUIRE_LINK_RESP, "enquire_link_resp", (), False, "§4.11.2"),
    Layout(
        v.ALERT_NOTIFICATION,
        "alert_notification",
        (*_address("source", 65), *_address("esme", 65)),
        True,
        "§4.12.1",
    ),
)

LAYOUTS: Final[dict[int, Layout]] = {layout.command: layout for layout in _ALL}


def beyond_standard(system_id: str, password: str) -> list[str]:
    """What of these credentials is longer than the standard has it, in words."""
    given = ((_SYSTEM_ID, system_id), (_PASSWORD, password))
    return [
        f"{field.name} has {len(text)} characters, and the standard {field.size - 1}"
        for field, text in given
        if len(text) >= field.size
    ]
