"""Names whose nameserver says nothing, of an app and of a carrier, while all else goes on.

The gateway is a process, on the loop that it is served on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hooks import Hooks
from nameserver import SILENT, Nameserver
from test_hanging_servers import sends
from testing import TO, GatewayProcess, Sdk, carrier, free_port, until

from gateway.webhooks.host_names import DEFAULT_BOUNDS
from smpp.smsc import Scenario, Smsc

APP = "app.example"
OWN = "+447700900777"


async def test_silent_names_of_an_account_leave_the_others_their_callbacks_and_carriers(
    database_url: str, smsc: Smsc, tmp_path: Path
) -> None:
    async with Nameserver({APP: ["127.0.0.1"]}) as nameserver, Hooks() as hooks:
        webhooks = {"allow_private": True, "nameservers": [nameserver.address]}
        process = GatewayProcess(database_url, smsc.port, tmp_path, free_port(), webhooks=webhooks)
        await process.start()
        sdk = await Sdk.provisioned(process.base_url)
        other = await sdk.call(sdk.client.api.v2010.accounts.create)
        path = f"/2010-04-01/Accounts/{other.sid}/IncomingPhoneNumbers.json"
        status, _ = await sdk.operate("POST", path, data={"PhoneNumber": OWN})
        assert status == 201
        forms = [
            {"To": TO, "From": OWN, "Body": "x", "StatusCallback": f"http://h{n}.{SILENT}/"}
            for n in range(200)
        ]
        await sends(process, other.sid, other.auth_token, forms)
        await until(lambda: len(nameserver.names(SILENT)) >= DEFAULT_BOUNDS.of_account)
        for host in ("127.0.0.1", "localhost", APP):
            await sdk.send(status_callback=f"http://{host}:{hooks.port}/{host}")
            await hooks.has(f"/{host}")
        port = smsc.port
        await smsc.stop()
        again = Smsc(Scenario(), seed=1)
        await again.start(port=port)
        await until(lambda: again.counters.binds > 0)
        await again.stop()
        assert len(nameserver.names(SILENT)) < len(forms)
        await process.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="HOSTALIASES is of its C library")
async def test_silent_names_of_carriers_leave_carriers_by_address_and_callbacks_alone(
    database_url: str, smsc: Smsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases = tmp_path / "aliases"
    os.mkfifo(aliases)  # the system's resolver waits for it, for names of one label
    monkeypatch.setenv("HOSTALIASES", str(aliases))
    silent = carrier(smsc.port, name="silent", hosts=(f"silent:{smsc.port}",), binds=8)
    async with Nameserver({APP: ["127.0.0.1"]}) as nameserver, Hooks() as hooks:
        process = GatewayProcess(
            database_url,
            smsc.port,
            tmp_path,
            free_port(),
            webhooks={"allow_private": True, "nameservers": [nameserver.address]},
            carriers=[carrier(smsc.port), silent],
        )
        await process.start()
        sdk = await Sdk.provisioned(process.base_url)
        for host in ("127.0.0.1", APP):
            sid = (await sdk.send(status_callback=f"http://{host}:{hooks.port}/{host}")).sid
            await hooks.has(f"/{host}")
            await sdk.reaches(sid, "delivered")
        await process.kill()
