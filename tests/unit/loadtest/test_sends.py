"""What goes over the wire, and when."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from statistics import fmean, pstdev
from urllib.parse import parse_qs

import pytest

from gateway.loadtest import schedule
from gateway.loadtest.sends import RECIPIENTS, BulkSends, LoadMessage, Recipients, SingleSends

BASE = "http://gateway.example:8080"


def split(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers, body; the length must be right."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return first, headers, body


def test_a_single_send_is_the_form_that_an_sdk_posts():
    message = LoadMessage("Grüße & 1+1", "+447700900101", None, "http://app.example/s?x=1")
    sends = SingleSends(BASE, "AC1", "token", message, Recipients("4479", 41))
    first, headers, body = split(sends.render(1, 1))
    assert first == "POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1"
    assert headers["Host"] == "gateway.example:8080"
    assert headers["Authorization"] == "Basic QUMxOnRva2Vu"
    assert parse_qs(body.decode()) == {
        "To": ["+447900000042"],
        "From": ["+447700900101"],
        "Body": ["Grüße & 1+1"],
        "StatusCallback": ["http://app.example/s?x=1"],
    }
    assert sends.accepted(201)
    assert not sends.accepted(429)


def test_a_bulk_send_names_each_recipient_of_its_part():
    message = LoadMessage("hello", None, "MG1", "http://app.example/")
    sends = BulkSends(BASE, "AC1", "token", message, Recipients("4479", 7), 3)
    first, _, body = split(sends.render(3, 2))
    assert first == "POST /comms/v1/Messages HTTP/1.1"
    assert json.loads(body) == {
        "from": {"messagingServiceSid": "MG1"},
        "content": {"text": "hello"},
        "statusCallback": "http://app.example/",
        "to": [
            {"address": "+447900000010", "channel": "PHONE"},
            {"address": "+447900000011", "channel": "PHONE"},
        ],
    }
    assert sends.accepted(202)


@pytest.mark.parametrize("start", [0, RECIPIENTS - 2])
def test_every_message_has_a_recipient_of_its_own(start: int):
    recipients = Recipients("4479", start)
    message = LoadMessage("x", "+447700900101")
    single = SingleSends(BASE, "AC1", "t", message, recipients)
    bulk = BulkSends(BASE, "AC1", "t", message, recipients, 4)
    names = [recipients.digits(number) for number in range(4)]
    assert len(set(names)) == 4
    assert {len(name) for name in names} == {12}
    forms = [parse_qs(split(single.render(number, 1))[2].decode()) for number in range(4)]
    assert [form["To"][0] for form in forms] == [f"+{name}" for name in names]
    entries = json.loads(split(bulk.render(0, 4))[2])["to"]
    assert [entry["address"] for entry in entries] == [f"+{name}" for name in names]


def test_even_arrivals_are_as_far_apart_as_the_rate_says():
    times = schedule.even(200, 5)
    assert list(times) == pytest.approx([0, 0.005, 0.010, 0.015, 0.020])


def test_poisson_arrivals_have_the_rate_and_no_memory():
    times = schedule.poisson(1000, 50_000, Random(1))
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 0
    assert fmean(gaps) == pytest.approx(1e-3, rel=0.02)
    assert pstdev(gaps) == pytest.approx(1e-3, rel=0.02)  # as wide as its mean: exponential
    assert list(times) == list(schedule.poisson(1000, 50_000, Random(1)))
