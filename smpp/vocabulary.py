"""The words of SMPP: commands, statuses, address types, TLV tags, message states.

Names and numbers are aiosmpplib's, as plain integers, completed by what it
leaves out (SMPP 5.0 and what carriers send in practice). Plain integers,
because a carrier may send any number: an unknown one is named by its value and
carried through, never raised.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from aiosmpplib import state as _aio

# Commands, SMPP 3.4 §5.1.2.1 -------------------------------------------------

# The bit that makes a command the response to its request.
RESPONSE: Final = 0x80000000

GENERIC_NACK: Final = int(_aio.SmppCommand.GENERIC_NACK)
BIND_RECEIVER: Final = int(_aio.SmppCommand.BIND_RECEIVER)
BIND_TRANSMITTER: Final = int(_aio.SmppCommand.BIND_TRANSMITTER)
BIND_TRANSCEIVER: Final = int(_aio.SmppCommand.BIND_TRANSCEIVER)
QUERY_SM: Final = int(_aio.SmppCommand.QUERY_SM)
SUBMIT_SM: Final = int(_aio.SmppCommand.SUBMIT_SM)
SUBMIT_SM_RESP: Final = int(_aio.SmppCommand.SUBMIT_SM_RESP)
DELIVER_SM: Final = int(_aio.SmppCommand.DELIVER_SM)
DELIVER_SM_RESP: Final = int(_aio.SmppCommand.DELIVER_SM_RESP)
UNBIND: Final = int(_aio.SmppCommand.UNBIND)
UNBIND_RESP: Final = int(_aio.SmppCommand.UNBIND_RESP)
REPLACE_SM: Final = int(_aio.SmppCommand.REPLACE_SM)
CANCEL_SM: Final = int(_aio.SmppCommand.CANCEL_SM)
OUTBIND: Final = int(_aio.SmppCommand.OUTBIND)
ENQUIRE_LINK: Final = int(_aio.SmppCommand.ENQUIRE_LINK)
ENQUIRE_LINK_RESP: Final = int(_aio.SmppCommand.ENQUIRE_LINK_RESP)
SUBMIT_MULTI: Final = int(_aio.SmppCommand.SUBMIT_MULTI)
ALERT_NOTIFICATION: Final = int(_aio.SmppCommand.ALERT_NOTIFICATION)
DATA_SM: Final = int(_aio.SmppCommand.DATA_SM)
DATA_SM_RESP: Final = int(_aio.SmppCommand.DATA_SM_RESP)

BINDS: Final = frozenset({BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER})

COMMAND_NAMES: Final[dict[int, str]] = {
    **{int(command): command.name.lower() for command in _aio.SmppCommand},
    # SMPP 5.0 §4.8.
    0x00000111: "broadcast_sm",
    0x80000111: "broadcast_sm_resp",
    0x00000112: "query_broadcast_sm",
    0x80000112: "query_broadcast_sm_resp",
    0x00000113: "cancel_broadcast_sm",
    0x80000113: "cancel_broadcast_sm_resp",
}

# Statuses, SMPP 3.4 §5.1.3 ---------------------------------------------------

ESME_ROK: Final = int(_aio.SmppCommandStatus.ESME_ROK)
ESME_RINVMSGLEN: Final = int(_aio.SmppCommandStatus.ESME_RINVMSGLEN)
ESME_RINVCMDLEN: Final = int(_aio.SmppCommandStatus.ESME_RINVCMDLEN)
ESME_RINVCMDID: Final = int(_aio.SmppCommandStatus.ESME_RINVCMDID)
ESME_RINVBNDSTS: Final = int(_aio.SmppCommandStatus.ESME_RINVBNDSTS)
ESME_RALYBND: Final = int(_aio.SmppCommandStatus.ESME_RALYBND)
ESME_RSYSERR: Final = int(_aio.SmppCommandStatus.ESME_RSYSERR)
ESME_RINVMSGID: Final = int(_aio.SmppCommandStatus.ESME_RINVMSGID)
ESME_RBINDFAIL: Final = int(_aio.SmppCommandStatus.ESME_RBINDFAIL)
ESME_RINVPASWD: Final = int(_aio.SmppCommandStatus.ESME_RINVPASWD)
ESME_RINVSYSID: Final = int(_aio.SmppCommandStatus.ESME_RINVSYSID)
ESME_RCANCELFAIL: Final = int(_aio.SmppCommandStatus.ESME_RCANCELFAIL)
ESME_RREPLACEFAIL: Final = int(_aio.SmppCommandStatus.ESME_RREPLACEFAIL)
ESME_RMSGQFUL: Final = int(_aio.SmppCommandStatus.ESME_RMSGQFUL)
ESME_RINVSERTYP: Final = int(_aio.SmppCommandStatus.ESME_RINVSERTYP)
ESME_RINVSYSTYP: Final = int(_aio.SmppCommandStatus.ESME_RINVSYSTYP)
ESME_RTHROTTLED: Final = int(_aio.SmppCommandStatus.ESME_RTHROTTLED)
ESME_RX_T_APPN: Final = int(_aio.SmppCommandStatus.ESME_RX_T_APPN)
ESME_RX_P_APPN: Final = int(_aio.SmppCommandStatus.ESME_RX_P_APPN)
ESME_RX_R_APPN: Final = int(_aio.SmppCommandStatus.ESME_RX_R_APPN)
ESME_RQUERYFAIL: Final = int(_aio.SmppCommandStatus.ESME_RQUERYFAIL)
ESME_RINVOPTPARSTREAM: Final = int(_aio.SmppCommandStatus.ESME_RINVOPTPARSTREAM)
ESME_RUNKNOWNERR: Final = int(_aio.SmppCommandStatus.ESME_RUNKNOWNERR)

STATUS_NAMES: Final[dict[int, str]] = {
    **{int(status): status.name for status in _aio.SmppCommandStatus},
    # SMPP 5.0 §4.7.6, the ones 3.4 does not have.
    0x00000100: "ESME_RSERTYPUNAUTH",
    0x00000101: "ESME_RPROHIBITED",
    0x00000102: "ESME_RSERTYPUNAVAIL",
    0x00000103: "ESME_RSERTYPDENIED",
    0x00000104: "ESME_RINVDCS",
    0x00000105: "ESME_RINVSRCADDRSUBUNIT",
    0x00000106: "ESME_RINVDSTADDRSUBUNIT",
    0x00000107: "ESME_RINVBCASTFREQINT",
    0x00000108: "ESME_RINVBCASTALIAS_NAME",
    0x00000109: "ESME_RINVBCASTAREAFMT",
    0x0000010A: "ESME_RINVNUMBCAST_AREAS",
    0x0000010B: "ESME_RINVBCASTCNTTYPE",
    0x0000010C: "ESME_RINVBCASTMSGCLASS",
    0x0000010D: "ESME_RBCASTFAIL",
    0x0000010E: "ESME_RBCASTQUERYFAIL",
    0x0000010F: "ESME_RBCASTCANCELFAIL",
    0x00000110: "ESME_RINVBCAST_REP",
    0x00000111: "ESME_RINVBCASTSRVGRP",
    0x00000112: "ESME_RINVBCASTCHANIND",
}

# Address types, SMPP 3.4 §5.2.5, §5.2.6 --------------------------------------

TON_UNKNOWN: Final = int(_aio.TON.UNKNOWN)
TON_INTERNATIONAL: Final = int(_aio.TON.INTERNATIONAL)
TON_NATIONAL: Final = int(_aio.TON.NATIONAL)
TON_NETWORK_SPECIFIC: Final = int(_aio.TON.NETWORK_SPECIFIC)
TON_ALPHANUMERIC: Final = int(_aio.TON.ALPHANUMERIC)
TON_ABBREVIATED: Final = int(_aio.TON.ABBREVIATED)
NPI_UNKNOWN: Final = int(_aio.NPI.UNKNOWN)
NPI_ISDN: Final = int(_aio.NPI.ISDN)

TON_NAMES: Final[dict[int, str]] = {int(ton): ton.name.lower() for ton in _aio.TON}
NPI_NAMES: Final[dict[int, str]] = {int(npi): npi.name.lower() for npi in _aio.NPI}

# esm_class, SMPP 3.4 §5.2.12 -------------------------------------------------

ESM_TYPE_MASK: Final = 0x3C
ESM_RECEIPT: Final = 0x04
ESM_INTERMEDIATE: Final = 0x20
ESM_UDHI: Final = 0x40


class DataCoding(IntEnum):
    """data_coding values with a fixed meaning, SMPP 3.4 §5.2.19."""

    DEFAULT = 0x00
    ASCII = 0x01
    OCTETS = 0x02
    LATIN1 = 0x03
    OCTETS_8BIT = 0x04
    JIS = 0x05
    CYRILLIC = 0x06
    HEBREW = 0x07
    UCS2 = 0x08


class Registered(IntFlag):
    """registered_delivery, SMPP 3.4 §5.2.17. Two bits are one choice: 0, 1 or 2."""

    NONE = 0x00
    RECEIPT = 0x01
    RECEIPT_ON_FAILURE = 0x02
    INTERMEDIATE = 0x10


class MessageState(IntEnum):
    """message_state, SMPP 3.4 §5.2.28, and 5.0's two additions."""

    SCHEDULED = 0
    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8
    SKIPPED = 9

    @property
    def final(self) -> bool:
        """Whether nothing more will be heard of the message."""
        return self not in _PASSING

    @property
    def stat(self) -> str:
        """The seven letters a text receipt uses for it (SMPP 3.4 appendix B)."""
        return STATS[self]


