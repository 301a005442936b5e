"""How large a body may be: what a route says holds on every way to it, and is reached there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from testing import Sdk

from gateway.api.opt_outs.block_list_files import IMPORT_LIMIT
from gateway.api.resources import BULK_BODY_LIMIT, SINGLE_BODY_LIMIT
from gateway.api.routes import RESOURCES, Resource, body_limit

CHUNK = 64 * 1024
LARGE = [resource for resource in RESOURCES if resource.body_limit != SINGLE_BODY_LIMIT]
CSV = {"Content-Type": "text/csv"}


def filled(resource: Resource) -> str:
    return re.sub(r"{\w+}", "x", resource.path)


def test_the_limit_of_each_route_is_found_before_it_is_reached() -> None:
    """By the prefix of the path and by the host, whatever is written in percents."""
    for resource in RESOURCES:
        path = filled(resource)
        _, product, rest = path.split("/", 2)
        for host, given in (("any", path), (f"{product}.twilio.com", f"/{rest}")):
            assert body_limit(host, given, None) == resource.body_limit, given
        assert body_limit(f"{product}.a.example:8080", f"/{rest}", "a.example") == (
            resource.body_limit
        )
    assert body_limit("any", "/nothing", None) == SINGLE_BODY_LIMIT
    assert {resource.body_limit for resource in LARGE} == {BULK_BODY_LIMIT, IMPORT_LIMIT}


async def sent(sdk: Sdk, path: str, octets: int, *, chunked: bool) -> int:
    """The status of a body of so many octets, with a method that no resource has."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, octets, CHUNK):
            yield b" " * min(CHUNK, octets - start)

    body: Any = chunks() if chunked else b" " * octets
    status, answer = await sdk.operate("PATCH", path, data=body)
    assert answer["code"] == {405: 20004, 413: 20413}[status], path
    return status


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_the_limit_is_read_and_one_above_it_is_not(sdk: Sdk, chunked: bool) -> None:
    small = next(resource for resource in RESOURCES if resource not in LARGE)
    for resource in (small, *LARGE):
        path, limit = filled(resource), resource.body_limit
        assert await sent(sdk, path, limit, chunked=chunked) == 405, path
        assert await sent(sdk, path, limit + 1, chunked=chunked) == 413, path


async def test_what_is_written_in_percents_is_the_same_path(sdk: Sdk) -> None:
    assert await sent(sdk, "/tandem/v1/%54ables/prices", 100_000, chunked=False) == 405


async def test_a_table_has_ten_megabytes_and_not_one_octet_more(sdk: Sdk) -> None:
    path = "/tandem/v1/Tables/carriers_by_prefix"
    rows = "".join(f"{prefix},Carrier\n" for prefix in range(440_000, 447_000))
    table = f"prefix,carrier\n{rows}"
    assert len(table) > 95_000
    status, body = await sdk.operate("PUT", path, data=table, headers=CSV)
    assert (status, body["rows"]) == (200, 7_000)
    comment = "#" * (BULK_BODY_LIMIT - len(table) - 1) + "\n"
    status, body = await sdk.operate("PUT", path, data=comment + table, headers=CSV)
    assert (status, body["rows"]) == (200, 7_000)
    status, body = await sdk.operate("PUT", path, data="#" + comment + table, headers=CSV)
    assert (status, body["code"]) == (413, 20413)


async def test_a_day_of_deactivations_comes_in_parts_of_100_000(sdk: Sdk) -> None:
    today = datetime.now(UTC).date().isoformat()
    numbers = [f"+1212{number:07d}" for number in range(2_000_000, 2_100_001)]
    given = {"date": today, "numbers": numbers[:-1]}
    answer = await sdk.operate("POST", "/tandem/v1/Deactivations", json=given)
    assert answer == (201, {"date": today, "added": 100_000})
    given["numbers"] = numbers
    status, body = await sdk.operate("POST", "/tandem/v1/Deactivations", json=given)
    assert (status, body["code"]) == (400, 20001)
    assert "at most 100000 numbers" in body["message"]


async def test_a_thousand_numbers_are_offered_at_once_with_all_that_is_said_of_them(
    sdk: Sdk,
) -> None:
    numbers = [
        {"phone_number": f"+1212{number:07d}", "locality": "x" * 100, "region": "y" * 100}
        for number in range(2_000_000, 2_001_001)
    ]
    path = "/tandem/v1/Inventory"
    answer = await sdk.operate("POST", path, json={"numbers": numbers[:-1]})
    assert answer == (201, {"added": 1_000})
    status, body = await sdk.operate("POST", path, json={"numbers": numbers})
    assert (status, body["code"]) == (400, 20001)
    assert "at most 1000 numbers" in body["message"]
