"""What a carrier does, found out by trying: binds, sends probes, waits for their receipts.

The probe's text holds characters that each alphabet shows differently, so that whoever holds
the phone can tell what data_coding 0 means there. Each of the usual pairs of TON and NPI is
tried with a message of its own. A check is a session more than the gateway's: a carrier that
counts sessions may refuse it while the gateway is bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from gateway.channels.smpp.binds import bind_configs
from gateway.channels.smpp.check_report import PROBE_TEXT, Probe, Report, dialect
from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.result_codes import submit_result
from gateway.channels.smpp.settings import CarrierSettings
from gateway.content.encoding import Content, encode
from smpp.esme import Bind, BindConfig, RefusalClass
from smpp.pdu import DeliverSm, SmeAddress, SubmitSm, Tlvs
from smpp.receipt import IdForm, Receipt, forms_of, parse_receipt
from smpp.states import BindType
from smpp.vocabulary import ESME_RX_T_APPN, status_name

# The pairs of TON and NPI that carriers ask for, by the setting that they are for.
USUAL: Final = {
    "long_code": ((1, 1), (0, 1), (2, 1), (0, 0)),
    "short_code": ((3, 0), (0, 0), (0, 1), (6, 0)),
    "alphanumeric": ((5, 0), (5, 1), (0, 0), (0, 1)),
}
BIND_PATIENCE_S: Final = 30.0
THROTTLED_WAIT_S: Final = 1.0
THROTTLED_TIMES: Final = 5  # then it is reported as refused
MOST_UNMATCHED: Final = 1000  # receipts that may wait for an answer that they belong to


async def check(
    settings: CarrierSettings, *, sender: str, to: str | None = None, receipt_wait_s: float = 60.0
) -> Report:
    """Bind as the settings say; with `to`, send it the probes and wait for their receipts."""
    return await _Check(settings, sender).run(to, receipt_wait_s)


@dataclass(slots=True)
class _Probe:
    """A probe, as a profile wants a message."""

    recipient: str
    sender_address: str | None
    content: Content | None
    segments: int = 1
    reference: int = 1
    answered: int = 0
    valid_until: float = 0.0
    tlvs: Tlvs = ()
    media: tuple[str, ...] | None = None


class _Arrived(NamedTuple):
    """A receipt that is not answered yet: it may be one of our own."""

    bind: Bind
    delivery: DeliverSm
    receipt: Receipt
    at: float


class _Check:
    """Sends, and is told by the binds what happens (`smpp.esme.BindHandler`)."""

    def __init__(self, settings: CarrierSettings, sender: str) -> None:
        self._profile = Profile.of(settings)
        self._sender = sender
        address = self._profile.source(sender)
        self._report = Report(
            settings.name,
            setting=_setting_of(sender),
            configured=(address.ton, address.npi),
            alphabet=settings.default_alphabet,
        )
        self._binds = [Bind(config, self, rng=Random()) for config in _needed(settings)]
        self._unreached = dict.fromkeys(self._binds, 0)
        for bind in self._binds:
            bind.on_unreachable = lambda reason, wait_s, bind=bind: self._unreachable(bind, reason)
        self._changed = asyncio.Event()
        self._unmatched: list[_Arrived] = []
        self._answered_at: dict[int, float] = {}  # by id() of the probe
        self._outcomes = 0

    async def run(self, to: str | None, receipt_wait_s: float) -> Report:
        report = self._report
        now = asyncio.get_running_loop().time
        runs = [asyncio.create_task(bind.run()) for bind in self._binds]
        try:
            started = now()
            await self._until(lambda: bool(report.trouble) or self._all_bound(), BIND_PATIENCE_S)
            if not self._all_bound():
                report.trouble = report.trouble or "no answer to the bind"
                return report
            out = self._binds[0]
            report.bind_s = now() - started
            report.host = "{}:{}".format(*out.host) if out.host else ""
            report.smsc_system_id = out.smsc_system_id
            if to is not None and out.config.session.bind_type is BindType.RECEIVER:
                report.trouble = "none of its binds can send"
            elif to is not None:
                await self._send_probes(out, to)
                waiting = [probe for probe in report.probes if probe.taken]
                await self._until(
                    lambda: all(probe.receipt is not None for probe in waiting), receipt_wait_s
                )
            return report
        finally:
            # Receipts of the gateway's own messages: whoever takes them must be able to use them.
            for arrived in self._unmatched:
                arrived.bind.answer(arrived.delivery, ESME_RX_T_APPN)
            report.foreign += len(self._unmatched)
            await asyncio.gather(*(bind.close(1.0) for bind in self._binds))
            await asyncio.gather(*runs)

    def _all_bound(self) -> bool:
        return all(bind.bound for bind in self._binds)

    async def _until(self, condition: Callable[[], bool], most_s: float) -> None:
        """Wait for it, `most_s` at most; asked again whenever a bind tells something."""
        try:
            async with asyncio.timeout(most_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    # Out ----------------------------------------------------------------------------------

    async def _send_probes(self, bind: Bind, to: str) -> None:
        for pair in dict.fromkeys((self._report.configured, *USUAL[self._report.setting])):
            submit = self._submit(pair, to)
            probe = Probe(pair, submit.short_message, submit.data_coding)
            self._report.probes.append(probe)
            while True:
                await self._send(bind, submit, probe)
                if probe.status is None or not submit_result(probe.status).retry:
                    break
                probe.throttled += 1
                if probe.throttled == THROTTLED_TIMES:
                    break
                await asyncio.sleep(THROTTLED_WAIT_S)

    async def _send(self, bind: Bind, submit: SubmitSm, probe: Probe) -> None:
        if not bind.bound:
            return
        now = asyncio.get_running_loop().time
        written, before = now(), self._outcomes
        bind.submit(submit, probe)
        patience_s = bind.config.session.response_timeout_s + 1.0
        await self._until(lambda: self._outcomes > before, patience_s)
        probe.answer_s = now() - written

    def _submit(self, pair: tuple[int, int], to: str) -> SubmitSm:
        content = self._profile.fit(encode(PROBE_TEXT))
        [(submit, _)] = self._profile.submits(_Probe(to, self._sender, content), 0.0)
        submit.source = SmeAddress(*pair, submit.source.value)
        submit.validity_period = ""
        return submit

    # In -----------------------------------------------------------------------------------

    def bind_up(self, bind: Bind) -> None:
        self._changed.set()

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        self._outcomes += len(unanswered)
        self._changed.set()

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        self._report.trouble = f"{status_name(status)}: {refusal.value}"
        self._changed.set()

    def _unreachable(self, bind: Bind, reason: str) -> None:
        self._unreached[bind] += 1
        if self._unreached[bind] >= len(bind.config.hosts):
            self._report.trouble = reason
            self._changed.set()

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        assert isinstance(token, Probe)
        token.status, token.message_id = status, message_id
        self._answered_at[id(token)] = asyncio.get_running_loop().time()
        self._outcomes += 1
        self._match()
        self._changed.set()

    def timed_out(self, bind: Bind, token: object) -> None:
        self._outcomes += 1
        self._changed.set()

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        receipt = None
        if delivery.is_receipt:
            receipt = parse_receipt(delivery, self._profile.receipt_pattern)
            if receipt is None:
                self._report.unreadable.append(delivery.payload)
        if receipt is None or len(self._unmatched) >= MOST_UNMATCHED:
            self._report.foreign += 1
            bind.answer(delivery, ESME_RX_T_APPN)  # not for us: the carrier keeps it
            return
        at = asyncio.get_running_loop().time()
        self._unmatched.append(_Arrived(bind, delivery, receipt, at))
        found = dialect(delivery, receipt)
        if found not in self._report.dialects:
            self._report.dialects.append(found)
        self._match()
        self._changed.set()

    def _match(self) -> None:
        """Give each receipt to its probe; one that came before its answer waits for it."""
        probes = {probe.message_id: probe for probe in self._report.probes if probe.taken}
        still = []
        for arrived in self._unmatched:
            found = _spelt(arrived.receipt, probes)
            if found is None:
                still.append(arrived)
                continue
            arrived.bind.answer(arrived.delivery)
            form, probe = found
            if arrived.receipt.state.final or probe.receipt is None:
                probe.receipt, probe.form = arrived.receipt, form
                probe.receipt_s = arrived.at - self._answered_at[id(probe)]
        self._unmatched = still

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        self._report.unreadable.append(data)

    def window_opened(self, bind: Bind) -> None:
        pass


def _spelt(receipt: Receipt, probes: dict[str, Probe]) -> tuple[IdForm, Probe] | None:
    for form, spelling in forms_of(receipt.message_id):
        if spelling in probes:
            return form, probes[spelling]
    return None


def _setting_of(sender: str) -> str:
    if sender.startswith("+"):
        return "long_code"
    return "short_code" if sender.isdigit() else "alphanumeric"


def _needed(settings: CarrierSettings) -> list[BindConfig]:
    """One bind to send with, and one to receive with if that is another; the sender first."""
    by_type: dict[BindType, BindConfig] = {}
    for config in bind_configs(settings):
        by_type.setdefault(config.session.bind_type, config)
    if BindType.TRANSCEIVER in by_type:
        return [by_type[BindType.TRANSCEIVER]]
    order = (BindType.TRANSMITTER, BindType.RECEIVER)
    return [by_type[kind] for kind in order if kind in by_type]
