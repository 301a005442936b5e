"""A2P campaigns as stored records, through the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from testing import CAMPAIGN, Sdk


async def test_a_campaign_is_kept_shown_changed_and_deleted(sdk: Sdk) -> None:
    campaigns = sdk.client.messaging.v1.services(sdk.service_sid).us_app_to_person
    assert await sdk.call(campaigns.list) == []
    made = await sdk.call(campaigns.create, **CAMPAIGN, opt_out_keywords=["STOP", "END"])
    assert (made.campaign_status, made.has_embedded_phone) == ("PENDING", True)
    assert made.opt_out_keywords == ["STOP", "END"]
    [listed] = await sdk.call(campaigns.list)
    fetched = await sdk.call(campaigns(made.sid).fetch)
    assert made.sid == listed.sid == fetched.sid
    assert fetched.message_samples == CAMPAIGN["message_samples"]
    await sdk.refused(20409, 409, campaigns.create, **CAMPAIGN)

    path = f"/messaging/v1/Services/{sdk.service_sid}/Compliance/Usa2p/{made.sid}"
    form = {"CampaignStatus": "VERIFIED", "CampaignId": "C1", "AgeGated": "true"}
    status, body = await sdk.operate("POST", path, data=form)
    assert status == 200
    assert (body["campaign_status"], body["campaign_id"], body["age_gated"]) == (
        "VERIFIED",
        "C1",
        True,
    )
    assert await sdk.call(campaigns(made.sid).delete) is True
    await sdk.refused(20404, 404, campaigns(made.sid).fetch)


@pytest.mark.parametrize(
    "change",
    [
        {"description": "x" * 39},
        {"description": "x" * 4097},
        {"message_flow": "x" * 39},
        {"message_samples": ["x" * 20]},
        {"message_samples": ["x" * 20] * 6},
        {"message_samples": ["x" * 19, "x" * 20]},
        {"help_message": "x" * 321},
        {"brand_registration_sid": ""},
    ],
)
async def test_each_limit_is_held(sdk: Sdk, change: dict[str, Any]) -> None:
    campaigns = sdk.client.messaging.v1.services(sdk.service_sid).us_app_to_person
    await sdk.refused(20001, 400, campaigns.create, **{**CAMPAIGN, **change})


async def test_what_the_limits_allow_is_taken(sdk: Sdk) -> None:
    campaigns = sdk.client.messaging.v1.services(sdk.service_sid).us_app_to_person
    change = {
        "description": "x" * 4096,
        "message_samples": ["x" * 1024] * 5,
        "help_message": "x" * 320,
    }
    made = await sdk.call(campaigns.create, **{**CAMPAIGN, **change})
    assert len(made.message_samples) == 5
