"""Which kind of sender a message leaves from, as the carrier sees it
(docs/spec/messaging-services.md#observable-checks)."""

from __future__ import annotations

from typing import Any

import pytest
from pools import Pool
from testing import GatewayUnderTest
from twilio.base.exceptions import TwilioRestException

from smpp.smsc import Smsc

GB, US, MX, DE = "+447400123456", "+12125550199", "+525512345678", "+4915112345678"


@pytest.fixture
async def pool(gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
    return await Pool.of(gateway, smsc)


def sender(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["source"], row["source_ton"], row["source_npi"]


async def test_an_alphanumeric_id_goes_before_a_number_and_a_short_code_before_it(
    pool: Pool,
) -> None:
    await pool.number("+447700900201")
    await pool.sdk.call(pool.service.alpha_senders.create, "Acme")
    assert sender(await pool.sent_from(GB)) == ("Acme", 5, 0)
    await pool.short_code("60070", "GB")
    assert sender(await pool.sent_from("+447400123457")) == ("60070", 3, 0)


async def test_the_alphanumeric_id_of_a_country_goes_before_the_one_for_all(pool: Pool) -> None:
    alphas = pool.service.destination_alpha_senders
    await pool.sdk.call(alphas.create, "Acme")
    await pool.sdk.call(alphas.create, "Acme DE", iso_country_code="DE")
    assert sender(await pool.sent_from(DE)) == ("Acme DE", 5, 0)
    assert sender(await pool.sent_from(GB)) == ("Acme", 5, 0)


async def test_a_foreign_short_code_alone_reaches_nobody(pool: Pool) -> None:
    await pool.short_code("12345", "US")
    message = await pool.sdk.send(to=MX, messaging_service_sid=pool.sid)
    assert (await pool.sdk.reaches(message.sid, "failed")).error_code == 21703
    assert sender(await pool.sent_from(US)) == ("12345", 3, 0)


async def test_a_pool_that_loses_its_senders_is_empty(pool: Pool) -> None:
    french = await pool.number("+33612345678")
    american = await pool.number("+12125550155")
    assert (await pool.sent_from(DE))["source"] == "12125550155"
    await pool.sdk.call(pool.service.phone_numbers(american).delete)
    assert (await pool.sent_from(DE))["source"] == "33612345678"
    await pool.sdk.call(pool.service.phone_numbers(french).delete)
    with pytest.raises(TwilioRestException) as caught:
        await pool.sdk.send(to=DE, messaging_service_sid=pool.sid)
    assert caught.value.code == 21704
