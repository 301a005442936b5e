"""The simulator's control: no browser's to use, and JSON whatever it is asked."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from smpp.smsc import Smsc


async def asked(
    smsc: Smsc, method: str, path: str, headers: dict[str, str] | None = None, data: Any = None
) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            method, f"http://127.0.0.1:{smsc.control_port}{path}", headers=headers, data=data
        ) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example:2780"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://localhost.evil.example"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/mo"), ("GET", "/mo"), ("GET", "/ledger")])
async def test_a_page_from_elsewhere_is_refused(
    smsc: Smsc, headers: dict[str, str], method: str, path: str
) -> None:
    status, answer = await asked(smsc, method, path, headers, '{"from": "1", "to": "2"}')
    assert (status, answer) == (403, {"error": "not for this host"})


@pytest.mark.parametrize(
    "headers",
    [{}, {"Host": "localhost"}, {"Host": "[::1]:2780"}, {"Origin": "http://localhost:8088"}],
)
async def test_this_machine_is_served(smsc: Smsc, headers: dict[str, str]) -> None:
    assert (await asked(smsc, "GET", "/counters", headers))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/mo", "nonsense", 400),
        ("POST", "/mo", "[" * 50_000, 400),
        ("POST", "/mo", '{"from": "1", "to": "2", "text": "x", "mode": []}', 400),
        ("POST", "/mo", '{"from": "1", "to": "2", "text": 5}', 400),
        ("POST", "/disconnect", '{"how": "stall", "seconds": "x"}', 400),
        ("POST", "/disconnect", '{"how": "stall", "seconds": -1}', 400),
        ("POST", "/disconnect", '{"how": []}', 400),
        ("POST", "/scenario", '{"latency": {"a": []}}', 400),
        ("POST", "/scenario", '{"window": 1e400}', 400),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/mo", None, 405),
    ],
)
async def test_what_can_not_be_served_is_told_as_json(
    smsc: Smsc, method: str, path: str, body: str | None, status: int
) -> None:
    found, answer = await asked(smsc, method, path, None, body)
    assert (found, set(answer)) == (status, {"error"})
