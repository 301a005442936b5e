"""A bind against the simulator, over real sockets."""

from __future__ import annotations

import asyncio

import pytest
from smpp_builders import (
    Recorder,
    bind_config,
    running_bind,
    running_smsc,
    submit,
)
from testing import WAIT_S

from smpp.esme import Bind, BindConfig, NotBound, RefusalClass, WindowFull
from smpp.esme_session import EsmeConfig
from smpp.framing import pieces
from smpp.pdu import Pdu
from smpp.receipt import parse_receipt
from smpp.smsc import CarrierScenario, Faults, Scenario, ScenarioRule, Smsc
from smpp.states import BindType
from smpp.vocabulary import CANCEL_SM, QUERY_SM


async def test_a_message_is_answered_with_an_id_and_receipted_with_the_same():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), "token")
        await recorder.until(lambda: bool(recorder.deliveries))
        assert smsc.counters.submits == 1
    [(token, status, message_id, _)] = recorder.answers
    assert (token, status) == ("token", 0)
    receipt = parse_receipt(recorder.deliveries[0])
    assert receipt is not None
    assert (receipt.message_id, receipt.stat) == (message_id, "DELIVRD")


async def test_a_thousand_messages_pass_through_a_window_of_ten_in_order():
    recorder = Recorder()
    sent = 0

    def fill(bind: Bind) -> None:
        nonlocal sent
        while sent < 1000 and bind.window_free:
            bind.submit(submit(), sent)
            sent += 1

    recorder.on_open = fill
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port, window=10), recorder),
    ):
        await recorder.until(lambda: len(recorder.answers) == 1000)
    assert [token for token, _, _, _ in recorder.answers] == list(range(1000))
    assert len({message_id for _, _, message_id, _ in recorder.answers}) == 1000


async def test_the_window_is_refused_beyond_its_size():
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port, window=2), Recorder()) as bind,
    ):
        bind.submit(submit(), 1)
        bind.submit(submit(), 2)
        assert bind.window_free == 0
        with pytest.raises(WindowFull):
            bind.submit(submit(), 3)


async def test_an_unbound_bind_takes_nothing():
    async with running_smsc(bind_status=8) as smsc:
        recorder = Recorder()
        async with running_bind(bind_config(smsc.port), recorder, bound=False) as bind:
            assert bind.window_free == 0
            with pytest.raises(NotBound):
                bind.submit(submit(), 1)


async def test_a_receiver_has_no_window_and_gets_what_a_transmitter_is_owed():
    sender, receiver = Recorder(), Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port, bind_type=BindType.RECEIVER), receiver) as listening,
        running_bind(bind_config(smsc.port, bind_type=BindType.TRANSMITTER), sender) as bind,
    ):
        assert listening.window_free == 0
        bind.submit(submit(), 1)
        await receiver.until(lambda: bool(receiver.deliveries))
        assert not sender.deliveries


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (0x0E, RefusalClass.CREDENTIALS),
        (0x05, RefusalClass.ALREADY_BOUND),
        (0x08, RefusalClass.SYSTEM),
        (0x53, RefusalClass.CONFIGURATION),
        (0x04AA, RefusalClass.OTHER),
    ],
)
async def test_a_refused_bind_is_told_with_its_class_and_tried_again(status, refusal):
    recorder = Recorder()
    async with (
        running_smsc(bind_status=status) as smsc,
        running_bind(bind_config(smsc.port), recorder, bound=False),
    ):
        await recorder.until(lambda: len(recorder.refusals) >= 2)
        smsc.carrier().configure(type(smsc.carrier().scenario)())
        await recorder.until(lambda: recorder.ups == 1)
    assert recorder.refusals[0][:2] == (status, refusal)
    assert recorder.refusals[0][2] > 0


async def test_a_wrong_password_is_a_matter_of_credentials():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port, password="wrong"), recorder, bound=False),
    ):
        await recorder.until(lambda: bool(recorder.refusals))
    assert recorder.refusals[0][1] is RefusalClass.CREDENTIALS


