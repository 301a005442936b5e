"""The official Node SDK: its base URLs set, and untouched behind the proxy (`make test-node`)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from testing import TO, GatewayUnderTest, Sdk

from gateway.proxy.authority import create
from smpp.smsc import Smsc

Start = Callable[..., Awaitable[GatewayUnderTest]]
MODULES = Path(os.environ.get("TANDEM_NODE_DIR", "")).resolve() / "node_modules"
FLOWS = Path(__file__).parent / "flows.js"

pytestmark = pytest.mark.skipif(
    not (MODULES / "twilio").is_dir(), reason="the Node SDK is not there: see install.sh"
)

EXPECTED = {
    "member": "+447700900177",
    "created": ["accepted", None, "0", True],
    "ended": ["delivered", "+447700900177", True],
    "plain": "delivered",
    "listed": True,
    "services": 2,
    "scheduled": ["scheduled", "canceled"],
    "redacted": "",
    "deleted": True,
    "errors": [[20404, 404], [21211, 400], [21617, 400], [20003, 401]],
    "updated": 60,
    "removed": [True, True],
}


async def run(sdk: Sdk, **environment: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node",
        FLOWS,
        env={
            **os.environ,
            "NODE_PATH": str(MODULES),
            "TWILIO_ACCOUNT_SID": sdk.account_sid,
            "TWILIO_AUTH_TOKEN": sdk.auth_token,
            "TO": TO,
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


async def test_the_core_flows_with_its_base_urls_set(sdk: Sdk) -> None:
    assert await run(sdk, BASE=sdk.base_url) == EXPECTED


async def test_the_core_flows_of_an_untouched_script_behind_the_proxy(
    start_gateway: Start, smsc: Smsc, tmp_path: Path
) -> None:
    certificate = create(tmp_path / "ca", datetime.now(UTC))
    gateway = await start_gateway(smsc.port, proxy={"port": 0, "ca_dir": tmp_path / "ca"})
    sdk = await gateway.sdk()
    assert gateway.inner.server.listeners is not None
    proxy = f"http://127.0.0.1:{gateway.inner.server.listeners.proxy_port}"
    seen = await run(sdk, HTTP_PROXY=proxy, NODE_EXTRA_CA_CERTS=str(certificate))
    assert seen == EXPECTED
