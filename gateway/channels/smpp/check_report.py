"""What a carrier test found, as values and as the table that people read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.channels.smpp.profile import ID_FORMS
from smpp.alphabet import decode_text
from smpp.pdu import DeliverSm, tlv
from smpp.receipt import IdForm, Receipt
from smpp.vocabulary import (
    ESM_INTERMEDIATE,
    ESM_RECEIPT,
    ESM_TYPE_MASK,
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
    status_name,
)

CANARY: Final = "@£$_¥è{~"  # eight characters that no two alphabets show alike
PROBE_TEXT: Final = f"Tandem test {CANARY}"
ALPHABETS: Final = ("gsm7", "packed", "latin1", "ascii", "utf8")
FORM_SETTINGS: Final = {form: name for name, form in ID_FORMS.items()}


@dataclass(slots=True)
class Probe:
    """One message sent: what the carrier said to it, and of it."""

    pair: tuple[int, int]  # TON and NPI of the sender
    octets: bytes
    data_coding: int
    status: int | None = None  # None: no answer
    message_id: str = ""
    answer_s: float = 0.0
    throttled: int = 0
    receipt: Receipt | None = None
    receipt_s: float = 0.0  # after the answer; negative: before it
    form: IdForm | None = None

    @property
    def taken(self) -> bool:
        return self.status == 0


@dataclass(slots=True)
class Report:
    """Everything that was found out."""

    carrier: str
    # Which address setting the probes' sender falls under: long_code and so on.
    setting: str
    configured: tuple[int, int]
    alphabet: str
    host: str = ""
    smsc_system_id: str = ""
    bind_s: float = 0.0
    # Why there is no bind; empty when there is one.
    trouble: str = ""
    to: str | None = None
    probes: list[Probe] = field(default_factory=list)
    dialects: list[str] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    # Deliveries that belong to no probe.
    foreign: int = 0

    @property
    def good(self) -> bool:
        return not self.trouble and (not self.probes or any(probe.taken for probe in self.probes))

    def settings(self) -> dict[str, str]:
        """The settings to use, as a file says them; what was not found out is left out."""
        found: dict[str, str] = {}
        taken = [probe.pair for probe in self.probes if probe.taken]
        if taken:
            ton, npi = self.configured if self.configured in taken else taken[0]
            found[self.setting] = f"{{ ton = {ton}, npi = {npi} }}"
        forms = {probe.form for probe in self.probes if probe.form is not None}
        if len(forms) == 1:
            found["receipt_id_form"] = f'"{FORM_SETTINGS[forms.pop()]}"'
        return found

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"carrier {self.carrier}"
        yield ""
        if self.trouble:
            yield f"  bind       refused or failed: {self.trouble}"
            return
        peer = f" ({self.smsc_system_id})" if self.smsc_system_id else ""
        yield f"  bind       up on {self.host}{peer} in {self.bind_s * 1000:.0f} ms"
        if not self.probes:
            yield "  messages   none sent: name a phone with --to +… to test more"
            return
        yield ""
        yield from _table(
            ("TON/NPI", "answer", "after", "id in the answer", "id in the receipt", "form", "says"),
            [self._row(probe) for probe in self.probes],
        )
        yield ""
        yield f"  throttling {self._throttling()}"
        yield f"  receipts   {self._receipts()}"
        for octets in self.unreadable:
            yield f"             not understood: {octets[:120]!r}"
        yield from self._alphabets()
        found = self.settings()
        if found:
            yield ""
            yield "settings to use:"
            yield ""
            for name, value in found.items():
                yield f"  {name} = {value}"

    def _row(self, probe: Probe) -> tuple[str, ...]:
        answer = "none" if probe.status is None else status_name(probe.status)
        receipt = probe.receipt
        return (
            "{}/{}".format(*probe.pair) + (" *" if probe.pair == self.configured else ""),
            answer,
            f"{probe.answer_s * 1000:.0f} ms",
            probe.message_id or "-",
            receipt.message_id if receipt else "-",
            probe.form.value if probe.form else "-",
            f"{receipt.stat} {receipt.error} after {probe.receipt_s:.1f} s" if receipt else "-",
        )

    def _throttling(self) -> str:
        times = sum(probe.throttled for probe in self.probes)
        return f"{times} refusals for congestion" if times else "none seen"

    def _receipts(self) -> str:
        missing = sum(probe.taken and probe.receipt is None for probe in self.probes)
        said = "; ".join(self.dialects) or "none came"
        if self.foreign:
            said += f"; {self.foreign} of no probe"
        return f"{said}; {missing} missing" if missing and self.dialects else said

    def _alphabets(self) -> Iterator[str]:
        """What a phone shows by what data_coding 0 means at the carrier."""
        taken = next((probe for probe in self.probes if probe.taken), None)
        if taken is None or taken.data_coding != 0:
            return
        yield f"  alphabet   sent as {self.alphabet}; look at the phone. If it shows"
        shown: dict[str, list[str]] = {}
        for alphabet in ALPHABETS:
            text = decode_text(0, taken.octets, alphabet)
            shown.setdefault("".join(filter(str.isprintable, text)), []).append(alphabet)
        for text, alphabets in shown.items():
            meaning = " or ".join(alphabets)
            yield f"               {text!r}: data_coding 0 means {meaning} there"


def dialect(delivery: DeliverSm, receipt: Receipt) -> str:
    """In a few words, how a carrier writes receipts."""
    words = []
    if tlv(delivery.tlvs, RECEIPTED_MESSAGE_ID) or tlv(delivery.tlvs, MESSAGE_STATE):
        words.append("TLVs")
    if delivery.payload:
        words.append("text")
    how = [" and ".join(words) or "empty"]
    kind = delivery.esm_class & ESM_TYPE_MASK
    if kind not in (ESM_RECEIPT, ESM_INTERMEDIATE):
        how.append("not marked in esm_class")
    if receipt.done_date:
        how.append(f"dates of {len(receipt.done_date)} digits")
    if receipt.error:
        how.append(f"err of {len(receipt.error)} characters")
    if delivery.data_coding:
        how.append(f"data_coding {delivery.data_coding}")
    return ", ".join(how)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()
