"""`tandem carrier check`, against carriers of every kind that the simulator can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from testing import WAIT_S

from gateway.channels.smpp.check import check
from gateway.channels.smpp.check_report import CANARY
from gateway.channels.smpp.settings import CarrierSettings
from gateway.commands.main import main
from smpp import vocabulary as v
from smpp.receipt import IdForm
from smpp.smsc import CarrierScenario, Scenario, ScenarioRule, Smsc

NUMBER = "+447700900101"
TO = "+441632960675"


@asynccontextmanager
async def simulator(**scenario: Any) -> AsyncIterator[Smsc]:
    smsc = Smsc(Scenario(carriers=(CarrierScenario(**scenario),)), seed=1)
    await smsc.start()
    try:
        yield smsc
    finally:
        await smsc.stop()


def settings(port: int, **options: Any) -> CarrierSettings:
    given = {
        "name": "one",
        "hosts": (f"127.0.0.1:{port}",),
        "system_id": "tandem",
        "password": "secret",
    }
    return CarrierSettings(**{**given, **options})


async def test_without_a_phone_it_only_binds() -> None:
    async with simulator() as smsc:
        report = await check(settings(smsc.port), sender=NUMBER)
        assert report.good
        assert report.host == f"127.0.0.1:{smsc.port}"
        assert smsc.counters.submits == 0
        await _gone(smsc)
    assert any("none sent" in line for line in report.lines())


async def test_it_tries_the_four_usual_pairs_and_waits_for_their_receipts() -> None:
    async with simulator() as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
        assert smsc.counters.submits == 4
    assert [probe.pair for probe in report.probes] == [(1, 1), (0, 1), (2, 1), (0, 0)]
    assert all(probe.taken and probe.receipt is not None for probe in report.probes)
    assert report.settings() == {
        "long_code": "{ ton = 1, npi = 1 }",
        "receipt_id_form": '"as_is"',
    }
    assert report.good


@pytest.mark.parametrize(
    ("scenario", "form"),
    [
        ({"ids": "hex", "receipt_ids": "decimal"}, IdForm.DECIMAL_TO_HEX),
        ({"ids": "uuid", "receipt_ids": "folded"}, IdForm.FOLDED),
        ({"ids": "decimal", "receipt_ids": "stripped"}, IdForm.PADDED),
    ],
)
async def test_it_finds_out_how_receipts_spell_ids(scenario: dict[str, str], form: IdForm) -> None:
    async with simulator(**scenario) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
    # Named by what turns the id of the receipt into that of the answer.
    assert {probe.form for probe in report.probes} == {form}


@pytest.mark.parametrize(
    ("receipts", "words"),
    [
        ("text", "text, dates of 10 digits, err of 3 characters"),
        ("tlv", "TLVs"),
        ("both", "TLVs and text"),
    ],
)
async def test_it_names_the_dialect_of_the_receipts(receipts: str, words: str) -> None:
    async with simulator(receipts=receipts) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
    assert len(report.dialects) == 1
    assert report.dialects[0].startswith(words)
    assert any(words in line for line in report.lines())


async def test_a_receipt_before_its_answer_is_matched_too() -> None:
    async with simulator(rules=(ScenarioRule(receipt_before_response=True),)) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
    assert all(probe.receipt is not None for probe in report.probes)


async def test_a_carrier_without_receipts_is_reported_as_such_after_the_wait() -> None:
    async with simulator(rules=(ScenarioRule(stat="none"),)) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO, receipt_wait_s=0.1)
    assert report.good
    assert any("none came" in line for line in report.lines())
    assert "receipt_id_form" not in report.settings()


async def test_refused_messages_make_a_bad_report_with_the_status() -> None:
    async with simulator(rules=(ScenarioRule(status=v.ESME_RINVMSGLEN),)) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
    assert not report.good
    assert report.settings() == {}
    assert any("ESME_RINVMSGLEN" in line for line in report.lines())


async def test_throttled_probes_are_sent_again_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.channels.smpp.check.THROTTLED_WAIT_S", 0.2)
    async with simulator(throttle_per_s=5.0) as smsc:
        carrier = smsc.carrier()
        carrier._tokens = 1.0
        report = await check(settings(smsc.port), sender=NUMBER, to=TO)
    assert all(probe.taken for probe in report.probes)
    assert sum(probe.throttled for probe in report.probes) > 0
    assert any("refusals for congestion" in line for line in report.lines())


async def test_wrong_credentials_and_a_closed_port_are_told_at_once() -> None:
    async with simulator() as smsc:
        report = await check(settings(smsc.port, password="wrong"), sender=NUMBER)
        assert "ESME_RINVPASWD" in report.trouble
        assert smsc.counters.binds_refused == 1, "it hammered"
        port = smsc.port
    report = await check(settings(port), sender=NUMBER)
    assert not report.good
    assert report.trouble


async def test_a_transmitter_and_a_receiver_are_bound_where_the_settings_say_so() -> None:
    async with simulator() as smsc:
        binds = [{"type": "receiver", "count": 3}, {"type": "transmitter", "count": 2}]
        report = await check(settings(smsc.port, binds=binds), sender=NUMBER, to=TO)
        assert smsc.counters.binds == 2
    assert all(probe.receipt is not None for probe in report.probes)


async def test_a_carrier_with_receivers_only_cannot_be_sent_to() -> None:
    async with simulator() as smsc:
        report = await check(settings(smsc.port, bind="receiver"), sender=NUMBER, to=TO)
    assert report.trouble == "none of its binds can send"


async def test_a_message_that_is_for_the_gateway_is_left_with_the_carrier() -> None:
    async with simulator(rules=(ScenarioRule(receipt_id="foreign"),)) as smsc:
        report = await check(settings(smsc.port), sender=NUMBER, to=TO, receipt_wait_s=0.3)
        assert report.foreign == 4
        assert smsc.counters.deliveries_refused == 4


@pytest.mark.parametrize("alphabet", ["gsm7", "packed", "latin1"])
async def test_the_table_says_what_the_phone_shows_by_alphabet(alphabet: str) -> None:
    async with simulator() as smsc:
        report = await check(settings(smsc.port, default_alphabet=alphabet), sender=NUMBER, to=TO)
    right = [line for line in report.lines() if f"Tandem test {CANARY}" in line]
    assert len(right) == 1
    assert alphabet in right[0].split("data_coding 0 means")[1]


async def test_the_command_prints_the_table_and_its_status_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with simulator() as smsc:
        file = tmp_path / "tandem.toml"
        file.write_text(
            f"""
            data_dir = "{tmp_path}"
            [[carriers]]
            name = "one"
            hosts = ["127.0.0.1:{smsc.port}"]
            system_id = "tandem"
            password = "secret"
            """
        )
        command = ["carrier", "check", "one", "--config", str(file), "--to", TO, "--from", "78901"]
        assert await asyncio.to_thread(main, command) == 0
        printed = capsys.readouterr().out
        assert "short_code = { ton = 3, npi = 0 }" in printed
        assert "DELIVRD" in printed
        command[2] = "other"
        assert await asyncio.to_thread(main, command) == 2
        assert "there are: one" in capsys.readouterr().err


async def _gone(smsc: Smsc) -> None:
    async with asyncio.timeout(WAIT_S):
        while smsc.connections:
            await asyncio.sleep(0.01)
