"""Values that once ended or stopped the whole gateway: refused, and the next request is served.

Each stands for a kind: numbers that are checked by one reading and used by another, texts whose
reading takes more than linear time, texts that grow when they are filled in.
"""

from __future__ import annotations

import resource

import pytest
from testing import NUMBERS, TO, GatewayUnderTest, Sdk

LONG = "000000000001" + "9" * 13  # its first twelve characters are a 1
LENGTHS = (LONG, "0" * 12 + "9" * 8, "9" * 30, "9" * 5_000, "١٢", "1_0", " 1", "+1", "1e3")


async def goes_on(sdk: Sdk) -> None:
    """A send is delivered: every stage works."""
    sent = await sdk.send("still here", from_=NUMBERS[0])
    await sdk.reaches(sent.sid, "delivered")


async def test_a_whole_number_is_read_whole_wherever_one_is_taken(
    gateway: GatewayUnderTest, sdk: Sdk
) -> None:
    send = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json"
    service = f"/messaging/v1/Services/{sdk.service_sid}"
    tried = [
        (send, {"To": TO, "From": NUMBERS[0], "Body": "x"}, "ValidityPeriod", 21624),
        (
            send,
            {"To": TO, "MessagingServiceSid": sdk.service_sid, "Body": "x"},
            "ValidityPeriod",
            21624,
        ),
        (service, {}, "ValidityPeriod", 90007),
        (service, {}, "StickyTtl", 20001),
    ]
    for path, form, name, code in tried:
        for text in LENGTHS:
            status, answer = await sdk.operate("POST", path, data={**form, name: text})
            assert (status, answer["code"]) == (400, code), (path, name, text)
    await goes_on(sdk)
    assert not any(task.done() for task in gateway.pipeline.stages._tasks)


QUERIES = (
    *(f"{name}={value}" for name in ("Page", "PageSize") for value in ("²", "9" * 5_000, "-1")),
    *(f"DateSent{how}={day}" for how in ("", "<", ">") for day in ("0001-01-01", "9999-12-31")),
    "PageToken=PA" + "f" * 32,
    "DateSent=" + "9" * 5_000,
)


async def test_no_number_or_time_in_a_query_is_an_error_of_ours(sdk: Sdk) -> None:
    for query in QUERIES:
        path = f"/2010-04-01/Accounts/{sdk.account_sid}/Messages.json?{query}"
        status, _ = await sdk.operate("GET", path)
        assert status in (200, 400), query


@pytest.mark.parametrize(
    "text", ["{{" + " " * 10_000, "{{" * 6_000, "{{ a " + "|" * 10_000, "{{-" + "-" * 10_000 + "}}"]
)
async def test_a_text_that_takes_long_to_read_is_refused_before(sdk: Sdk, text: str) -> None:
    status, answer = await sdk.operate(
        "POST",
        "/comms/v1/Messages",
        json={
            "from": {"messagingServiceSid": sdk.service_sid},
            "to": [{"address": TO}],
            "content": {"text": text},
        },
    )
    assert (status, answer["code"]) == (400, 20001)


async def test_a_text_that_grows_is_given_up_and_its_memory_with_it(sdk: Sdk) -> None:
    """A request of 300 kB made a gigabyte, and kept it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        status, answer = await sdk.operate(
            "POST",
            "/comms/v1/Messages",
            json={
                "from": {"messagingServiceSid": sdk.service_sid},
                "to": [{"address": TO, "variables": {"a": "x" * 300_000}}] * 20,
                "content": {"text": "{{a}}" * 100},
            },
        )
        assert status == 202
        operation = answer["operationId"]
    _, answer = await sdk.operate("GET", f"/comms/v1/Messages/Operations/{operation}/Errors")
    assert {error["code"] for error in answer["errors"]} == {21617}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # kB; one such text was 30 MB, all of them 2.4 GB


async def test_one_recipients_long_text_leaves_out_that_recipient_alone(sdk: Sdk) -> None:
    status, answer = await sdk.operate(
        "POST",
        "/comms/v1/Messages",
        json={
            "from": {"messagingServiceSid": sdk.service_sid},
            "to": [
                {"address": TO, "variables": {"a": "x" * 17_000}},
                {"address": "+441632960676", "variables": {"a": "short"}},
            ],
            "content": {"text": "{{a}}"},
        },
    )
    assert status == 202, answer


async def test_a_nul_is_refused_by_the_name_of_its_parameter(sdk: Sdk) -> None:
    account = f"/2010-04-01/Accounts/{sdk.account_sid}"
    chats = "/conversations/v1"
    service = f"/messaging/v1/Services/{sdk.service_sid}"
    opt_outs = {"MessagingServiceSid": sdk.service_sid, "Enabled": "true"}
    address = {"Address": NUMBERS[0]}
    available = f"{account}/AvailablePhoneNumbers"
    for method, path, form, name in (
        ("POST", "/messaging/v1/Services", {}, "FriendlyName"),
        ("POST", service, {}, "FriendlyName"),
        ("POST", "/messaging/v3/OptOuts", opt_outs, "FriendlyName"),
        ("POST", f"{account}/Applications.json", {}, "FriendlyName"),
        ("POST", f"{account}/Keys.json", {}, "FriendlyName"),
        ("POST", f"{account}.json", {}, "FriendlyName"),
        ("POST", f"{account}/IncomingPhoneNumbers.json", {}, "AreaCode"),
        ("POST", f"{chats}/Conversations", {}, "FriendlyName"),
        ("POST", f"{chats}/Conversations", {}, "UniqueName"),
        ("POST", f"{chats}/Configuration/Addresses", address, "Type"),
        ("GET", f"{account}/Messages.json", {}, "From"),
        ("GET", f"{available}/US/Local.json", {}, "AreaCode"),
        ("GET", f"{available}/US/Local.json", {}, "InRegion"),
        ("GET", f"{available}/US/Local.json", {}, "InLocality"),
    ):
        if method == "GET":
            status, answer = await sdk.operate(method, f"{path}?{name}=a%00b")
        else:
            status, answer = await sdk.operate(method, path, data={**form, name: "a\0b"})
        assert (status, name in answer["message"]) == (400, True), (path, name, answer)
    for named in ("friendly_name", "language", "variables"):
        template = {"friendly_name": "x", "language": "en", "types": {"twilio/text": {"body": "x"}}}
        odd = {"1": "a\0b"} if named == "variables" else "a\0b"
        status, answer = await sdk.operate(
            "POST", "/content/v1/Content", json={**template, named: odd}
        )
        assert (status, named in answer["message"]) == (400, True), (named, answer)
    status, answer = await sdk.operate("GET", f"{available}/U%00/Local.json")
    assert (status, "country" in answer["message"]) == (400, True), answer