_PASSING = frozenset({MessageState.SCHEDULED, MessageState.ENROUTE, MessageState.ACCEPTED})

STATS: Final[dict[MessageState, str]] = {
    MessageState.SCHEDULED: "SCHEDLD",
    MessageState.ENROUTE: "ENROUTE",
    MessageState.DELIVERED: "DELIVRD",
    MessageState.EXPIRED: "EXPIRED",
    MessageState.DELETED: "DELETED",
    MessageState.UNDELIVERABLE: "UNDELIV",
    MessageState.ACCEPTED: "ACCEPTD",
    MessageState.UNKNOWN: "UNKNOWN",
    MessageState.REJECTED: "REJECTD",
    MessageState.SKIPPED: "SKIPPED",
}

# TLV tags, SMPP 3.4 §5.3.2 ---------------------------------------------------

RECEIPTED_MESSAGE_ID: Final[int] = _aio.RECEIPTED_MESSAGE_ID
USER_MESSAGE_REFERENCE: Final[int] = _aio.USER_MESSAGE_REFERENCE
SAR_MSG_REF_NUM: Final[int] = _aio.SAR_MSG_REF_NUM
SAR_TOTAL_SEGMENTS: Final[int] = _aio.SAR_TOTAL_SEGMENTS
SAR_SEGMENT_SEQNUM: Final[int] = _aio.SAR_SEGMENT_SEQNUM
SC_INTERFACE_VERSION: Final[int] = _aio.SC_INTERFACE_VERSION
NETWORK_ERROR_CODE: Final[int] = _aio.NETWORK_ERROR_CODE
MESSAGE_PAYLOAD: Final[int] = _aio.MESSAGE_PAYLOAD
MESSAGE_STATE: Final[int] = _aio.MESSAGE_STATE

