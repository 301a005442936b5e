"""Consents and contacts in bulk, as the SDK sends them
(docs/spec/messaging-services.md#bulk-consent-and-contacts)."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from testing import NUMBERS, GatewayUnderTest, Sdk

from gateway.api.http.errors import ApiError
from gateway.api.http.limits import Quota

TO = "+447400900700"


def consent(sdk: Sdk, number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "contact_id": TO,
        "correlation_id": f"{number:032x}",
        "sender_id": sdk.service_sid,
        "status": "opt-out",
        "source": "website",
        **changes,
    }


def contact(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "contact_id": f"+4474009{number:05d}",
        "correlation_id": f"{number:032x}",
        "country_iso_code": "GB",
        "zip_code": "SW1A 1AA",
        **changes,
    }


async def consents(sdk: Sdk, *items: dict[str, Any]) -> list[Any]:
    made = await sdk.call(sdk.client.accounts.v1.bulk_consents.create, items=list(items))
    return list(made.items)


async def test_an_opt_out_blocks_and_an_opt_in_lifts_it(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    [done] = await consents(sdk, consent(sdk, date_of_consent="2026-11-24T10:00:00Z"))
    assert done == {"correlation_id": "0" * 32, "error_code": 0, "error_messages": []}
    blocked = await sdk.send("hello", TO)
    assert (await sdk.reaches(blocked.sid, "failed")).error_code == 21610
    await consents(sdk, consent(sdk, 1, status="opt-in", source="opt-in-message"))
    sent = await sdk.send("hello", TO)
    await sdk.reaches(sent.sid, "delivered")
    _, body = await sdk.operate("GET", "/tandem/v1/OptOuts/Log")
    assert [(one["blocked"], one["source"], one["note"]) for one in body["changes"]] == [
        (False, "opt-in-message", f"{1:032x}"),
        (True, "website", "0" * 32 + " 2026-11-24T10:00:00Z"),
    ]


async def test_a_number_stands_for_what_a_stop_to_it_would_block(sdk: Sdk) -> None:
    await consents(sdk, consent(sdk, sender_id=NUMBERS[0]))
    _, found = await sdk.operate("GET", f"/tandem/v1/OptOuts/Recipients/{TO}")
    assert [one["messaging_service_sid"] for one in found["blocks"]] == [sdk.service_sid]


async def test_a_wrong_item_has_its_code_and_leaves_the_others_alone(sdk: Sdk) -> None:
    wrong = {
        "INVALID_CONTACT_ID": {"contact_id": "447400900700"},
        "INVALID_CORRELATION_ID": {"correlation_id": "f" * 31},
        "INVALID_SENDER_ID": {"sender_id": "MG" + "0" * 32},
        "INVALID_STATUS": {"status": "maybe"},
        "INVALID_SOURCE": {"source": "hearsay"},
        "INVALID_DATE_OF_CONSENT": {"date_of_consent": "2026-01-01T00:00:00Z\0"},
    }
    done = await consents(
        sdk, consent(sdk, 99), *(consent(sdk, **changes) for changes in wrong.values())
    )
    assert [one["error_code"] for one in done] == [0] + [30646] * len(wrong)
    assert [one["error_messages"] for one in done[1:]] == [[reason] for reason in wrong]
    [both] = await consents(sdk, consent(sdk, contact_id=7, status=None))
    assert both["error_messages"] == ["INVALID_CONTACT_ID", "INVALID_STATUS"]
    status, _ = await sdk.operate("GET", f"/tandem/v1/OptOuts/Recipients/{TO}")
    assert status == 200


async def test_an_opt_in_does_not_lift_what_a_toll_free_network_blocked(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    connection = await asyncpg.connect(gateway.database_url)
    await connection.execute(
        "INSERT INTO opt_outs (recipient, channel, scope, account_id, source)"
        " SELECT $1, 0, id, account_id, 'network' FROM services",
        TO,
    )
    await connection.close()
    [held] = await consents(sdk, consent(sdk, status="opt-in"))
    assert (held["error_code"], held["error_messages"]) == (30646, ["OPT_OUT_BY_NETWORK"])
    assert (await sdk.operate("GET", f"/tandem/v1/OptOuts/Recipients/{TO}"))[0] == 200


async def test_another_accounts_sender_is_no_sender(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    user = (account.sid, account.auth_token)
    form = {"Items": json.dumps(consent(sdk))}
    status, body = await sdk.operate("POST", "/accounts/v1/Consents/Bulk", *user, data=form)
    assert (status, body["items"][0]["error_messages"]) == (201, ["INVALID_SENDER_ID"])


async def test_contacts_are_kept_and_the_last_word_counts(
    sdk: Sdk, gateway: GatewayUnderTest
) -> None:
    create = sdk.client.accounts.v1.bulk_contacts.create
    made = await sdk.call(
        create,
        items=[
            contact(0),
            contact(0, zip_code="EC1A 1BB"),
            contact(1, country_iso_code="XX"),
            contact(2, zip_code="!"),
        ],
    )
    assert [item["error_code"] for item in made.items] == [0, 0, 30647, 30647]
    assert made.items[2]["error_messages"] == ["INVALID_COUNTRY_ISO_CODE"]
    await sdk.call(create, items=[contact(0, country_iso_code="ie")])
    connection = await asyncpg.connect(gateway.database_url)
    rows = await connection.fetch("SELECT contact, country, zip_code FROM contacts")
    await connection.close()
    assert [tuple(row) for row in rows] == [("+447400900000", "IE", "SW1A 1AA")]


async def test_a_request_has_25_items_at_most(sdk: Sdk) -> None:
    create = sdk.client.accounts.v1.bulk_contacts.create
    assert len((await sdk.call(create, items=[contact(n) for n in range(25)])).items) == 25
    await sdk.refused(20001, 400, create, items=[contact(n) for n in range(26)])
    await sdk.refused(20001, 400, create, items=[])
    for text in ("[]", "nonsense"):
        status, body = await sdk.operate("POST", "/accounts/v1/Contacts/Bulk", data={"Items": text})
        assert (status, body["code"]) == (400, 20001)


async def test_an_account_has_a_hundred_requests_a_minute(sdk: Sdk) -> None:
    path = "/accounts/v1/Contacts/Bulk"
    for _ in range(100):
        assert (await sdk.operate("POST", path, data={}))[0] == 400
    status, body = await sdk.operate("POST", path, data={})
    assert (status, body["code"]) == (429, 20429)
    account = await sdk.call(sdk.client.api.accounts.create)
    status, _ = await sdk.operate("POST", path, account.sid, account.auth_token, data={})
    assert status == 400


def test_a_quota_is_of_any_window() -> None:
    now = 0.0
    quota = Quota(2, 60.0, lambda: now)
    quota.take(1)
    now = 50.0
    quota.take(1)
    with pytest.raises(ApiError) as refused:
        quota.take(1)
    assert refused.value.headers["Retry-After"] == "11"
    now = 60.0
    quota.take(1)
    with pytest.raises(ApiError):
        quota.take(1)
