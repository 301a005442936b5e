"""The API's own document: true to the routes, and no request made from it breaks the gateway."""

from __future__ import annotations

import os
import random
import re
import string
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from odd_values import ODD
from pools import Pool
from testing import TO, GatewayUnderTest, basic

from gateway.api.reference.openapi import FORM, document
from gateway.api.routes import RESOURCES
from smpp.smsc import Smsc

# Requests per operation, and body or query; `make nightly` asks for more.
ROUNDS = int(os.environ.get("TANDEM_FUZZ_ROUNDS", "20"))
Value = str | list[str]


def test_the_document_names_every_operation_once() -> None:
    paths = document()["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert found == {
        (method, resource.path) for resource in RESOURCES for method in resource.handlers
    }
    names = [method["operationId"] for methods in paths.values() for method in methods.values()]
    assert len(names) == len(set(names))


async def test_the_document_and_its_page_are_served_to_everybody(
    gateway: GatewayUnderTest,
) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{gateway.base_url}/openapi.json") as response:
            served = await response.json()
        async with session.get(f"{gateway.base_url}/docs") as response:
            page = await response.text()
    assert served["openapi"] == "3.1.0"
    assert served["servers"] == [{"url": gateway.base_url}]
    assert served["paths"] == document()["paths"]
    assert all(path in page for path in served["paths"])


class Maker:
    """Values for parameters, good and bad, from one seed."""

    def __init__(self, seed: int, known: dict[str, list[str]]) -> None:
        self.random = random.Random(seed)
        self.known = known

    def value(self, name: str, schema: dict[str, Any]) -> Value:
        if self.random.random() < 0.3:
            return self.random.choice(ODD)
        if name in self.known:
            return self.random.choice(self.known[name])
        if "enum" in schema:
            return str(self.random.choice(schema["enum"]))
        kind = schema.get("type")
        if kind == "array":
            return [str(self.value("", schema["items"])) for _ in range(self.random.randint(0, 12))]
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", 0), schema.get("maximum", 100_000)
            return str(self.random.choice([low - 1, low, high, high + 1, low + 0.5]))
        if kind == "boolean":
            return self.random.choice(["true", "false", "1", "maybe"])
        if schema.get("format") == "uri":
            return self.random.choice(["https://example.com/x", "http://[", "x", "ftp://y/"])
        if schema.get("format") == "date-time":
            return self.random.choice(["2026-12-01T00:00:00Z", "2026-13-01", "0001-01-01", "x"])
        letters = string.ascii_letters + string.digits + "+_- "
        return "".join(self.random.choices(letters, k=self.random.randint(1, 40)))

    def json(self, depth: int = 0) -> Any:
        kinds: list[Any] = [None, True, 0, -1.5, "x", "", TO, 10**20]
        if depth < 3:
            kinds += [
                [self.json(depth + 1) for _ in range(self.random.randint(0, 3))],
                {
                    self.random.choice(["address", "text", "To", "Body", "sendAt", "x"]): self.json(
                        depth + 1
                    )
                    for _ in range(self.random.randint(0, 3))
                },
            ]
        return self.random.choice(kinds)


@pytest.mark.parametrize("seed", range(2))
async def test_no_request_of_the_document_breaks_the_gateway(
    gateway: GatewayUnderTest, smsc: Smsc, seed: int
) -> None:
    pool = await Pool.of(gateway, smsc)
    sid = await pool.number("+447700900311")
    message = await pool.sdk.send("x", messaging_service_sid=pool.sid)
    known = {
        "account": [pool.sdk.account_sid],
        "service": [pool.sid],
        "sid": [message.sid, sid, "SM" + "0" * 32],
        "To": [TO],
        "From": ["+447700900311"],
        "MessagingServiceSid": [pool.sid],
        "recipient": [TO],
        "country": ["US", "XX"],
    }
    maker = Maker(seed, known)
    headers = {"Authorization": basic(pool.sdk.account_sid, pool.sdk.auth_token)}
    broken: list[str] = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for path, methods in document()["paths"].items():
            for method, operation in methods.items():
                if "Accounts/{target}" in path and method == "post":
                    continue  # it would close the account that asks
                for _ in range(ROUNDS):
                    url, request = _request(maker, path, operation)
                    async with session.request(
                        method, gateway.base_url + url, allow_redirects=False, **request
                    ) as response:
                        problem = await _problem(response)
                    if problem:
                        broken.append(f"{method} {url} {request}: {problem}")
    assert broken == []
    assert not any(task.done() for task in gateway.pipeline.stages._tasks), "a stage has ended"
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.base_url}/readyz") as response,
    ):
        assert response.status == 200


def _request(maker: Maker, path: str, operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    url = path
    query: list[tuple[str, str]] = []
    for one in operation["parameters"]:
        value = maker.value(one["name"], one["schema"])
        text = value if isinstance(value, str) else ",".join(value)
        if one["in"] == "path":
            safe = quote(text, safe="") or "x"
            url = url.replace("{" + one["name"] + "}", safe[:500])
        elif maker.random.random() < 0.5:
            query.append((one["name"], text))
    request: dict[str, Any] = {}
    content = operation.get("requestBody", {}).get("content", {})
    if FORM in content:
        form: list[tuple[str, str]] = []
        for name, schema in content[FORM]["schema"]["properties"].items():
            if maker.random.random() < 0.5:
                value = maker.value(name, schema)
                form += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        request = {"data": urlencode(form), "headers": {"Content-Type": FORM}}
    elif content:
        [schema] = [one["schema"] for one in content.values()]
        request = {"json": {name: maker.json() for name in schema["properties"]} or maker.json()}
    return url + ("?" + urlencode(query) if query else ""), request


async def _problem(response: aiohttp.ClientResponse) -> str | None:
    """What is wrong with an answer; None when it is one that a client understands."""
    if response.status >= 500:
        return f"{response.status} {(await response.text())[:200]}"
    if response.status < 400:
        return None
    body = await response.json()
    if set(body) < {"code", "message", "more_info", "status"}:
        return f"an error without its fields: {body}"
    if body["status"] != response.status or not re.search(r"\d+$", body["more_info"]):
        return f"an error that is not itself: {body}"
    return None