TLV_NAMES: Final[dict[int, str]] = {
    **{
        value: name.lower()
        for name, value in vars(_aio).items()
        if name.isupper() and type(value) is int and not name.startswith("DLR_")
    },
    # SMPP 5.0 §4.8.4.
    0x0428: "congestion_state",
    0x0600: "broadcast_channel_indicator",
    0x0601: "broadcast_content_type",
    0x0602: "broadcast_content_type_info",
    0x0603: "broadcast_message_class",
    0x0604: "broadcast_rep_num",
    0x0605: "broadcast_frequency_interval",
    0x0606: "broadcast_area_identifier",
    0x0607: "broadcast_error_status",
    0x0608: "broadcast_area_success",
    0x0609: "broadcast_end_time",
    0x060A: "broadcast_service_group",
    0x060B: "billing_identification",
    0x060D: "source_network_id",
    0x060E: "dest_network_id",
    0x060F: "source_node_id",
    0x0610: "dest_node_id",
    0x0611: "dest_addr_np_resolution",
    0x0612: "dest_addr_np_information",
    0x0613: "dest_addr_np_country",
}
# Tags left to SMSC vendors, SMPP 3.4 §5.3.1.
VENDOR_TLVS: Final = range(0x1400, 0x4000)


def command_name(command: int) -> str:
    """Name of a command, or its number for one nobody has defined."""
    return COMMAND_NAMES.get(command) or f"0x{command:08x}"


def status_name(status: int) -> str:
    """Name of a command_status, or its number: carriers have their own."""
    return STATUS_NAMES.get(status) or f"0x{status:08x}"


def tlv_name(tag: int) -> str:
    """Name of a TLV tag, or its number: vendors have their own."""
    return TLV_NAMES.get(tag) or f"0x{tag:04x}"
