"""The block list in the operator's hands: looked up, changed, read in and out, logged (ours)."""

from __future__ import annotations

from typing import Any

import aiohttp
import asyncpg
import pytest
from testing import NUMBERS, GatewayUnderTest, Sdk, basic

LIST = "/tandem/v1/OptOuts/Recipients"
TO = [f"+44740090{n:04d}" for n in range(7)]
CSV = {"Content-Type": "text/csv"}


async def block(sdk: Sdk, to: str, **form: str) -> Any:
    given = {"To": to} | (form or {"MessagingServiceSid": sdk.service_sid})
    status, body = await sdk.operate("POST", LIST, data=given)
    assert status == 201, body
    return body


async def read_in(sdk: Sdk, text: str) -> tuple[int, Any]:
    return await sdk.operate("POST", "/tandem/v1/OptOuts/Import", data=text, headers=CSV)


async def read_out(sdk: Sdk) -> str:
    headers = {"Authorization": basic(sdk.account_sid, sdk.auth_token)}
    url = f"{sdk.base_url}/tandem/v1/OptOuts/Export"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url) as response,
    ):
        assert response.content_type == "text/csv"
        return await response.text()


async def log(sdk: Sdk, query: str = "") -> list[dict[str, Any]]:
    _, body = await sdk.operate("GET", f"/tandem/v1/OptOuts/Log{query}")
    return list(body["changes"])


async def by_network(gateway: GatewayUnderTest, sdk: Sdk, to: str) -> None:
    """As a toll-free network's STOP leaves it."""
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute(
        "INSERT INTO opt_outs (recipient, channel, scope, account_id, source)"
        " SELECT $1, 0, id, account_id, 'network' FROM services WHERE sid = $2",
        to,
        sdk.service_sid,
    )
    await connection.close()


async def test_a_recipient_is_blocked_looked_up_and_let_go(sdk: Sdk) -> None:
    assert (await sdk.operate("GET", f"{LIST}/{TO[0]}"))[0] == 404
    shown = await block(sdk, TO[0], MessagingServiceSid=sdk.service_sid, Note="by letter")
    assert (shown["to"], shown["messaging_service_sid"]) == (TO[0], sdk.service_sid)
    assert (shown["source"], shown["channel"], shown["from"]) == ("operator", "sms", None)
    await block(sdk, TO[0])  # the same again changes nothing
    status, found = await sdk.operate("GET", f"{LIST}/{TO[0]}")
    assert (status, found) == (200, {"to": TO[0], "blocks": [shown]})
    blocked = await sdk.send("hello", TO[0])
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610

    assert await sdk.operate("DELETE", f"{LIST}/{TO[0]}") == (204, None)
    assert (await sdk.operate("DELETE", f"{LIST}/{TO[0]}"))[0] == 404
    sent = await sdk.send("hello", TO[0])
    await sdk.reaches(sent.sid, "delivered")
    changes = await log(sdk, f"?To=%2B{TO[0][1:]}")
    assert [(change["blocked"], change["note"]) for change in changes] == [
        (False, None),
        (True, None),
        (True, "by letter"),
    ]
    assert {change["actor"] for change in changes} == {sdk.account_sid}


async def test_a_pair_with_a_lone_number_is_a_scope_of_its_own(sdk: Sdk) -> None:
    alone = "+447700900901"
    await sdk.call(sdk.client.incoming_phone_numbers.create, phone_number=alone)
    shown = await block(sdk, TO[0], From=alone)
    assert (shown["from"], shown["messaging_service_sid"]) == (alone, None)
    await sdk.refused(21610, 400, sdk.client.messages.create, to=TO[0], from_=alone, body="hello")
    sent = await sdk.send("by the service", TO[0])
    await sdk.reaches(sent.sid, "delivered")
    # A number in a service stands for its service, as a STOP to it does.
    assert (await block(sdk, TO[0], From=NUMBERS[0]))["messaging_service_sid"] == sdk.service_sid
    query = f"?From=%2B{alone[1:]}"
    assert await sdk.operate("DELETE", f"{LIST}/{TO[0]}{query}") == (204, None)
    _, found = await sdk.operate("GET", f"{LIST}/{TO[0]}")
    assert [one["messaging_service_sid"] for one in found["blocks"]] == [sdk.service_sid]


