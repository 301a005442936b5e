"""Every bad thing the simulator can do, done to a bind: it ends right, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from smpp_builders import PATIENCE_S, Recorder, bind_config, running_bind, running_smsc, submit

from smpp.esme import Bind
from smpp.pdu import SubmitSm
from smpp.receipt import normal_forms, parse_receipt
from smpp.smsc import Faults, ScenarioRule, Smsc, parse
from smpp.smsc.scenario import MALFORMED

pytestmark = pytest.mark.slow

NASTY = Path(__file__).parents[3] / "examples" / "scenarios" / "nasty.toml"


class Sender(Recorder):
    """Sends `messages`, each again until it has an answer: what a gateway does."""

    def __init__(self, messages: list[SubmitSm]) -> None:
        super().__init__()
        self.messages = messages
        self.waiting = list(range(len(messages)))
        self.status: dict[int, int] = {}
        self.ids: dict[str, int] = {}
        self.on_open = self._fill

    @property
    def done(self) -> bool:
        return len(self.status) == len(self.messages)

    def _fill(self, bind: Bind) -> None:
        while self.waiting and bind.window_free:
            token = self.waiting.pop()
            bind.submit(self.messages[token], token)

    def answered(self, bind, token, status, message_id, tlvs):
        assert token not in self.status, "answered twice"
        if status in (0x14, 0x58):
            self.waiting.append(token)
        else:
            self.status[token] = status
            self.ids[message_id] = token
        super().answered(bind, token, status, message_id, tlvs)

    def timed_out(self, bind, token):
        self.waiting.append(token)
        super().timed_out(bind, token)

    def bind_down(self, bind, reason, unanswered):
        self.waiting += unanswered
        super().bind_down(bind, reason, unanswered)


def messages(count: int, destination: str = "441632960675") -> list[SubmitSm]:
    return [submit(b"%d" % number, destination=destination) for number in range(count)]


QUICK = {"enquire_interval_s": 0.1, "response_timeout_s": 0.2, "window": 20}


@pytest.mark.parametrize(
    "faults",
    [
        Faults(disconnect_every=37),
        Faults(stall_every=50, stall_s=0.05),
        Faults(half_open_every=60),
        Faults(shuffle_answers=True),
        Faults(duplicate_answer_every=5),
        Faults(one_octet_writes=True),
        Faults(drift_after=100, drift_to="stripped"),
        Faults(
            disconnect_every=41,
            stall_every=30,
            stall_s=0.02,
            shuffle_answers=True,
            duplicate_answer_every=3,
            malformed_every=7,
            malformed=MALFORMED,
        ),
    ],
    ids=["disconnect", "stall", "half-open", "shuffle", "duplicate", "octets", "drift", "all"],
)
async def test_every_message_is_answered_whatever_the_connection_does(faults):
    sender = Sender(messages(200))
    loses = faults.half_open_every or faults.disconnect_every
    patience_s = 1.0 if loses else PATIENCE_S  # an answer that is only late costs nothing
    async with (
        running_smsc(faults=faults) as smsc,
        running_bind(bind_config(smsc.port, **QUICK | {"response_timeout_s": patience_s}), sender),
    ):
        await sender.until(lambda: sender.done)
        assert set(sender.status.values()) == {0}
        taken = {entry.pdu[-3:] for entry in smsc.ledger.entries}
        assert len(taken) >= 200 or faults.disconnect_every


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_peculiar_pdu_is_reported_and_survived(kind):
    sender = Sender(messages(20))
    breaks = kind in ("short_frame", "huge_frame")
    faults = Faults(malformed_every=10, malformed=(kind,))
    async with (
        running_smsc(faults=faults) as smsc,
        running_bind(bind_config(smsc.port, **QUICK), sender) as bind,
    ):
        await sender.until(lambda: sender.done)
        if kind in ("udhi_empty", "vendor_tlv"):  # good messages after all
            await sender.until(
                lambda: any(not delivery.is_receipt for delivery in sender.deliveries)
            )
            assert not sender.malformations
        else:
            await sender.until(lambda: bool(sender.malformations))
            assert sender.malformations[0][0]
            assert sender.malformations[0][1]
        if breaks:
            await sender.until(lambda: sender.ups >= 2)
            assert "command_length" in sender.downs[0][0]
        else:
            assert bind.bound
            assert not sender.downs


async def test_receipts_come_on_another_bind_when_they_are_told_to():
    one, two = Recorder(), Recorder()
    async with (
        running_smsc(ScenarioRule(receipt_on_other_bind=True)) as smsc,
        running_bind(bind_config(smsc.port), one) as bind,
        running_bind(bind_config(smsc.port), two),
    ):
        bind.submit(submit(), 1)
        await two.until(lambda: len(two.deliveries) == 1)
        assert not one.deliveries


async def test_a_receipt_may_come_three_times_after_its_intermediate_state():
    recorder = Recorder()
    async with (
        running_smsc(ScenarioRule(receipt_copies=3, intermediate=True)) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), 1)
        await recorder.until(lambda: len(recorder.deliveries) == 4)
    receipts = [parse_receipt(delivery) for delivery in recorder.deliveries]
    assert [receipt.stat for receipt in receipts] == ["ENROUTE", *["DELIVRD"] * 3]
    assert len({receipt.message_id for receipt in receipts}) == 1


async def test_ids_change_their_spelling_in_the_middle_of_a_run():
    recorder = Recorder()
    async with (
        running_smsc(faults=Faults(drift_after=2, drift_to="decimal")) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        for token in range(4):
            bind.submit(submit(), token)
        await recorder.until(lambda: len(recorder.deliveries) == 4)
    answered = [message_id for _, _, message_id, _ in recorder.answers]
    assert any(message_id.isdigit() is False for message_id in answered)
    receipted = [parse_receipt(delivery).message_id for delivery in recorder.deliveries]
    assert receipted == [str(int(message_id, 16)) for message_id in answered]


async def test_one_bind_too_many_is_refused_as_already_bound():
    one, two = Recorder(), Recorder()
    async with (
        running_smsc(max_binds=1) as smsc,
        running_bind(bind_config(smsc.port), one) as first,
        running_bind(bind_config(smsc.port), two, bound=False),
    ):
        await two.until(lambda: bool(two.refusals))
        assert two.refusals[0][0] == 0x05
        await first.close()
        await two.until(lambda: two.ups == 1)


async def test_a_half_open_session_counts_until_the_carriers_inactivity_timer_ends():
    recorder = Recorder()
    async with (
        running_smsc(max_binds=1, inactivity_s=0.5) as smsc,
        running_bind(bind_config(smsc.port, **QUICK), recorder) as bind,
    ):
        smsc.connections[0].go_deaf()
        await recorder.until(lambda: recorder.ups == 2)
        assert recorder.downs
        assert {status for status, _, _ in recorder.refusals} == {0x05}
        assert bind.backoff.learned_s > 0


async def test_two_carriers_in_one_process_do_not_share_binds_or_receipts():
    scenario = parse(
        '[[carrier]]\nname = "a"\nsystem_id = "a"\nids = "decimal"\n'
        '[[carrier]]\nname = "b"\nsystem_id = "b"\nids = "uuid"\n'
    )
    smsc = Smsc(scenario, seed=1)
    await smsc.start()
    one, two = Recorder(), Recorder()
    try:
        async with (
            running_bind(bind_config(smsc.ports["a"], system_id="a"), one) as a,
            running_bind(bind_config(smsc.ports["b"], system_id="b"), two) as b,
        ):
            a.submit(submit(), 1)
            b.submit(submit(), 2)
            await one.until(lambda: len(one.deliveries) == 1)
            await two.until(lambda: len(two.deliveries) == 1)
            smsc.carrier("a").mobile_originated("+447700900123", "+15550001111", "hi")
            await one.until(lambda: len(one.deliveries) == 2)
            assert len(two.deliveries) == 1
    finally:
        await smsc.stop()
    assert one.answers[0][2].isdigit()
    assert len(two.answers[0][2]) == 36


async def test_nasty_ends_with_both_sides_agreeing():
    prefixes = [f"4477009000{digit}1" for digit in range(10)] + ["447811111111", "441632960675"]
    wanted = [
        submit(b"%d" % number, destination=prefixes[number % len(prefixes)])
        for number in range(1200)
    ]
    smsc = Smsc(parse(NASTY.read_text()), seed=7)
    await smsc.start()
    sender = Sender(wanted)
    config = bind_config(smsc.port, window=50, response_timeout_s=1.0, enquire_interval_s=0.5)

    def ours() -> dict[str, str]:
        """Final stat by the id of the response, as we understood the receipts."""
        found = {}
        for delivery in sender.deliveries:
            receipt = parse_receipt(delivery) if delivery.is_receipt else None
            if receipt is not None and receipt.state.final:
                for spelling in normal_forms(receipt.message_id):
                    if spelling in sender.ids:
                        found[spelling] = receipt.stat
        return found

    accepted = 0
    try:
        async with running_bind(config, sender):
            await sender.until(lambda: sender.done)
            accepted = sum(1 for status in sender.status.values() if not status)
            await sender.until(lambda: len(ours()) == accepted)
    finally:
        await smsc.stop()
    theirs = {entry.carrier_id: entry.outcome for entry in smsc.ledger.entries if entry.carrier_id}
    assert {message_id: theirs[message_id] for message_id in ours()} == ours()
    assert {status for status in sender.status.values() if status} == {0x0B, 0x0459}
    assert smsc.counters.disconnects
    assert smsc.counters.malformed_sent
    assert smsc.counters.throttled or smsc.counters.refused
