"""Sticky mappings as a resource: list, look up, move, reset, move all (an extension)."""

from __future__ import annotations

import pytest
from pools import Pool
from testing import GatewayUnderTest

from smpp.smsc import Smsc

NUMBERS = ("+447700900311", "+447700900312", "+447700900313")
TO = [f"+44740090{n:04d}" for n in range(7)]


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


def path(pool: Pool, rest: str = "") -> str:
    return f"/messaging/v1/Services/{pool.sid}/StickySenders{rest}"


async def test_a_mapping_can_be_looked_up_moved_and_reset(pool: Pool) -> None:
    sids = {number: await pool.number(number) for number in NUMBERS[:2]}
    assert (await pool.sdk.operate("GET", path(pool, f"/{TO[0]}")))[0] == 404
    first = await pool.sender_of(TO[0])
    other = next(number for number in sids if number != first)
    status, mapping = await pool.sdk.operate("GET", path(pool, f"/{TO[0]}"))
    assert (status, mapping["to"], mapping["sender"]) == (200, TO[0], first)
    assert (mapping["sender_sid"], mapping["channel"]) == (sids[first], "sms")

    form = {"SenderSid": sids[other]}
    status, moved = await pool.sdk.operate("POST", path(pool, f"/{TO[0]}"), data=form)
    assert (status, moved["sender"]) == (200, other)
    assert await pool.sender_of(TO[0]) == other

    assert await pool.sdk.operate("DELETE", path(pool, f"/{TO[0]}")) == (204, None)
    assert (await pool.sdk.operate("DELETE", path(pool, f"/{TO[0]}")))[0] == 404
    assert await pool.sender_of(TO[0]) in sids


async def test_mappings_are_listed_by_pages_and_by_sender(pool: Pool) -> None:
    sids = {number: await pool.number(number) for number in NUMBERS[:2]}
    found = {to: await pool.sender_of(to) for to in TO}
    seen, url = [], path(pool, "?PageSize=3")
    while url:
        _, page = await pool.sdk.operate("GET", url)
        seen += [(row["to"], row["sender"]) for row in page["sticky_senders"]]
        url = (page["meta"]["next_page_url"] or "").removeprefix(pool.sdk.base_url)
    assert seen == sorted(found.items())
    _, of_one = await pool.sdk.operate("GET", path(pool, f"?SenderSid={sids[NUMBERS[0]]}"))
    assert {row["to"] for row in of_one["sticky_senders"]} == {
        to for to, sender in found.items() if sender == NUMBERS[0]
    }


async def test_all_recipients_of_a_number_move_together_or_choose_anew(pool: Pool) -> None:
    sids = {number: await pool.number(number) for number in NUMBERS[:1]}
    for to in TO:
        assert await pool.sender_of(to) == NUMBERS[0]
    sids |= {number: await pool.number(number) for number in NUMBERS[1:]}
    form = {"FromSenderSid": sids[NUMBERS[0]], "ToSenderSid": sids[NUMBERS[1]]}
    move = path(pool, "/Move")
    assert await pool.sdk.operate("POST", move, data=form) == (200, {"moved": len(TO)})
    assert await pool.sdk.operate("POST", move, data=form) == (200, {"moved": 0})
    assert {await pool.sender_of(to) for to in TO} == {NUMBERS[1]}

    form = {"FromSenderSid": sids[NUMBERS[1]]}
    assert await pool.sdk.operate("POST", move, data=form) == (200, {"moved": len(TO)})
    assert len({await pool.sender_of(to) for to in TO}) == 3


async def test_bad_requests_name_what_is_wrong(pool: Pool) -> None:
    sid = await pool.number(NUMBERS[0])
    outsider = await pool.sdk.call(
        pool.sdk.client.incoming_phone_numbers.create, phone_number=NUMBERS[1]
    )
    for form, status, code in (
        ({}, 400, 20001),
        ({"FromSenderSid": sid, "ToSenderSid": sid}, 400, 20001),
        ({"FromSenderSid": outsider.sid}, 404, 21711),
    ):
        answer = await pool.sdk.operate("POST", path(pool, "/Move"), data=form)
        assert (answer[0], answer[1]["code"]) == (status, code)
    status, body = await pool.sdk.operate("POST", path(pool, "/nonsense"), data={"SenderSid": sid})
    assert (status, body["code"]) == (404, 20404)