async def test_the_list_has_pages_and_filters(sdk: Sdk) -> None:
    for to in TO:
        await block(sdk, to)
    seen, url = [], f"{LIST}?PageSize=3&Source=operator"
    while url:
        _, page = await sdk.operate("GET", url)
        seen += [one["to"] for one in page["recipients"]]
        url = (page["meta"]["next_page_url"] or "").removeprefix(sdk.base_url)
    assert seen == TO

    async def count(query: str) -> int:
        return len((await sdk.operate("GET", LIST + query))[1]["recipients"])

    assert await count(f"?To=%2B{TO[3][1:]}") == 1
    assert await count("?Source=keyword") == 0
    assert await count(f"?MessagingServiceSid={sdk.service_sid}") == len(TO)
    assert await count(f"?AccountSid={sdk.account_sid}") == len(TO)
    assert await count("?Since=2020-01-01") == len(TO)
    assert await count("?Since=2099-01-01") == 0
    first = await log(sdk, "?PageSize=2")
    _, page = await sdk.operate("GET", "/tandem/v1/OptOuts/Log?PageSize=2")
    _, rest = await sdk.operate("GET", page["meta"]["next_page_url"].removeprefix(sdk.base_url))
    assert [one["to"] for one in first + rest["changes"]] == TO[:2:-1]


async def test_what_the_network_blocked_only_the_recipient_lifts(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    await by_network(gateway, sdk, TO[0])
    status, body = await sdk.operate("DELETE", f"{LIST}/{TO[0]}")
    assert (status, body["code"]) == (403, 20403)
    status, body = await read_in(sdk, f"to,scope,action\n{TO[0]},{sdk.service_sid},opt-in\n")
    assert (status, body["changed"], body["wrong"]) == (200, 0, 1)
    assert body["errors"][0]["line"] == 2
    assert (await sdk.operate("GET", f"{LIST}/{TO[0]}"))[0] == 200


async def test_what_is_exported_can_be_imported(sdk: Sdk) -> None:
    for to in TO:
        await block(sdk, to)
    text = await read_out(sdk)
    lines = text.splitlines()
    assert lines[0].startswith("to,scope,")
    assert [line.split(",")[:2] for line in lines[1:]] == [[to, sdk.service_sid] for to in TO]
    for to in TO:
        await sdk.operate("DELETE", f"{LIST}/{to}")
    assert await read_in(sdk, text) == (200, {"changed": len(TO), "wrong": 0, "errors": []})
    assert len((await read_out(sdk)).splitlines()) == len(lines)
    assert {one["source"] for one in await log(sdk, "?PageSize=7")} == {"import"}


async def test_lines_that_make_no_sense_are_named_and_left_out(sdk: Sdk) -> None:
    status, body = await read_in(
        sdk,
        "\ufeffto,scope,action,note\n"
        f"{TO[0]},{sdk.service_sid},,by letter\n"
        f"12,{sdk.service_sid},,\n"
        f"{TO[1]},MG{'0' * 32},,\n"
        f"{TO[1]},{NUMBERS[0]},pause,\n"
        f"{TO[1]}\n",
    )
    assert (status, body["changed"], body["wrong"]) == (200, 1, 4)
    assert [one["line"] for one in body["errors"]] == [3, 4, 5, 6]
    for text, headers, status, code in (
        ("to\n", CSV, 400, 20001),
        ("", CSV, 400, 20001),
        (b"to,scope\n\xff", CSV, 400, 20001),
        ("to,scope\n", {"Content-Type": "text/plain"}, 415, 20415),
    ):
        answer = await sdk.operate("POST", "/tandem/v1/OptOuts/Import", data=text, headers=headers)
        assert (answer[0], answer[1]["code"]) == (status, code)


@pytest.mark.parametrize(("octets", "status"), [(1_000_000, 200), (1_000_001, 413)])
async def test_an_import_is_a_megabyte_at_most(sdk: Sdk, octets: int, status: int) -> None:
    head = f"to,scope,action,note\n{TO[0]},{sdk.service_sid},,"
    answer = await read_in(sdk, head + "x" * (octets - len(head)))
    assert answer[0] == status


async def test_only_the_operator_has_it_and_bad_requests_are_told(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    for method, path in (
        ("GET", LIST),
        ("POST", LIST),
        ("GET", f"{LIST}/{TO[0]}"),
        ("DELETE", f"{LIST}/{TO[0]}"),
        ("GET", "/tandem/v1/OptOuts/Log"),
        ("GET", "/tandem/v1/OptOuts/Export"),
        ("POST", "/tandem/v1/OptOuts/Import"),
    ):
        form = {"data": {}} if method == "POST" else {}
        status, body = await sdk.operate(method, path, account.sid, account.auth_token, **form)
        assert (status, body["code"]) == (403, 20403)
    for form, code in (
        ({}, 20001),
        ({"To": TO[0]}, 20001),
        ({"To": "12", "From": NUMBERS[0]}, 21211),
        ({"To": TO[0], "From": "+447700900999"}, 20001),
    ):
        status, body = await sdk.operate("POST", LIST, data=form)
        assert (status, body["code"]) == (400, code)
    for query in ("?PageToken=PAnonsense", "?AccountSid=AC1", "?Since=soon"):
        assert (await sdk.operate("GET", LIST + query))[0] == 400
    assert (await sdk.operate("GET", "/tandem/v1/OptOuts/Log?PageToken=PAx"))[0] == 400