async def test_a_lost_connection_reports_what_was_unanswered_and_comes_back():
    recorder = Recorder()
    async with (
        running_smsc(ScenarioRule(answer=False)) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        for token in range(5):
            bind.submit(submit(), token)
        await recorder.until(lambda: len(recorder.deliveries) == 5)  # receipts: all were taken
        smsc.connections[0].disconnect()
        await recorder.until(lambda: recorder.ups == 2)
        assert recorder.downs[0][1] == [0, 1, 2, 3, 4]
        assert len(smsc.connections) == 1


async def test_an_unanswered_message_times_out_and_its_late_answer_is_still_told():
    recorder = Recorder()
    late: list[tuple[object, int, str]] = []
    async with (
        running_smsc(ScenarioRule(answer_after_s=0.3, stat="none")) as smsc,
        running_bind(bind_config(smsc.port, response_timeout_s=0.1), recorder) as bind,
    ):
        told = asyncio.Event()

        def remember(token: object, status: int, message_id: str, tlvs: object) -> None:
            late.append((token, status, message_id))
            told.set()

        bind.on_late_answer = remember
        bind.submit(submit(), "slow")
        await recorder.until(lambda: recorder.timeouts == ["slow"])
        assert bind.window_free == bind.config.session.window
        async with asyncio.timeout(WAIT_S):
            await told.wait()
    assert late[0][:2] == ("slow", 0)
    assert late[0][2]
    assert not recorder.answers


async def test_a_half_open_connection_is_noticed_by_enquire_link():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(
            bind_config(smsc.port, enquire_interval_s=0.05, response_timeout_s=0.1), recorder
        ),
    ):
        smsc.connections[0].go_deaf()
        await recorder.until(lambda: recorder.ups == 2)
    assert "no sign of life" in recorder.downs[0][0]


async def test_enquire_link_keeps_an_idle_session():
    recorder = Recorder()
    enough = asyncio.Event()
    answers = 0

    def count(direction: str, octets: bytes) -> None:
        nonlocal answers
        commands = [octets[start + 4 : start + 8] for start, _ in pieces(octets)]
        if direction == "in":
            answers += commands.count(b"\x80\0\0\x15")
            if answers >= 3:
                enough.set()

    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port, enquire_interval_s=0.02), recorder, tap=count) as bind,
    ):
        async with asyncio.timeout(WAIT_S):
            await enough.wait()
        assert bind.bound
        assert smsc.counters.enquire_links == 3


async def test_an_unbind_by_the_smsc_is_answered_and_bound_again():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder),
    ):
        smsc.connections[0].unbind()
        await recorder.until(lambda: recorder.ups == 2)
    assert recorder.downs[0][0] == "unbound by the SMSC"


async def test_closing_waits_for_the_answers_that_are_due_and_unbinds():
    recorder = Recorder()
    async with running_smsc(ScenarioRule(answer_after_s=0.1, stat="none")) as smsc:
        async with running_bind(bind_config(smsc.port), recorder) as bind:
            bind.submit(submit(), 1)
            await bind.close(5.0)
            assert recorder.answers[0][0] == 1
            assert recorder.downs == [("unbound", [])]
        assert not smsc.connections


async def test_closing_does_not_wait_for_ever_and_names_what_is_unanswered():
    recorder = Recorder()
    async with (
        running_smsc(ScenarioRule(answer=False, stat="none")) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), "lost")
        await bind.close(0.05)
        assert recorder.downs == [("unbound", ["lost"])]


async def test_closing_does_not_wait_for_answers_from_a_connection_that_is_gone():
    recorder = Recorder()
    async with (
        running_smsc(ScenarioRule(answer=False, stat="none")) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), "lost")
        closing = asyncio.create_task(bind.close(60.0))
        await asyncio.sleep(0)  # it waits now
        smsc.connections[0].disconnect()
        async with asyncio.timeout(WAIT_S):
            await closing
        assert recorder.downs[0][1] == ["lost"]


async def test_the_next_host_is_tried_when_one_does_not_answer():
    recorder = Recorder()
    async with running_smsc() as smsc, running_smsc() as gone:
        dead = gone.port
        await gone.stop()
        async with running_bind(bind_config(dead, smsc.port), recorder) as bind:
            assert bind.host == ("127.0.0.1", smsc.port)


