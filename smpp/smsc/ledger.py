"""What the simulator took: every submit_sm, as it came, and what became of it.

Kept as it arrived (one tuple with the PDU in it) and read only when somebody
asks: the simulator must not be what slows a test down.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from smpp import codec
from smpp import vocabulary as v
from smpp.alphabet import decode_text
from smpp.concat import split_header


class LedgerEntry(NamedTuple):
    """One submit_sm."""

    time: float
    bind: str
    carrier: str
    carrier_id: str
    pdu: bytes
    # The receipt's stat, NO_RECEIPT, or the status of a refusal.
    outcome: str


@dataclass(slots=True)
class InjectedMessage:
    """One message that a subscriber sent, and when the ESME had taken all of it."""

    time: float
    carrier: str
    source: str
    destination: str
    text: str
    open_parts: int
    answered: float | None = None

    def rendered(self) -> dict[str, Any]:
        """For people and programs."""
        shown = asdict(self)
        del shown["open_parts"]
        return shown


@dataclass(slots=True)
class Counters:
    """Running totals, since the start."""

    connections: int = 0
    binds: int = 0
    binds_refused: int = 0
    submits: int = 0
    refused: int = 0
    throttled: int = 0
    receipts: int = 0
    mobile_originated: int = 0
    # deliver_sm written: receipts and messages, repeated ones too.
    deliveries: int = 0
    deliveries_answered: int = 0
    deliveries_refused: int = 0
    deliveries_repeated: int = 0
    deliveries_dropped: int = 0
    disconnects: int = 0
    malformed_sent: int = 0
    malformed_received: int = 0
    enquire_links: int = 0


class Ledger:
    """The last `limit` submits, and as many messages of subscribers."""

    def __init__(self, limit: int) -> None:
        self.entries: deque[LedgerEntry] = deque(maxlen=limit)
        self.inbound: deque[InjectedMessage] = deque(maxlen=limit)
        self.counters = Counters()

    def lines(self, destination: str = "") -> Iterator[bytes]:
        """One JSON object per entry, each with its newline; of one destination if given.

        The entries are those of the moment of the call; they are rendered as
        they are asked for.
        """
        wanted = destination.lstrip("+").encode("latin-1", "replace")
        for entry in list(self.entries):
            if wanted and wanted not in entry.pdu:  # cheap: most are sorted out here
                continue
            row = render(entry)
            if not wanted or row["destination"].lstrip("+") == destination.lstrip("+"):
                yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def render(entry: LedgerEntry) -> dict[str, Any]:
    """An entry for people and programs."""
    message = codec.decode_submit(entry.pdu)
    part, octets, _ = split_header(message)
    return {
        "time": entry.time,
        "carrier": entry.carrier,
        "bind": entry.bind,
        "carrier_id": entry.carrier_id,
        "source": message.source.value,
        "source_ton": message.source.ton,
        "source_npi": message.source.npi,
        "destination": message.destination.value,
        "segment": part.number if part else 1,
        "total": part.total if part else 1,
        "reference": part.reference if part else None,
        "text": decode_text(message.data_coding, octets),
        "outcome": entry.outcome,
        "data_coding": message.data_coding,
        "esm_class": message.esm_class,
        "registered_delivery": message.registered_delivery,
        "validity_period": message.validity_period,
        "tlvs": {v.tlv_name(tag): value.hex() for tag, value in message.tlvs},
    }
