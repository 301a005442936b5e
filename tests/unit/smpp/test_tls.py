"""Binds over TLS: what is verified, and what is refused."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from smpp_builders import Recorder, bind_config, submit

from smpp.esme import Bind, TlsConfig
from smpp.smsc import Scenario, Smsc

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = str(CERTIFICATES / "authority.pem")
SERVER = str(CERTIFICATES / "server.pem")
FINGERPRINT = sha256(
    ssl.PEM_cert_to_DER_cert((CERTIFICATES / "server.pem").read_text())
).hexdigest()


@asynccontextmanager
async def tls_smsc(*, client_ca: str = ""):
    scenario = Scenario(
        tls_certificate=SERVER, tls_key=str(CERTIFICATES / "server.key"), tls_client_ca=client_ca
    )
    smsc = Smsc(scenario, seed=1)
    await smsc.start()
    try:
        yield smsc
    finally:
        await smsc.stop()


async def bound(smsc: Smsc, tls: TlsConfig | None) -> bool:
    """Whether a message passes; False if the bind could not even connect."""
    recorder = Recorder()
    reasons: list[str] = []
    bind = Bind(bind_config(smsc.port, tls=tls, bind_timeout_s=0.5), recorder, rng=Random(1))
    bind.on_unreachable = lambda reason, wait: reasons.append(reason) or recorder.changed()
    task = asyncio.create_task(bind.run())
    try:
        await recorder.until(lambda: bind.bound or len(reasons) >= 2)
        if reasons:
            assert smsc.counters.binds == 0
            assert all(reasons)
            return False
        bind.submit(submit(), 1)
        await recorder.until(lambda: bool(recorder.deliveries))
        return True
    finally:
        await bind.close()
        await task


async def test_a_verified_connection_carries_messages():
    async with tls_smsc() as smsc:
        assert await bound(smsc, TlsConfig(ca_file=AUTHORITY, server_name="smsc.example"))


async def test_a_certificate_of_another_name_is_refused():
    async with tls_smsc() as smsc:
        assert not await bound(smsc, TlsConfig(ca_file=AUTHORITY, server_name="other.example"))
        assert not await bound(smsc, TlsConfig(ca_file=AUTHORITY))  # 127.0.0.1 is not in it


async def test_an_unknown_authority_is_refused_by_default():
    async with tls_smsc() as smsc:
        assert not await bound(smsc, TlsConfig(server_name="smsc.example"))


async def test_verification_can_be_turned_off():
    async with tls_smsc() as smsc:
        assert await bound(smsc, TlsConfig(verify=False))


async def test_a_pinned_certificate_is_taken_and_any_other_refused():
    colons = ":".join(FINGERPRINT[at : at + 2] for at in range(0, 64, 2)).upper()
    async with tls_smsc() as smsc:
        assert await bound(smsc, TlsConfig(verify=False, pinned_sha256=("0" * 64, colons)))
    async with tls_smsc() as smsc:
        assert not await bound(smsc, TlsConfig(verify=False, pinned_sha256=("0" * 64,)))


async def test_a_carrier_that_demands_a_client_certificate_gets_ours():
    client = TlsConfig(
        ca_file=AUTHORITY,
        server_name="smsc.example",
        certificate_file=str(CERTIFICATES / "client.pem"),
        key_file=str(CERTIFICATES / "client.key"),
    )
    async with tls_smsc(client_ca=AUTHORITY) as smsc:
        assert not await bound(smsc, TlsConfig(ca_file=AUTHORITY, server_name="smsc.example"))
        assert await bound(smsc, client)


async def test_a_plain_connection_to_a_tls_port_is_not_bound():
    async with tls_smsc() as smsc:
        assert not await bound(smsc, None)


async def test_unusable_files_are_a_failed_connection_and_no_crash():
    async with tls_smsc() as smsc:
        assert not await bound(smsc, TlsConfig(ca_file="/no/such/file.pem"))
        assert not await bound(smsc, TlsConfig(ca_file=__file__))


def test_a_configuration_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="fingerprint"):
        TlsConfig(pinned_sha256=("abc",))
    with pytest.raises(ValueError, match="key_file"):
        TlsConfig(key_file="x")