async def test_the_carrier_never_sees_two_connections_of_one_bind():
    recorder = Recorder()
    most = 0
    async with running_smsc(max_binds=1, faults=Faults(disconnect_every=3)) as smsc:
        sent = 0

        def fill(bind: Bind) -> None:
            nonlocal sent, most
            most = max(most, len(smsc.connections))
            while bind.window_free and sent < 30:
                bind.submit(submit(), sent)
                sent += 1

        recorder.on_open = fill
        async with running_bind(bind_config(smsc.port, window=5), recorder):
            await recorder.until(lambda: recorder.ups >= 4)
    assert most == 1


async def test_a_delivery_is_answered_once_and_only_on_its_own_connection():
    recorder = Recorder(answers_deliveries=False)
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hi")
        await recorder.until(lambda: len(recorder.deliveries) == 1)
        smsc.connections[0].disconnect()
        await recorder.until(lambda: len(recorder.deliveries) == 2)  # sent again: no answer came
        first, second = recorder.deliveries
        assert bind.answer(first) is False
        assert bind.answer(second) is True
        assert bind.answer(second) is False
        assert second.payload == b"hi"


async def test_other_requests_have_their_answers_too():
    recorder = Recorder()
    async with (
        running_smsc(ScenarioRule(receipt_after_s=5)) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.answers))
        message_id = recorder.answers[0][2]
        answer = await bind.request(Pdu(QUERY_SM, fields={"message_id": message_id}))
        assert answer.number("message_state") == 2
        answer = await bind.request(Pdu(CANCEL_SM, fields={"message_id": "unknown"}))
        assert answer.status == 0x11


async def test_a_tap_sees_every_pdu_both_ways():
    seen: list[str] = []
    recorder = Recorder()
    async with running_smsc() as smsc:
        bind = Bind(bind_config(smsc.port), recorder)
        bind.on_pdu = lambda direction, octets: seen.extend(
            f"{direction} {octets[start + 7]}" for start, _ in pieces(octets)
        )
        task = asyncio.create_task(bind.run())
        await recorder.until(lambda: bind.bound)
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.deliveries))
        await bind.close()
        await task
    assert seen == ["out 9", "in 9", "out 4", "in 4", "in 5", "out 5", "out 6", "in 6"]


async def test_a_cancelled_run_leaves_no_socket():
    recorder = Recorder()
    async with running_smsc() as smsc:
        bind = Bind(bind_config(smsc.port), recorder)
        task = asyncio.create_task(bind.run())
        await recorder.until(lambda: bind.bound)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not bind.bound
        assert recorder.downs == [("cancelled", [])]


async def test_an_error_in_the_handler_costs_one_event_and_is_loud():
    class Clumsy(Recorder):
        def answered(self, bind, token, status, message_id, tlvs):
            if token == 1:
                raise RuntimeError("clumsy")
            super().answered(bind, token, status, message_id, tlvs)

    recorder = Clumsy()
    loud: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: loud.append(context["message"]))
    try:
        async with (
            running_smsc() as smsc,
            running_bind(bind_config(smsc.port), recorder) as bind,
        ):
            bind.submit(submit(), 1)
            bind.submit(submit(), 2)
            await recorder.until(lambda: len(recorder.answers) == 1)
            assert bind.bound
    finally:
        loop.set_exception_handler(None)
    assert loud == ["bind test: Answered"]


@pytest.mark.parametrize(("system_id", "password"), [(15, 8), (16, 9), (64, 64), (10, 63)])
async def test_long_credentials_bind(
    system_id: int, password: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Field reports have passwords of ten to a hundred characters."""
    name, secret = "s" * system_id, "p" * password
    smsc = Smsc(Scenario((CarrierScenario(system_id=name, password=secret),)), seed=1)
    await smsc.start()
    recorder = Recorder()
    bind = Bind(BindConfig("long", (("127.0.0.1", smsc.port),), EsmeConfig(name, secret)), recorder)
    run = asyncio.create_task(bind.run())
    await recorder.until(lambda: recorder.ups > 0)
    await bind.close()
    await run
    await smsc.stop()
    beyond = (system_id > 15) + (password > 8)
    assert sum("and the standard" in record.message for record in caplog.records) == beyond


@pytest.mark.parametrize("given", [("s" * 65, "p"), ("s", "p" * 65)])
def test_credentials_of_more_than_64_characters_are_refused(given: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="64"):
        EsmeConfig(*given)
    with pytest.raises(ValueError, match="64"):
        CarrierScenario(system_id=given[0], password=given[1])
