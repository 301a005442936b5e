"""The simulator's own promises: ledger, control endpoint, rules, receipts, MO."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import pytest
from smpp_builders import Recorder, bind_config, running_bind, running_smsc, submit
from testing import WAIT_S

from smpp.concat import Reassembler
from smpp.receipt import parse_receipt
from smpp.smsc import ScenarioRule
from smpp.smsc.scenario import RECEIPT_FORMS


async def test_the_ledger_has_one_line_for_each_submit_and_filters_by_destination():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
        aiohttp.ClientSession(f"http://127.0.0.1:{smsc.control_port}") as http,
    ):
        bind.submit(submit(b"one", destination="441632960675"), 1)
        bind.submit(submit(b"two", destination="441632960676"), 2)
        await recorder.until(lambda: len(recorder.deliveries) == 2)
        async with http.get("/ledger") as answer:
            rows = [json.loads(line) for line in (await answer.text()).splitlines()]
        async with http.get("/ledger", params={"destination": "+441632960676"}) as answer:
            [filtered] = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [row["text"] for row in rows] == ["one", "two"]
    assert rows[0]["carrier_id"] == recorder.answers[0][2]
    assert rows[0]["outcome"] == "DELIVRD"
    assert rows[0]["segment"] == rows[0]["total"] == 1
    assert filtered == rows[1]
    assert set(rows[0]) >= {
        "time",
        "bind",
        "carrier_id",
        "source",
        "destination",
        "segment",
        "total",
        "reference",
        "text",
        "outcome",
        "data_coding",
        "tlvs",
    }


async def test_counters_and_disconnect_by_http():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder),
        aiohttp.ClientSession(f"http://127.0.0.1:{smsc.control_port}") as http,
    ):
        async with http.get("/counters") as answer:
            counters = await answer.json()
        assert counters["binds"] == 1
        assert len(counters["carriers"]["carrier"]["binds"]) == 1
        async with http.post("/disconnect", json={}) as answer:
            assert await answer.json() == {"binds": 1}
        await recorder.until(lambda: recorder.ups == 2)


@pytest.mark.parametrize("mode", ["udh8", "udh16", "sar", "payload"])
@pytest.mark.parametrize(
    "text",
    ["hi", "x" * 161, "€" * 200, "Ж" * 150, "😀" * 100],
    ids=["short", "gsm7", "escapes", "ucs2", "surrogates"],
)
async def test_a_long_inbound_text_arrives_whole_in_every_mode(mode, text):
    from smpp.alphabet import decode_text

    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder),
        aiohttp.ClientSession(f"http://127.0.0.1:{smsc.control_port}") as http,
    ):
        order = {"from": "+447700900123", "to": "+15550001111", "text": text, "mode": mode}
        async with http.post("/mo", json=order) as answer:
            sent = await answer.json()
        assert sent["binds"] == 1
        await recorder.until(lambda: len(recorder.deliveries) == sent["parts"])
    reassembler = Reassembler()
    wholes = [whole for delivery in recorder.deliveries for whole in reassembler.add(delivery, 0.0)]
    assert len(wholes) == 1
    parts = [decode_text(piece.delivery.data_coding, piece.text) for piece in wholes[0].pieces]
    assert "".join(parts) == text
    assert not any(delivery.is_receipt for delivery in recorder.deliveries)


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"from": "1"}', b'{"from":"1","to":"2","text":"x","mode":"y"}']
)
async def test_a_bad_control_request_is_refused_with_a_reason(body):
    async with (
        running_smsc() as smsc,
        aiohttp.ClientSession(f"http://127.0.0.1:{smsc.control_port}") as http,
        http.post("/mo", data=body) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_a_scenario_is_changed_at_run_time_and_a_wrong_one_is_not_taken():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
        aiohttp.ClientSession(f"http://127.0.0.1:{smsc.control_port}") as http,
    ):
        async with http.post(
            "/scenario", json={"rule": [{"prefix": "44", "status": 88}]}
        ) as answer:
            assert answer.status == 200
        async with http.post("/scenario", json={"rule": [{"prefx": "44"}]}) as answer:
            assert answer.status == 400
            assert "prefx" in (await answer.json())["error"]
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.answers))
    assert recorder.answers[0][1] == 88


async def test_rules_are_chosen_by_the_longest_prefix():
    recorder = Recorder()
    rules = (
        ScenarioRule(prefix="44", stat="UNDELIV", err="001"),
        ScenarioRule(prefix="4477", stat="EXPIRED"),
        ScenarioRule(prefix="49", status=0x0B),
        ScenarioRule(prefix="33", stat="none"),
    )
    async with (
        running_smsc(*rules) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        for destination in ("441", "44771", "491", "331", "1555"):
            bind.submit(submit(destination=destination), destination)
        await recorder.until(lambda: len(recorder.deliveries) == 3 and len(recorder.answers) == 5)
    stats = {
        delivery.source.value: receipt.stat
        for delivery in recorder.deliveries
        if (receipt := parse_receipt(delivery))
    }
    assert stats == {"441": "UNDELIV", "44771": "EXPIRED", "1555": "DELIVRD"}
    assert [status for _, status, _, _ in recorder.answers] == [0, 0, 0x0B, 0, 0]


async def test_a_receipt_can_be_faster_than_its_response():
    order: list[str] = []

    class Watching(Recorder):
        def answered(self, *args):
            order.append("answer")
            super().answered(*args)

        def delivered(self, *args):
            order.append("receipt")
            super().delivered(*args)

    recorder = Watching()
    async with (
        running_smsc(ScenarioRule(receipt_before_response=True)) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), 1)
        await recorder.until(lambda: len(order) == 2)
    assert order == ["receipt", "answer"]


@pytest.mark.parametrize("form", [form for form in RECEIPT_FORMS if form != "commas"])
async def test_every_dialect_of_receipt_is_understood(form):
    recorder = Recorder()
    async with (
        running_smsc(receipts=form) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.deliveries))
    receipt = parse_receipt(recorder.deliveries[0])
    assert receipt is not None
    assert receipt.message_id == recorder.answers[0][2]
    assert receipt.state.name == "DELIVERED"


@pytest.mark.parametrize(
    ("ids", "receipt_ids"),
    [
        ("hex", "decimal"),
        ("decimal", "hex"),
        ("decimal", "HEX"),
        ("HEX", "folded"),
        ("decimal", "stripped"),
        ("hex", "padded"),
    ],
)
async def test_an_id_in_another_spelling_has_a_normal_form_that_matches(ids, receipt_ids):
    from smpp.receipt import normal_forms

    recorder = Recorder()
    async with (
        running_smsc(ids=ids, receipt_ids=receipt_ids) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.deliveries))
    receipt = parse_receipt(recorder.deliveries[0])
    assert receipt is not None
    assert receipt.message_id != recorder.answers[0][2]
    assert recorder.answers[0][2] in normal_forms(receipt.message_id)


async def test_throttling_refuses_what_is_over_the_rate():
    recorder = Recorder()
    async with (
        running_smsc(throttle_per_s=10.0) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        for token in range(30):
            bind.submit(submit(), token)
        await recorder.until(lambda: len(recorder.answers) == 30)
    refused = [status for _, status, _, _ in recorder.answers if status]
    assert set(refused) == {0x58}
    assert 18 <= len(refused) <= 20


async def test_the_network_obeys_stop_for_toll_free_senders():
    recorder = Recorder()
    async with (
        running_smsc(network_stop=("1888",)) as smsc,
        running_bind(bind_config(smsc.port), recorder) as bind,
    ):
        carrier = smsc.carrier()
        stats = []
        for word in ("stop", "start"):
            carrier.mobile_originated("+15557654321", "+18885550000", word)
            bind.submit(submit(source="18885550000", destination="15557654321"), word)
            seen = len(recorder.deliveries) + 2
            await recorder.until(lambda seen=seen: len(recorder.deliveries) >= seen)
            stats.append(parse_receipt(recorder.deliveries[-1]).stat)
    assert stats == ["REJECTD", "DELIVRD"]


async def test_a_delivery_refused_for_the_moment_comes_again_and_for_good_does_not():
    recorder = Recorder(answer_status=0x64)
    async with (
        running_smsc(deliver_retry_s=0.01) as smsc,
        running_bind(bind_config(smsc.port), recorder),
    ):
        smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hi")
        await recorder.until(lambda: len(recorder.deliveries) == 2)
        recorder.answer_status = 0
        await recorder.until(lambda: len(recorder.deliveries) >= 3)
        assert smsc.counters.deliveries_refused >= 2


async def test_what_no_bind_takes_waits_for_one():
    async with running_smsc() as smsc:
        parts, binds = smsc.carrier().mobile_originated("+447700900123", "+15550001111", "hi")
        assert (parts, binds) == (1, 0)
        recorder = Recorder()
        async with running_bind(bind_config(smsc.port), recorder):
            await recorder.until(lambda: len(recorder.deliveries) == 1)


async def test_the_same_seed_gives_the_same_run():
    async def run() -> list[tuple[int, str]]:
        recorder = Recorder()
        async with (
            running_smsc(ScenarioRule(share=0.5, status=0x45)) as smsc,
            running_bind(bind_config(smsc.port), recorder) as bind,
        ):
            for token in range(40):
                bind.submit(submit(), token)
            await recorder.until(lambda: len(recorder.answers) == 40)
        return [(status, message_id) for _, status, message_id, _ in recorder.answers]

    runs = [await run(), await run()]
    assert runs[0] == runs[1]
    assert len({status for status, _ in runs[0]}) == 2


async def _command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "smpp.smsc", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_line_serves_and_stops(tmp_path):
    scenario = tmp_path / "two.toml"
    scenario.write_text('[[carrier]]\nname = "a"\n[[carrier]]\nname = "b"\nsystem_id = "other"\n')
    process = await _command("--port", "0", "--control-port", "0", "--scenario", str(scenario))
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        lines = [await process.stdout.readline() for _ in range(3)]
        process.terminate()
        assert await process.wait() == 0
    assert lines[0].startswith(b"a: smpp://127.0.0.1:")
    assert lines[2].startswith(b"control: http://127.0.0.1:")


async def test_the_command_line_refuses_a_wrong_scenario_and_a_taken_port(tmp_path):
    scenario = tmp_path / "wrong.toml"
    scenario.write_text("\nsead = 1\n")
    process = await _command("--scenario", str(scenario))
    _, error = await process.communicate()
    assert process.returncode == 2
    assert error.startswith(b"tandem smsc: wrong.toml:2: sead is no key here")
    async with running_smsc() as smsc:
        process = await _command("--port", str(smsc.port), "--control-port", "0")
        _, error = await process.communicate()
    assert process.returncode == 2
    assert b"tandem smsc: " in error


async def test_the_command_line_sends_a_message_in():
    recorder = Recorder()
    async with (
        running_smsc() as smsc,
        running_bind(bind_config(smsc.port), recorder),
    ):
        process = await _command(
            *("mo", "--control", f"http://127.0.0.1:{smsc.control_port}"),
            *("--from", "+447700900123", "--to", "+15550001111", "hello"),
        )
        await recorder.until(lambda: bool(recorder.deliveries))
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["binds"] == 1
    assert recorder.deliveries[0].payload == b"hello"
